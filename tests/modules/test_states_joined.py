"""``from_layers`` and ``bridge``: states of several layers or directions, joined."""

from typing import Any

import pytest
import torch
from torch import Tensor

import rnnkit
from rnnkit import LSTMState, states
from tests.strategies import assert_same, tensors_of

INPUT, HIDDEN, PROJ, BATCH, SEQ = 2, 6, 4, 3, 7

layers = pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])


def layer_of(name: str, num_layers: int = 2, **options: Any) -> Any:
    """A layer, the LSTM with a projection, so that h and c differ in width."""
    if name == "LSTM":
        options["proj_size"] = PROJ
    return getattr(rnnkit, name)(INPUT, HIDDEN, num_layers, **options)


def end_of(layer: Any) -> Any:
    """The state after a batch."""
    _, state = layer(torch.randn(SEQ, BATCH, INPUT))
    return state


def rows(state: Any) -> list[Any]:
    """A layer's state row by row, as cells carry them."""
    if isinstance(state, Tensor):
        return list(state)
    return [LSTMState(h, c) for h, c in zip(*state, strict=True)]


@layers
@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_of_cells_make_the_state_of_a_layer(name: str, *, bidirectional: bool) -> None:
    """The rows of a layer's state, joined, are that state again."""
    state = end_of(layer_of(name, bidirectional=bidirectional))

    joined = states.from_layers(rows(state))

    assert type(joined) is type(state)
    assert_same(state, joined)


@layers
def test_states_of_layers_make_the_state_of_their_stack(name: str) -> None:
    """The states of layers, of one row or of several, are joined row by row."""
    one, two = (end_of(layer_of(name, num_layers)) for num_layers in (1, 2))

    joined = states.from_layers([one, two, one])

    expected = [torch.cat(parts) for parts in zip(*map(tensors_of, (one, two, one)), strict=True)]
    assert_same(expected, joined)
    assert type(joined) is type(one)


def test_plain_pairs_stay_plain() -> None:
    """Pairs (h, c) are joined to a pair."""
    pairs = [(torch.randn(BATCH, PROJ), torch.randn(BATCH, HIDDEN)) for _ in range(5)]

    joined = states.from_layers(pairs)

    assert type(joined) is tuple
    assert [tensor.shape for tensor in joined] == [(5, BATCH, PROJ), (5, BATCH, HIDDEN)]


def test_state_of_recurrent_makes_the_state_of_a_layer() -> None:
    """What Recurrent carries for a layer's cells, joined, is what the layer carries."""
    layer = layer_of("LSTM")
    x = torch.randn(SEQ, BATCH, INPUT)

    _, carried = rnnkit.Recurrent(layer.cells())(x)

    torch.testing.assert_close(states.from_layers(carried), layer(x)[1])


@layers
def test_bridge_side_by_side(name: str) -> None:
    """Concatenated, the directions of each layer make one that is twice as wide."""
    layer = layer_of(name, bidirectional=True)
    state = end_of(layer)

    bridged = states.bridge(state)

    split = layer.split_state(state)
    expected = [torch.cat([t[:, 0], t[:, 1]], dim=2) for t in tensors_of(split)]
    assert_same(expected, bridged)
    assert_same(bridged, states.bridge(state, "concat"))
    assert type(bridged) is type(state)


@layers
def test_bridge_summed(name: str) -> None:
    """Summed, the directions of each layer make one that is as wide."""
    layer = layer_of(name, bidirectional=True)
    state = end_of(layer)

    bridged = states.bridge(state, "sum")

    split = layer.split_state(state)
    assert_same([t[:, 0] + t[:, 1] for t in tensors_of(split)], bridged)
    assert type(bridged) is type(state)


@layers
@pytest.mark.parametrize("how", ["concat", "sum"])
def test_bridge_of_batch_first_states(name: str, how: Any) -> None:
    """A batch-first state is bridged to a batch-first state."""
    state = end_of(layer_of(name, bidirectional=True))

    bridged = states.bridge(states.batch_first(state), how, state_batch_first=True)

    assert_same(states.batch_first(states.bridge(state, how)), bridged)


@pytest.mark.parametrize("how", ["concat", "sum"])
def test_bridge_keeps_a_plain_pair_plain(how: Any) -> None:
    """A plain pair comes out as a plain pair."""
    pair = tuple(end_of(layer_of("LSTM", bidirectional=True)))

    assert type(states.bridge(pair, how)) is tuple


@pytest.mark.parametrize(("how", "width"), [("concat", 2 * HIDDEN), ("sum", HIDDEN)])
def test_bridged_state_starts_the_decoder(how: Any, width: int) -> None:
    """A decoder of the width that is told takes the bridged state, and its gradients flow."""
    encoder = rnnkit.LSTM(INPUT, HIDDEN, 2, bidirectional=True)
    decoder = rnnkit.LSTM(INPUT, width, 2)

    output, _ = decoder(torch.randn(5, BATCH, INPUT), states.bridge(end_of(encoder), how))
    output.sum().backward()

    assert all(weight.grad is not None and weight.grad.any() for weight in encoder.parameters())
