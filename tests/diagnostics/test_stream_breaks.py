"""Which module a stream that is wrong names, and where it names none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
import rnnkit.testing
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, numbers
from tests.diagnostics.models_that_stream import Named, gru, head, lstm

X = numbers(BATCH, SEQ, FEATURE)


def caught(model: nn.Module, *inputs: Any, **options: Any) -> rnnkit.LeakError:
    """Verify a model that does not stream; return what is said of it."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, *inputs, streaming=True, **options)
    assert error.value.probe == "streaming"
    return error.value


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_model() -> None:
    """Of a scripted model, whose modules nobody can watch, the message names none."""

    class Forgets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = gru()

        def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
            output, new = self.gru(x, state)
            return output, new * 2

    error = caught(torch.jit.script(Forgets()), X, kwargs={"state": numbers(1, BATCH, HIDDEN)})
    assert error.module == ""
    assert "first " not in str(error)


def test_module_that_drops_a_step_of_each_chunk() -> None:
    """A convolution that looks back, and not into the chunk before, is where chunks part."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        seen = nn.functional.pad(m.conv(x.mT), (1, 0)).mT
        return m.gru(seen, state)

    error = caught(Named(compute, conv=nn.Conv1d(FEATURE, FEATURE, 2), gru=gru()), X)
    assert (error.module, "input" in str(error)) == ("gru", True)


def test_break_that_no_module_shows() -> None:
    """Where all modules give the same in each chunk, none is named."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        h, outputs = x.new_zeros(len(x), HIDDEN) if state is None else state, []
        for x_t in x.unbind(1):
            h = m.cell(x_t, h)
            outputs.append(h)
        return torch.stack(outputs, 1) * (2 if x.shape[1] == 1 else 1), h

    error = caught(Named(compute, cell=nn.GRUCell(FEATURE, HIDDEN)), X)
    assert error.module == ""
    assert "step by step" in str(error)


def test_module_that_runs_for_long_sequences_alone() -> None:
    """A module that the chunks do not call is passed over, and the next one named."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        if x.shape[1] > 6:
            m.unused(x)
        output, new = m.gru(x, state)
        return m.head(output), new * 2

    model = Named(compute, gru=gru(), head=head(), unused=nn.Linear(FEATURE, 2))
    assert caught(model, X).module == "gru"


def test_module_without_a_batch_of_its_own() -> None:
    """What has other axes in a chunk of one step is not joined."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        wide = m.wide(x if x.shape[1] > 1 else x.squeeze(1)).reshape(x.shape)
        output, new = m.gru(wide, state)
        return output, new * 2

    model = Named(compute, gru=gru(), wide=nn.Linear(FEATURE, FEATURE))
    assert caught(model, X[:, :2]).module == "gru"


def test_cell_that_breaks_inside_of_a_chunk() -> None:
    """A cell whose steps differ in the first chunk already gets no cause from its state."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        h, outputs = x.new_zeros(len(x), HIDDEN) if state is None else state, []
        for x_t in x.unbind(1):
            h = m.cell(x_t, h if x.shape[1] > 4 else h * 2)
            outputs.append(h)
        return torch.stack(outputs, 1), h

    error = caught(Named(compute, cell=nn.GRUCell(FEATURE, HIDDEN)), X)
    assert error.module == "cell"
    assert "cause" not in str(error)


@pytest.mark.parametrize("result", ["the output alone", "a mean"])
def test_layer_that_returns_no_state(result: str) -> None:
    """The state of a layer that returns none of its own cannot be undone: no cause is told."""

    class Own(nn.GRU):
        def forward(self, x: Tensor) -> Any:
            output, state = super().forward(x)
            return output if result == "the output alone" else (output, state.mean())

    def compute(m: Any, x: Tensor, state: Any) -> Any:  # noqa: ARG001
        output = m.own(x)
        output = output if isinstance(output, Tensor) else output[0]
        return output, output[:, -1]

    error = caught(Named(compute, own=Own(FEATURE, HIDDEN, batch_first=True)), X)
    assert error.module == "own"
    assert "cause" not in str(error)


@pytest.mark.parametrize("seq_first", [False, True], ids=["batch first", "seq first"])
def test_samples_and_steps_on_one_axis(seq_first: bool) -> None:
    """What takes samples and steps on one axis, in whichever order, is no break where it is right."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        rows = x.transpose(0, 1) if seq_first else x
        read = m.frame(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        output, (h, _) = m.lstm(read.transpose(0, 1) if seq_first else read, state)
        return output, (h, h)

    model = Named(compute, frame=nn.Linear(FEATURE, FEATURE), lstm=lstm())
    error = caught(model, X)

    assert "first      lstm (LSTM), output\n  cause      lstm does not start" in str(error)
