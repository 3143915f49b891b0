"""``Recurrent``: a layer over cells of any kind, in everything a layer."""

from functools import partial

import torch
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_structure

import rnnkit
from tests.copies import COPIES, by_file
from tests.covering import covers
from tests.explaining import silent
from tests.kernels.paths import RESET_PATHS, close, each_layer, on
from tests.modules.cells_of_users import LayerNormLSTMCell
from tests.strategies import assert_same, cases, gradients, tensors_of

BATCH = 2
SEQ = 5
WIDTH = 3


class Halving(nn.Module):
    """A user's cell: a tuple of one for its state, integers for its input, a weight named as ours."""

    def __init__(self):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.ones(9, 9))

    def forward(self, input, hx):
        """Return half of the state, and of the input."""
        return ((hx[0] + input) / 2,)

    def initial_state(self, batch_size):
        """Start at one."""
        return (torch.ones(batch_size, WIDTH),)


def mixed(*, both=True, **options):
    """Make three layers, of another kind and width each, in one direction or two."""
    torch.manual_seed(0)
    widths = (WIDTH, 10, 8) if both else (WIDTH, 4, 6)
    forward = [
        rnnkit.GRUCell(widths[0], 4),
        rnnkit.LSTM(widths[1], 9, proj_size=6).cells()[0],
        rnnkit.LSTMCell(widths[2], 7),
    ]
    backward = [
        LayerNormLSTMCell(widths[0], 6),
        rnnkit.RNNCell(widths[1], 2),
        rnnkit.GRUCell(widths[2], 5),
    ]
    return rnnkit.Recurrent(forward, reverse_cells=backward if both else None, **options)


def by_hand(layer, x, hx=None, lengths=None):
    """Run the cells one after the other by unroll."""
    ends = []
    for place, cell in enumerate(layer.cells):
        if place:
            x = functional.dropout(x, layer.dropout, layer.training)
        both = [cell] if layer.reverse_cells is None else [cell, layer.reverse_cells[place]]
        outputs = []
        for reverse, one in enumerate(both):
            output, end = rnnkit.unroll(
                one, x, None if hx is None else hx[len(ends)],
                batch_first=layer.batch_first, lengths=lengths, reverse=bool(reverse),
            )  # fmt: skip
            outputs.append(output)
            ends.append(end)
        x = torch.cat(outputs, dim=-1)
    return x, tuple(ends)


@each_layer
@given(
    data=st.data(), given_state=st.booleans(), cut=st.booleans(), path=st.sampled_from(RESET_PATHS)
)
def test_layer_of_a_layers_cells(name, data, path, *, given_state, cut):
    """Made of a layer's cells it is that layer: output, states, gradients.

    So it is on each path, and however what it is given lies in memory.
    """
    case = data.draw(cases([name], ["padded"], [torch.float64]))
    layer = case.module(rnnkit).eval()
    x = case.numbers()
    hx = case.state() if given_state else None
    counts = data.draw(st.none() | case.counts())
    lengths = None if counts is None else case.laid_out("lengths", torch.tensor(counts))
    reset = case.laid_out("mask", torch.rand(x.shape[:2]) < 0.4) if cut else None

    cells = rnnkit.Recurrent.of(layer)
    assert (cells.batch_first, cells.dropout) == (layer.batch_first, layer.dropout)
    assert {*cells.parameters()} == {*layer.parameters()}
    with on(path), silent():
        states = None if hx is None else rnnkit.states.to_layers(hx)
        output, ends = cells(x, states, lengths=lengths, reset=reset)
        actual = tensors_of((output, rnnkit.states.from_layers(ends)))
    expected = tensors_of(layer(x, hx, lengths=lengths, reset=reset))

    close(actual, expected, 1e-10)
    leaves = [x, *layer.parameters(), *(() if hx is None else tensors_of(hx))]
    way = case.memory.get("gradients")
    close(gradients(actual, leaves, way), gradients(expected, leaves, way), 1e-10)


