"""``Recurrent``: a layer over cells of any kind, in everything a layer."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn import functional

import rnnkit
from tests.strategies import assert_same, tensors_of

BATCH, SEQ, WIDTH = 2, 5, 3


class Halving(nn.Module):
    """A user's cell: no parameters, a tuple of one for its state, integers for its input."""

    def forward(self, input: Tensor, hx: tuple[Tensor]) -> tuple[Tensor]:
        """Return half of the state, and of the input."""
        return ((hx[0] + input) / 2,)

    def initial_state(self, batch_size: int) -> tuple[Tensor]:
        """Start at one."""
        return (torch.ones(batch_size, WIDTH),)


def mixed(*, both: bool = True, **options: Any) -> rnnkit.Recurrent:
    """Make three layers, of another kind and width each, in one direction or two."""
    torch.manual_seed(0)
    widths = (WIDTH, 10, 8) if both else (WIDTH, 4, 6)
    forward = [
        rnnkit.GRUCell(widths[0], 4),
        rnnkit.LSTM(widths[1], 9, proj_size=6).cells()[0],
        rnnkit.LSTMCell(widths[2], 7),
    ]
    backward = [
        rnnkit.LSTMCell(widths[0], 6),
        rnnkit.RNNCell(widths[1], 2),
        rnnkit.GRUCell(widths[2], 5),
    ]
    return rnnkit.Recurrent(forward, reverse_cells=backward if both else None, **options)


def by_hand(
    layer: rnnkit.Recurrent, x: Tensor, hx: Any = None, lengths: Any = None
) -> tuple[Tensor, tuple[Any, ...]]:
    """Run the cells one after the other by unroll."""
    ends: list[Any] = []
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


@given(
    name=st.sampled_from(["RNN", "LSTM", "GRU"]),
    layers=st.integers(1, 3),
    directions=st.integers(1, 2),
    proj_size=st.sampled_from([0, 2]),
    batch_first=st.booleans(),
    state=st.booleans(),
    lengths=st.none() | st.lists(st.integers(0, SEQ), min_size=BATCH, max_size=BATCH),
)
def test_layer_of_a_layers_cells(
    name: str,
    layers: int,
    directions: int,
    proj_size: int,
    batch_first: bool,
    state: bool,
    lengths: list[int] | None,
) -> None:
    """Made of a layer's cells it is that layer: output, states, gradients."""
    torch.manual_seed(0)
    make: Any = getattr(rnnkit, name)
    options: dict[str, Any] = {"num_layers": layers, "bidirectional": directions == 2}
    if name == "LSTM":
        options["proj_size"] = proj_size
    layer = make(WIDTH, 4, batch_first=batch_first, dtype=torch.float64, **options)
    cells = layer.cells()
    reverse = cells[1::2] if directions == 2 else None
    made = rnnkit.Recurrent(cells[::directions], reverse_cells=reverse, batch_first=batch_first)
    shape = (BATCH, SEQ, WIDTH) if batch_first else (SEQ, BATCH, WIDTH)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    hx = made.initial_state(BATCH) if state else None
    hx = hx and tuple(rnnkit.states.to(one, torch.float64) for one in hx)
    hx = hx and rnnkit.states.select(hx, list(range(BATCH)))
    stacked = None if hx is None else rnnkit.states.from_layers(hx)

    output, ends = made(x, hx, lengths=lengths)
    expected, end = layer(x, stacked, lengths=lengths)
    actual = tensors_of((output, rnnkit.states.from_layers(ends)))
    torch.testing.assert_close(actual, tensors_of((expected, end)))
    found = [
        torch.autograd.grad(t.square().sum(), [x, *layer.parameters()], materialize_grads=True)
        for t in (output, expected)
        if t.requires_grad
    ]
    torch.testing.assert_close(found[:1], found[1:])


@pytest.mark.covering(2)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [None, [3, 0]])
def test_cells_of_any_kind_and_width(
    both: bool, batch_first: bool, lengths: list[int] | None
) -> None:
    """Each layer reads the output of the one below; its states are given and returned in order."""
    layer = mixed(both=both, batch_first=batch_first)
    x = torch.randn((BATCH, SEQ, WIDTH) if batch_first else (SEQ, BATCH, WIDTH))
    _, hx = layer(torch.randn_like(x))

    assert_same(by_hand(layer, x, lengths=lengths), layer(x, lengths=lengths))
    assert_same(by_hand(layer, x, hx, lengths), layer(x, list(hx), lengths=lengths))


