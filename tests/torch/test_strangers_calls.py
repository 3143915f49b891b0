"""What strangers' use found: calls that do not exist, and C, what is done with states."""

import importlib.metadata
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.strategies import CELLS, LAYERS
from tests.torch.strangers import (
    BATCH,
    HIDDEN,
    INPUT,
    X,
    cells,
    twins,
)


@pytest.mark.parametrize(
    "call",
    [
        *(lambda m, x: m(x, x, x), lambda m, x: m(x, h0=x), lambda m, x: m(x, state=x)),
        *(lambda m, x: m(x, mask=x), lambda m, x: m(inputs=x), lambda m, _: m()),
    ],
    ids=["surplus", "h0", "state", "mask", "inputs", "nothing"],
)
@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_arguments_that_a_call_does_not_have(name: str, call: Any) -> None:
    """Each is a TypeError, as Python's would be, that names the class that was called."""
    module = getattr(rnnkit, name)(INPUT, HIDDEN)
    x = X if name in LAYERS else X[0]

    with pytest.raises(TypeError, match=name) as caught:
        call(module, x)
    assert isinstance(caught.value, rnnkit.ArgumentError)


@pytest.mark.unhooked("the annotation refuses it first")
def test_c_recurrent_steps_and_last_hidden() -> None:
    """A Recurrent runs step by step as over the sequence, and knows its last layer's h."""
    cells = [rnnkit.GRUCell(INPUT, HIDDEN), rnnkit.LSTMCell(HIDDEN, 6)]
    layer = rnnkit.Recurrent(cells, batch_first=True)
    hx = None
    outputs = []
    for x_t in X:
        y_t, hx = layer.step(x_t, hx)
        outputs.append(y_t)
    output, end = layer(X.transpose(0, 1))

    torch.testing.assert_close(torch.stack(outputs, 1), output)
    torch.testing.assert_close(layer.last_hidden(end), output[:, -1])
    assert layer.step(X[0, 0])[0].shape == (6,)
    both = rnnkit.Recurrent(cells[0], reverse_cells=rnnkit.GRUCell(INPUT, HIDDEN))
    output, end = both(X)
    expected = torch.cat([output[-1, :, :HIDDEN], output[0, :, HIDDEN:]], -1)
    torch.testing.assert_close(both.last_hidden(end), expected)
    with pytest.raises(rnnkit.ArgumentError, match="without reverse_cells"):
        both.step(X[0])
    for wrong in (None, (), end[0]):
        with pytest.raises(rnnkit.StateError):
            both.last_hidden(wrong)


@pytest.mark.unhooked("the annotations ask for initial_state")
@cells
@pytest.mark.parametrize("lengths", [None, [7, 3, 1, 2, 5]])
@pytest.mark.parametrize("return_states", [False, True])
def test_c_a_cell_without_a_first_state(
    name: str, lengths: list[int] | None, *, return_states: bool
) -> None:
    """Torch's own cells, which take None, are run from None."""
    theirs, ours = twins(name)
    options: Any = {"lengths": lengths, "return_states": return_states}

    output, states = rnnkit.unroll(theirs, X, **options)
    expected, others = rnnkit.unroll(ours, X, fused=False, **options)

    torch.testing.assert_close(output, expected)
    valid = torch.arange(7).unsqueeze(1) < torch.tensor(lengths or [7] * BATCH)
    for one, other in zip(
        *(s if name == "LSTMCell" else (s,) for s in (states, others)), strict=True
    ):
        mask = valid if return_states else ...
        torch.testing.assert_close(one[mask], other[mask])


@pytest.mark.unhooked("the annotations ask for initial_state")
def test_c_where_a_first_state_is_needed() -> None:
    """A length of 0, a reset, and lengths run backward need one; what a cell raises has a note."""
    cell: Any = nn.GRUCell(INPUT, HIDDEN)
    backward = {"lengths": [7, 3, 1, 2, 5], "reverse": True}
    for options in ({"lengths": [7, 0, 1, 2, 3]}, {"reset": torch.ones(7, BATCH)}, backward):
        with pytest.raises(rnnkit.CellError, match="has no initial_state"):
            rnnkit.unroll(cell, X, **options)
    assert rnnkit.Recurrent(cell, reverse_cells=cell)(X)[0].shape == (7, BATCH, 8)

    class Adds(nn.Module):
        def forward(self, x: Tensor, hx: Tensor) -> Tensor:
            return x + hx

    adds: Any = Adds()
    with pytest.raises(TypeError) as caught:
        rnnkit.unroll(adds, X)
    assert "no hx was given" in caught.value.__notes__[1]


class Learned(rnnkit.LSTM):
    """An LSTM that learns where it begins."""

    def __init__(self, *sizes: int) -> None:
        """Keep the first state of one sample."""
        super().__init__(*sizes)
        self.first = nn.ParameterList(torch.randn(1, 1, HIDDEN) for _ in range(2))

    def initial_state(self, batch_size: int | None) -> Any:
        """Give it to each sample."""
        return rnnkit.states.expand(rnnkit.LSTMState(*self.first), batch_size)


def test_c_a_learned_first_state() -> None:
    """It is used by every kind of call, and gets a gradient."""
    layer = Learned(INPUT, HIDDEN)
    packed = pack_padded_sequence(X, [3, 7, 2, 1, 5], enforce_sorted=False)
    results: Any = [
        *(layer(X), layer(X[:, 0]), layer(packed), layer(X, lengths=[7, 3, 0, 1, 2])),
        layer.step(X[0]),
    ]

    for _, (h, _) in results:
        layer.zero_grad()
        h.sum().backward(retain_graph=True)
        assert all(parameter.grad is not None for parameter in layer.first)


def test_version() -> None:
    """The version is that of the distribution."""
    assert rnnkit.__version__ == importlib.metadata.version("rnnkit")
