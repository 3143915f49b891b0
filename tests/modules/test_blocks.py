"""``block=``: steps of a user's cell that torch compiles together; the numbers are the loop's."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import rnnkit
from benchmarks.own_cells import NormedCell
from tests.compiles import by_inductor, count_afresh, graphs_made
from tests.torch.models import Loops
from tests.torch.tools.tools import marks, trained

pytestmark = marks

WIDTH = 3
HIDDEN = 4
BATCH = 5
COMPILE = torch.compile
#: Small, so that inductor has little to write; some of the lengths fill no block, some fill all.
BLOCK = 3
LENGTHS = range(2, 14)


class Normed(NormedCell):
    """An LSTM cell with a layer norm of its gates, in double precision."""

    def __init__(self, width=WIDTH):
        super().__init__(width, HIDDEN)
        self.double()


class Stateless(nn.Module):
    """A cell that makes its first state in its first step."""

    def __init__(self):
        super().__init__()
        self.cell = Normed()

    def forward(self, x, hx=None):
        """Run one step."""
        if hx is None:
            hx = (x.new_zeros(len(x), HIDDEN), x.new_ones(len(x), HIDDEN))
        return self.cell(x, hx)


def inputs(steps: int) -> Tensor:
    """Draw a batch of so many steps."""
    return torch.randn(steps, BATCH, WIDTH, dtype=torch.float64)


def same(cells, x, **options):
    """Compare a call in blocks with the loop."""
    found, expected = (
        trained(model, model, x)
        for model in (Loops(*cells, block=BLOCK, **options), Loops(*cells, **options))
    )
    assert_close(found, expected)


def boundaries(steps: int, *, batch_first: bool) -> list[dict[str, Any]]:
    """Return lengths, resets, and both."""
    lengths = torch.randint(0, steps + 1, (BATCH,))
    shape = (BATCH, steps) if batch_first else (steps, BATCH)
    reset = torch.rand(shape) < 0.4
    return [{"lengths": lengths}, {"reset": reset}, {"lengths": lengths, "reset": reset}]


@by_inductor
def test_twelve_numbers_of_steps_make_two_graphs():
    """One graph trains and one does not, whatever the number of steps; gradients are the loop's."""
    cell = Normed()
    count_afresh()
    for steps in LENGTHS:
        x = inputs(steps)
        same([cell], x)
        with torch.no_grad():
            blocks = rnnkit.unroll(cell, x, block=BLOCK)
            assert_close(blocks, rnnkit.unroll(cell, x))

    assert graphs_made() == 2


@by_inductor
def test_two_in_a_row_with_lengths_and_resets():
    """Cells one above the other keep graphs apart, and boundaries cut blocks as they cut a loop."""
    cells = [Normed(), Normed(HIDDEN)]
    for steps in (6, 7):
        x = inputs(steps)
        same(cells, x, **boundaries(steps, batch_first=False)[-1])


def by_eager(monkeypatch: pytest.MonkeyPatch):
    """Let blocks be traced, and not be written in C++."""
    monkeypatch.setattr(torch, "compile", lambda run, **_: COMPILE(run, backend="eager"))


@pytest.mark.parametrize("make", [Normed, Stateless])
def test_what_runs_in_blocks(make, monkeypatch):
    """What blocks cannot do runs as without them: backward, all states, exporters; one sequence does."""
    by_eager(monkeypatch)
    cell = make()
    for steps in (BLOCK, BLOCK + 1, 2 * BLOCK):
        x = inputs(steps)
        same([cell], x)
        same([cell], x, reverse=True)
        same([cell], x, return_states=True)
        same([cell], x[:, 0])
        for batch_first in (False, True):
            given = x.transpose(0, 1) if batch_first else x
            for options in boundaries(steps, batch_first=batch_first):
                if make is Normed:  # the other has no state to return to
                    same([cell], given, batch_first=batch_first, **options)
    exported = torch.export.export(Loops(cell, block=BLOCK), (x,)).module()
    assert_close(exported(x), Loops(cell)(x))


def test_in_a_model_that_is_compiled(monkeypatch):
    """The blocks stay out of a graph around them, and a full graph says what to leave out."""
    by_eager(monkeypatch)
    model = Loops(Normed(), block=BLOCK)
    x = inputs(2 * BLOCK)
    expected = Loops(*model.cells)(x)

    assert_close(COMPILE(model, backend="aot_eager")(x), expected)
    torch._dynamo.reset()
    with pytest.raises(Exception, match="leave out block= or fullgraph=True"):
        COMPILE(model, fullgraph=True)(x)


def test_a_cell_in_blocks_is_any_cell(monkeypatch):
    """It is compiled once, and copied and saved as one that was not."""
    by_eager(monkeypatch)
    cell = Normed()
    x = inputs(BLOCK)
    expected = rnnkit.unroll(cell, x, block=BLOCK)
    count_afresh()
    rnnkit.unroll(cell, x, block=BLOCK)

    assert graphs_made() == 0
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert_close(rnnkit.unroll(twin, x, block=BLOCK), expected)


class Writes(Normed):
    """A cell that writes into the state that it is given."""

    def forward(self, x, hx):
        """Run one step."""
        h, c = super().forward(x, hx)
        hx[1].copy_(c)
        return h, c


class Lists(Normed):
    """A cell that returns a list."""

    def forward(self, x, hx):
        """Run one step."""
        return [*super().forward(x, hx)]


@pytest.mark.parametrize("make", [Writes, Lists])
def test_a_wrong_cell_is_refused(make, monkeypatch):
    """What a loop refuses of a cell after each step, blocks refuse after each of them."""
    by_eager(monkeypatch)
    x = inputs(2 * BLOCK)
    for block in (None, BLOCK):
        with torch.no_grad(), pytest.raises(rnnkit.CellError):
            rnnkit.unroll(make(), x, block=block)


def test_the_cell_compiled_by_itself():
    """Twelve numbers of steps make three graphs: the first state has no gradient, later ones do."""
    cell = Normed()
    plain = copy.deepcopy(cell)
    cell.compile(backend="aot_eager")
    count_afresh()
    for steps in LENGTHS:
        x = inputs(steps)
        found, expected = (trained(model, model, x) for model in (Loops(cell), Loops(plain)))
        assert_close(found, expected)
        with torch.no_grad():
            rnnkit.unroll(cell, x)

    assert graphs_made() == 3
