"""What strangers' use found, A 5 to 7: scopes, first states and odd lengths are not silent."""

import contextlib
import io
import itertools
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn

import rnnkit
from tests.strategies import assert_same
from tests.torch.strangers import (
    BATCH,
    HIDDEN,
    INPUT,
    PACKED,
    X,
    cells,
    layers,
    step_by_step,
)

unhooked = pytest.mark.skipif(hasattr(rnnkit, "jaxtyping"), reason="the hook is a scope of its own")


@unhooked
def test_a5_errors_in_threads_leave_the_output_alone() -> None:
    """A scope's error is composed without touching ``sys.stdout``, which all threads share."""
    gru = rnnkit.GRU(INPUT, HIDDEN, axes={"seq": "b", "batch": "time"})
    seen: list[Any] = []

    @jaxtyped(typechecker=beartype)
    def forward(x: Float[Tensor, "time b feat"]) -> None:
        for _ in range(30):
            with contextlib.suppress(rnnkit.LayoutError):
                gru(x)
            seen.append(sys.stdout)

    out = io.StringIO()
    before = sys.stdout
    with contextlib.redirect_stdout(out):
        mine = sys.stdout
        threads = [threading.Thread(target=forward, args=(X,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert {id(one) for one in seen} == {id(mine)}
    assert sys.stdout is before
    assert out.getvalue() == ""


@unhooked
@pytest.mark.parametrize(
    "axes", [{"seq": "tiem", "batch": "b"}, {"seq": "time", "hidden": "fea"}], ids=["seq", "hidden"]
)
def test_a5_a_name_that_is_bound_nowhere(axes: dict[str, str]) -> None:
    """A misspelled name is told once, with the names that are bound."""
    gru = rnnkit.GRU(INPUT, HIDDEN, axes=axes)

    @jaxtyped(typechecker=beartype)
    def forward(x: Float[Tensor, "time b feat"]) -> Any:
        return gru(x)

    with pytest.warns(UserWarning, match=r"no (tiem|fea), .*has bound time, b, feat"):
        forward(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forward(X)


@unhooked
def test_a5_no_warning_of_the_modules_own_names() -> None:
    """Widths have names of their own."""
    gru = rnnkit.GRU(INPUT, HIDDEN, axes={"seq": "time", "feature": "emb", "hidden": "width"})

    @jaxtyped(typechecker=beartype)
    def forward(x: Float[Tensor, "time b"]) -> Any:
        return gru(x.unsqueeze(-1).expand(-1, -1, INPUT))

    forward(X[..., 0])


def own_start(base: Any, *, later: bool = False) -> Any:
    """A subclass of a layer or a cell that begins from ones, maybe only after it was made."""

    def initial_state(self: Any, batch_size: int | None) -> Any:
        return _ones(self, batch_size)

    kind: Any = type("Starts", (base,), {} if later else {"initial_state": initial_state})
    module = kind(INPUT, HIDDEN)
    kind.initial_state = initial_state
    return module


def _ones(module: Any, batch_size: int | None) -> Any:
    front = () if batch_size is None else (batch_size,)
    h = torch.ones(*([1] if isinstance(module, nn.RNNBase) else []), *front, HIDDEN)
    return (h, h) if isinstance(module, nn.LSTM | nn.LSTMCell) else h


@cells
@pytest.mark.parametrize("later", [False, True])
def test_a6_a_cell_asks_for_its_own_first_state(name: str, *, later: bool) -> None:
    """A call, an unbatched one, and unroll begin from the state that a subclass gives."""
    cell = own_start(getattr(rnnkit, name), later=later)

    assert_same(cell(X[0]), cell(X[0], _ones(cell, BATCH)))
    assert_same(cell(X[0, 0]), cell(X[0, 0], _ones(cell, None)))
    output, _ = rnnkit.unroll(cell, X[:1])
    torch.testing.assert_close(output[0], step_by_step(cell, X[:1])[0])


@layers
@pytest.mark.parametrize("later", [False, True])
def test_a6_a_layer_asks_for_its_own_first_state(name: str, *, later: bool) -> None:
    """Padded, unbatched, packed, with lengths and by steps: each begins from the subclass's state."""
    layer = own_start(getattr(rnnkit, name), later=later)
    first = _ones(layer, BATCH)
    lengths = [7, 2, 0, 1, 4]

    assert_same(layer(X), layer(X, first))
    assert_same(layer(X[:, 0]), layer(X[:, 0], _ones(layer, None)))
    assert_same(layer(PACKED), layer(PACKED, first))
    assert_same(layer(X, lengths=lengths), layer(X, first, lengths=lengths))
    assert_same(layer.step(X[0]), layer.step(X[0], first))


def test_a6_a_part_that_is_none_is_asked_for() -> None:
    """Of a pair, None stands for the subclass's own; and one put on the instance counts too."""
    layer = own_start(rnnkit.LSTM)
    h = torch.randn(1, BATCH, HIDDEN)
    assert_same(layer(X, (h, None)), layer(X, (h, torch.ones(1, BATCH, HIDDEN))))

    cell: Any = rnnkit.GRUCell(INPUT, HIDDEN)
    cell.initial_state = lambda batch_size: torch.ones(batch_size, HIDDEN)
    assert_same(cell(X[0]), cell(X[0], torch.ones(BATCH, HIDDEN)))


def test_a6_recurrent_asks_for_its_own_first_state() -> None:
    """A subclass of Recurrent too."""

    class Starts(rnnkit.Recurrent):
        def initial_state(self, batch_size: int | None) -> tuple[Any, ...]:
            return (torch.ones(batch_size or 1, HIDDEN),)

    layer = Starts(rnnkit.GRUCell(INPUT, HIDDEN))

    assert_same(layer(X), layer(X, (torch.ones(BATCH, HIDDEN),)))


@pytest.mark.unhooked("the annotation refuses it first")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "lengths",
    [
        *(np.int64(5), np.array(5), np.array([[5]]), torch.tensor(5)),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        torch.tensor([7, 2, 3, 1, 4], device="meta"),
        torch.tensor([7, 2, 3, 1, 4]).to_sparse(),
    ],
    ids=map(str, itertools.count()),
)
def test_a7_odd_lengths(lengths: Any) -> None:
    """Lengths that are one number, or hold none, end in our error."""
    with pytest.raises(rnnkit.LengthsError):
        rnnkit.GRU(INPUT, HIDDEN)(X, lengths=lengths)
    with pytest.raises(rnnkit.LengthsError):
        rnnkit.unroll(rnnkit.GRUCell(INPUT, HIDDEN), X, lengths=lengths)
