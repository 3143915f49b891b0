"""Corners of ``verify(streaming=True)``: how a state is given, and what cannot be judged."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers, reason
from tests.diagnostics.models_that_stream import STREAMING, Apart, Named, gru, head, lstm

X = numbers(BATCH, SEQ, FEATURE)
STATE = numbers(1, BATCH, HIDDEN)


class Chunk(NamedTuple):
    """What a model takes as one argument."""

    x: Tensor
    state: Tensor


class Whole(nn.Module):
    """Takes its state beside the input, in one argument, or by keyword."""

    def __init__(self, fixed: bool) -> None:
        """Make a layer."""
        super().__init__()
        self.gru, self.fixed = gru(), fixed

    def forward(self, chunk: Any, *, state: Any = None) -> Any:
        """Run it; a wrong one returns the state that it was given."""
        x = chunk
        if isinstance(chunk, Chunk):
            x, state = chunk
        elif isinstance(chunk, dict):
            x, state = chunk["x"], chunk["state"]
        output, new = self.gru(x, state)
        return output, new if self.fixed else state


GIVEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "tuple": (Chunk(X, STATE), {}),
    "dictionary": ({"x": X, "state": STATE}, {}),
    "keyword": (X, {"kwargs": {"state": STATE}}),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_where_a_state_is_given(kind: str) -> None:
    """A state is found beside the input in a tuple with names, a dictionary, or by keyword."""
    given, options = GIVEN[kind]
    report = rnnkit.verify(Whole(fixed=True), given, streaming=True, **options)
    assert "streaming" in report.checked
    with pytest.raises(rnnkit.LeakError, match="in chunks of 3 and 4") as error:
        rnnkit.verify(Whole(fixed=False), given, streaming=True, **options)
    assert error.value.probe == "streaming"


def test_input_that_no_name_tells() -> None:
    """An input without a state's name is judged where it streams, and accused of nothing else."""
    right = Model(lambda m, x, z: m.gru(x, z), gru=gru())
    assert "streaming" in rnnkit.verify(right, X, STATE, streaming=True).checked


def named(compute: Callable[..., Any], **parts: nn.Module) -> nn.Module:
    """Make a model that takes a state by its name."""
    return Named(compute, **{"gru": gru(), **parts})


def pair(m: Any, x: Tensor, h: Any, c: Any) -> Any:
    """Take h and c as two arguments."""
    return m.lstm(x, None if h is None else (h, c))


def no_memory(m: Any, x: Tensor, state: Any) -> Any:
    """Return a state that is never read."""
    return m.head(x), x.new_zeros(1, len(x), HIDDEN) if state is None else state


def changed(change: Callable[[Tensor], Any]) -> Callable[..., Any]:
    """Return a computation whose output is changed."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        output, state = m.gru(x, state)
        return change(output), state

    return compute


SHORT = X.clone()
SHORT[1, 5:] = 0

#: Models that stream: a part of the report that shows it.
RIGHT: dict[str, tuple[nn.Module, Tensor, str]] = {
    "a pair and two arguments": (Apart(pair, lstm=lstm()), X, "7 steps at once"),
    "padding without lengths": (named(lambda m, x, s: m.gru(x, s)), SHORT, "5 steps at once"),
    "no tensor": (named(lambda m, x, s: (*m.gru(x, s), "a note")), X, "7 steps at once"),
    "one step without its axis": (named(changed(lambda y: y.squeeze(1))), X, "step by step"),
    "no memory": (named(no_memory, head=nn.Linear(FEATURE, 5)), X, "7 steps at once"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_model_streams(name: str) -> None:
    """However it takes and returns its state, a right model is judged."""
    model, x, part = RIGHT[name]
    assert part in str(rnnkit.verify(model, x, streaming=True))


class Reader(Model):
    """Takes a memory with the steps of an earlier output, which is no state of one step."""

    def forward(self, x: Tensor, memory: Any = None) -> Any:
        """Run."""
        output, _ = self.gru(x)
        read = output if memory is None else output + memory.mean(1, keepdim=True)
        return self.head(read), output


class Tanh(nn.Module):
    """Has a forward that is no function of Python's."""

    forward = staticmethod(torch.tanh)


def cells(m: Any, x: Tensor, state: Any) -> Any:
    """Run one step."""
    new = m.cell(x.unsqueeze(1), state)
    return m.head(new), new


CHANCE = "an input has the sizes of an output, but may be no state"
UNJUDGED: dict[str, tuple[nn.Module, tuple[Tensor, ...], str]] = {
    "no name": (Model(lambda m, x, z: (m.gru(x)[0], z * 2), gru=gru()), (X, STATE), CHANCE),
    "no signature": (Tanh(), (X,), "the model returns no state that it takes"),
    "one step": (named(changed(lambda y: y)), (X[:, :1],), "the input has no two steps"),
    "no steps": (
        named(cells, cell=nn.GRUCell(1, HIDDEN), head=head()),
        (numbers(BATCH),),
        "the input has no two steps",
    ),
    "other steps": (
        named(changed(lambda y: y.repeat_interleave(2, 1))),
        (X,),
        "no output has the steps of the input; give out_seq_dim",
    ),
    "other shapes": (
        named(changed(lambda y: y if y.shape[1] > 4 else y[:, -1:])),
        (X,),
        "chunks of 3 steps give outputs of other shapes",
    ),
    "a memory with steps": (
        Reader(lambda: None, gru=gru(), head=nn.Linear(HIDDEN, 5)),
        (X,),
        "the model returns no state that it takes",
    ),
}


@pytest.mark.parametrize("name", UNJUDGED)
def test_what_is_not_judged(name: str) -> None:
    """Where chunks cannot be compared, that is the reason, and nothing is accused."""
    model, inputs, why = UNJUDGED[name]
    assert reason(rnnkit.verify(model, *inputs, streaming=True), "streaming") == why


def test_tokens_that_are_all_alike() -> None:
    """Where no other input can be drawn, a state is not said to be ignored."""
    twin, x = STREAMING["words"], torch.full((SEQ, BATCH), 3)
    assert "streaming" in rnnkit.verify(twin.make(True), x, batch_dim=1, streaming=True).checked


def test_data_parallel() -> None:
    """On a CPU DataParallel stands for its model; a caller of verify may reach through it."""
    model = nn.DataParallel(STREAMING["a tagger"].make(True)).cpu()
    model.device_ids = []  # as where there is no GPU

    assert "streaming" in rnnkit.verify(model, X, streaming=True).checked
    assert rnnkit.verify(model, X, call=lambda model, x: model.module(x)).judged