@covers(3, lengths=[None, [3, 0]], batch_first=[False, True], both=[False, True])
def test_cells_of_any_kind_and_width(both, batch_first, lengths):
    """Each layer reads the output of the one below; its states are given and returned in order.

    Each is of its cell's kind, also the first ones; so it is of one sequence without a batch axis.
    """
    layer = mixed(both=both, batch_first=batch_first)
    x = torch.randn((BATCH, SEQ, WIDTH) if batch_first else (SEQ, BATCH, WIDTH))
    _, hx = layer(torch.randn_like(x))
    first = layer.initial_state(BATCH)

    assert tree_structure(first) == tree_structure(hx) == tree_structure(by_hand(layer, x)[1])
    assert_same(layer(x), layer(x, first))
    assert_same(by_hand(layer, x, lengths=lengths), layer(x, lengths=lengths))
    assert_same(by_hand(layer, x, hx, lengths), layer(x, list(hx), lengths=lengths))
    alone = x.select(0 if batch_first else 1, 0)
    assert_same(by_hand(layer, alone), layer(alone))


def test_users_cells():
    """One starts at its own initial state, and may read integers: token numbers, say."""
    layer = rnnkit.Recurrent([Halving(), rnnkit.GRUCell(WIDTH, 4)])
    x = torch.randn(SEQ, 2, WIDTH)

    assert_same(layer(x), layer(x, layer.initial_state(2)))
    numbers = torch.tensor([[[2, 4, 6]], [[1, 3, 5]]])
    for run in (rnnkit.Recurrent(Halving()), partial(rnnkit.unroll, Halving())):
        assert run(numbers)[0].tolist() == [[[1.5, 2.5, 3.5]], [[1.25, 2.75, 4.25]]]
    cells = nn.ModuleList([rnnkit.GRUCell(3, 4), rnnkit.GRUCell(4, 5)])
    assert list(rnnkit.Recurrent(cells).cells) == list(cells)


def test_dropout_between_layers():
    """In training the output of each layer but the last is dropped out; else nothing is."""
    layer = mixed(dropout=0.5)
    x = torch.randn(SEQ, BATCH, WIDTH)
    torch.manual_seed(1)
    expected = by_hand(layer, x)
    torch.manual_seed(1)
    trained = layer(x)

    assert_same(expected, trained)
    layer.eval()
    assert_same(by_hand(layer, x), layer(x))
    assert not torch.equal(layer(x)[0], trained[0])


def test_copies_compute_the_same():
    """A deep copy, a pickle and a module that loads its weights are the same layer."""
    layer = mixed(batch_first=True, dropout=0.3).eval()
    x = torch.randn(BATCH, SEQ, WIDTH)
    loaded = mixed(batch_first=True, dropout=0.3).eval()
    for parameter in loaded.parameters():
        nn.init.zeros_(parameter)
    loaded.load_state_dict(by_file(layer.state_dict()))

    for twin in (*(make(layer) for make in COPIES), loaded):
        assert_same(layer(x), twin(x))
        assert repr(twin) == repr(layer)


def test_printed_and_saved():
    """It prints options, but for the defaults, and cells; weights are found by their places."""
    cells = [rnnkit.RNNCell(3, 4, bias=False) for _ in range(2)]
    layer = rnnkit.Recurrent(cells[0], reverse_cells=cells[1], batch_first=True, dropout=0.25)

    assert repr(layer) == snapshot("""\
Recurrent(
  batch_first=True, dropout=0.25
  (cells): CellList(
    (0): RNNCell(3, 4, bias=False)
  )
  (reverse_cells): CellList(
    (0): RNNCell(3, 4, bias=False)
  )
)\
""")
    assert "=" not in repr(rnnkit.Recurrent([rnnkit.RNNCell(3, 4)]))
    assert list(layer.state_dict()) == [
        *("cells.0.weight_ih", "cells.0.weight_hh"),
        *("reverse_cells.0.weight_ih", "reverse_cells.0.weight_hh"),
    ]
    assert layer.bidirectional
    assert not rnnkit.Recurrent(rnnkit.RNNCell(3, 4)).bidirectional