def test_states_layer_by_layer() -> None:
    """States come layer by layer, the forward direction first, each of its cell's kind."""
    layer = mixed()
    _, ends = layer(torch.randn(SEQ, BATCH, WIDTH))
    for states in (ends, layer.initial_state(BATCH)):
        gru, lstm, projected, rnn, last, last_gru = states
        assert [tuple(t.shape) for t in (gru, rnn, last_gru)] == [(BATCH, n) for n in (4, 2, 5)]
        for state, widths in ((lstm, (6, 6)), (projected, (6, 9)), (last, (7, 7))):
            assert isinstance(state, rnnkit.LSTMState)
            assert tuple(t.shape[1] for t in state) == widths


def test_initial_state_is_where_it_starts() -> None:
    """No state and the initial one are the same, of a user's cell too."""
    layer = rnnkit.Recurrent([Halving(), rnnkit.GRUCell(WIDTH, 4)])
    x = torch.randn(SEQ, BATCH, WIDTH)

    assert_same(layer(x), layer(x, layer.initial_state(BATCH)))


def test_a_user_cell_may_read_integers() -> None:
    """What a user's cell takes is not ours to refuse: token numbers, say."""
    layer = rnnkit.Recurrent(Halving())

    output, _ = layer(torch.tensor([[[2, 4, 6]], [[1, 3, 5]]]))
    assert output.tolist() == [[[1.5, 2.5, 3.5]], [[1.25, 2.75, 4.25]]]


def test_dropout_between_layers() -> None:
    """In training the output of each layer but the last is dropped out; else nothing is."""
    layer, x = mixed(dropout=0.5), torch.randn(SEQ, BATCH, WIDTH)
    torch.manual_seed(1)
    expected = by_hand(layer, x)
    torch.manual_seed(1)
    trained = layer(x)

    assert_same(expected, trained)
    layer.eval()
    assert_same(by_hand(layer, x), layer(x))
    assert not torch.equal(layer(x)[0], trained[0])


def test_one_sequence_without_batch() -> None:
    """A sequence without a batch axis gives what it gives in a batch of one."""
    layer, x = mixed(), torch.randn(SEQ, WIDTH)
    output, ends = layer(x.unsqueeze(1))
    alone, end = layer(x)

    assert_same((output.squeeze(1), [t.squeeze(0) for t in tensors_of(ends)]), (alone, end))


def test_copies_compute_the_same() -> None:
    """A deep copy, a pickle and a module that loads its weights are the same layer."""
    layer, x = mixed(batch_first=True, dropout=0.3).eval(), torch.randn(BATCH, SEQ, WIDTH)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    loaded = mixed(batch_first=True, dropout=0.3).eval()
    for parameter in loaded.parameters():
        nn.init.zeros_(parameter)
    loaded.load_state_dict(torch.load(buffer))

    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):
        assert_same(layer(x), twin(x))
        assert repr(twin) == repr(layer)


def test_names_of_the_weights() -> None:
    """The weights are found by direction, layer and the cell's own names."""
    layer = rnnkit.Recurrent(
        [rnnkit.RNNCell(3, 4, bias=False)], reverse_cells=rnnkit.RNNCell(3, 4, bias=False)
    )

    assert list(layer.state_dict()) == [
        *("cells.0.weight_ih", "cells.0.weight_hh"),
        *("reverse_cells.0.weight_ih", "reverse_cells.0.weight_hh"),
    ]
    assert layer.bidirectional
    assert not rnnkit.Recurrent(rnnkit.RNNCell(3, 4)).bidirectional


def test_printed() -> None:
    """It prints its options, but for the defaults, and its cells."""
    one = rnnkit.Recurrent([rnnkit.RNNCell(3, 4)])
    options = {"batch_first": True, "dropout": 0.25}

    assert repr(one) == snapshot("""\
Recurrent(
  (cells): ModuleList(
    (0): RNNCell(3, 4)
  )
)\
""")
    assert repr(
        rnnkit.Recurrent(rnnkit.GRUCell(3, 4), reverse_cells=rnnkit.GRUCell(3, 4), **options)
    ) == snapshot("""\
Recurrent(
  batch_first=True, dropout=0.25
  (cells): ModuleList(
    (0): GRUCell(3, 4)
  )
  (reverse_cells): ModuleList(
    (0): GRUCell(3, 4)
  )
)\
""")
