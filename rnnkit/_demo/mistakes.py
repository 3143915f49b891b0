"""Six mistakes that people make with recurrent layers, each with the line that is right."""

import functools
import inspect
import linecache
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from rnnkit._demo.recordings import BATCH, SPEAKERS, Trained, load, train_and_test

FEATURES = 12
HIDDEN = 40
CHUNK = 5
pack = functools.partial(pack_padded_sequence, batch_first=True, enforce_sorted=False)


class Mistake(NamedTuple):
    """A mistake: a program with a gap ``{}``, and the wrong and the right line for it.

    The program knows ``nn``, the first recordings as ``x`` and ``lengths``, and the names of this
    file. ``silent`` ones make a ``model``, and cost test accuracy; ``fatal`` ones crash torch.
    """

    title: str
    program: str
    wrong: str
    right: str
    because: str
    silent: bool = False
    fatal: bool = False

    def run(self, nn: ModuleType, *, right: bool = False) -> Trained | None:
        """Run the program with the layers of ``nn``; train and test its model, if it makes one."""
        code = inspect.cleandoc(self.program).format(self.right if right else self.wrong)
        name = f"<{self.title}>"
        linecache.cache[name] = len(code), None, code.splitlines(), name  # tracebacks quote it
        x, lengths, _ = load()[0].take(slice(BATCH))
        names = {**globals(), "nn": nn, "x": x, "lengths": lengths}
        torch.manual_seed(0)
        exec(compile(code, name, "exec"), names)  # noqa: S102
        return train_and_test(names["model"]) if "model" in names else None


class LastStep(torch.nn.Module):
    """Classifies recordings by an LSTM's output at the last step of each."""

    def __init__(self, lstm: torch.nn.Module) -> None:
        super().__init__()
        self.lstm = lstm
        self.head = torch.nn.Linear(HIDDEN, SPEAKERS)

    def forward(self, input: Tensor, lengths: Tensor) -> Any:
        output, _ = self.lstm(input)
        return self.head(output[torch.arange(len(lengths)), lengths - 1])


class Served(LastStep):
    """Trains on whole recordings; a server gets chunks, and recordings that end leave its batch."""

    step: Callable[..., Any]

    def forward(self, input: Tensor, lengths: Tensor) -> Any:
        h = c = torch.zeros(1, len(lengths), HIDDEN)
        chunk = input.size(1) if self.training else CHUNK
        for start in range(0, input.size(1), chunk):
            live = torch.nonzero(lengths > start).flatten()
            steps = (lengths[live] - start).clamp(max=chunk)
            _, state = self.step(pack(input[live, start : start + chunk], steps), h, c, live)
            h, c = (old.index_copy(1, live, new) for old, new in zip((h, c), state, strict=True))
        return self.head(h[0])


MISTAKES = (
    Mistake(
        title="batch_first given by position",
        program="model = LastStep({})",
        wrong="nn.LSTM(FEATURES, HIDDEN, 2, True)",
        right="nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True)",
        because="The fourth argument is bias. The LSTM runs over the recordings of a batch "
        "instead of over their steps, so each answer depends on other recordings.",
        silent=True,
    ),
    Mistake(
        title="the state of a larger batch",
        program="""
            class Server(Served):
                def step(self, packed, h, c, live):
                    return {}

            model = Server(nn.LSTM(FEATURES, HIDDEN, batch_first=True))
        """,
        wrong="self.lstm(packed, (h, c))",
        right="self.lstm(packed, (h[:, live], c[:, live]))",
        because="The model trains on whole recordings, so its loss shows nothing. A server reads "
        "chunks: recordings leave its batch when they end, but their states stay. So the others "
        "continue from the state of a different speaker.",
        silent=True,
    ),
    Mistake(
        title="a state without the second direction",
        program="""
            lstm = nn.LSTM(FEATURES, HIDDEN, bidirectional=True)
            h = torch.randn(2, BATCH, HIDDEN)
            {}
        """,
        wrong="lstm(pack(x, lengths), (h, torch.zeros(1, BATCH, HIDDEN)))",
        right="lstm(pack(x, lengths), (h, torch.zeros(2, BATCH, HIDDEN)))",
        because="c lacks the backward direction. With packed input, torch does not check the size "
        "of c, and reads memory that belongs to something else.",
        fatal=True,
    ),
    Mistake(
        title="batch_first forgotten, state given",
        program="h = c = torch.zeros(1, x.size(0), HIDDEN)\n{}",
        wrong="nn.LSTM(FEATURES, HIDDEN)(x, (h, c))",
        right="nn.LSTM(FEATURES, HIDDEN, batch_first=True)(x, (h, c))",
        because="torch blames the state, but the state is right. Whoever gives it x.size(1) rows "
        "ends the error and trains over the batch, as in mistake 1. Only rnnkit.verify finds that.",
    ),
    Mistake(
        title="an LSTM's two states for a GRU",
        program="gru, h = nn.GRU(FEATURES, HIDDEN), torch.zeros(1, BATCH, HIDDEN)\n{}",
        wrong="gru(pack(x, lengths), (h, h))",
        right="gru(pack(x, lengths), h)",
        because="A GRU's state is one tensor; torch calls a tensor's method on the tuple.",
    ),
    Mistake(
        title="float64, as NumPy reads it",
        program="lstm, x = nn.LSTM(FEATURES, HIDDEN), x.double()\n{}",
        wrong="lstm(pack(x, lengths))",
        right="lstm(pack(x.float(), lengths))",
        because="The input is float64 and the weights are float32. torch does not say which of "
        "them is which.",
    ),
)
