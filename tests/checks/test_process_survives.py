"""Calls that end the process in torch, or that torch takes in silence, raise StateError here."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import rnnkit

Packing = Callable[..., PackedSequence]

LAYERS, BATCH, SEQ, INPUT, HIDDEN = 2, 3, 6, 4, 5

SCRIPT = f"""
import torch
import rnnkit
from torch.nn.utils.rnn import pack_padded_sequence

packed = pack_padded_sequence(torch.randn({SEQ}, {BATCH}, {INPUT}), [6, 4, 1])
lstm = rnnkit.LSTM({INPUT}, {HIDDEN}, num_layers={LAYERS})
cell = rnnkit.LSTMCell({INPUT}, {HIDDEN})
try:
    {{call}}
except RuntimeError as error:
    print(type(error).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        "lstm(packed, (torch.randn(2, 3, 5), torch.randn(1, 3, 5)))",
        "lstm(packed, (torch.randn(2, 1, 3, 5), torch.randn(2, 1, 3, 5)))",
        "cell(torch.randn(4), (torch.randn(5, 5), torch.randn(5, 5)))",
    ],
    ids=[
        "fewer layers in c than in h",
        "a state split by direction",
        "a square state for one vector",
    ],
)
def test_a_call_that_ends_the_process_in_torch_is_refused(call: str) -> None:
    """What is a segmentation fault in torch is an exception, which a program can catch."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", SCRIPT.format(call=call)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["StateError"]


def packed(*lengths: int) -> PackedSequence:
    """A packed batch of random sequences."""
    padded = torch.randn(max(lengths), len(lengths), INPUT)
    return pack_padded_sequence(padded, list(lengths), enforce_sorted=False)


def sorted_packed(*lengths: int) -> PackedSequence:
    """A packed batch that its packing need not sort."""
    padded = torch.randn(max(lengths), len(lengths), INPUT)
    return pack_padded_sequence(padded, list(lengths))


def state(layers: int = LAYERS, batch: int = BATCH) -> Tensor:
    """A tensor of a state."""
    return torch.randn(layers, batch, HIDDEN)


both_packings = pytest.mark.parametrize("pack", [sorted_packed, packed])


@both_packings
def test_surplus_layers_of_c_are_not_dropped(pack: Packing) -> None:
    """A c of more layers than the LSTM has is refused: torch drops the surplus."""
    with pytest.raises(rnnkit.StateError):
        rnnkit.LSTM(INPUT, HIDDEN, LAYERS)(pack(6, 4, 1), (state(), state(layers=4)))


@both_packings
@pytest.mark.parametrize("place", [0, 1])
def test_one_sample_of_state_is_not_spread_over_the_batch(pack: Packing, place: int) -> None:
    """A state of batch 1 is refused: torch takes such a c for all samples."""
    pair = [state(), state()]
    pair[place] = state(batch=1)

    with pytest.raises(rnnkit.StateError):
        rnnkit.LSTM(INPUT, HIDDEN, LAYERS)(pack(6, 4, 1), tuple(pair))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_state_of_a_larger_batch_is_not_cut(name: str) -> None:
    """A state of more samples than were packed is refused: torch takes those it needs."""
    h = state(batch=BATCH + 4)
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, LAYERS)

    with pytest.raises(rnnkit.StateError):
        layer(packed(4, 6, 1), (h, h) if name == "LSTM" else h)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_state_of_a_smaller_batch_is_refused(name: str) -> None:
    """A state of fewer samples than were packed is refused, and not by an index out of range."""
    h = state(batch=BATCH - 1)
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, LAYERS)

    with pytest.raises(rnnkit.StateError):
        layer(packed(4, 6, 1), (h, h) if name == "LSTM" else h)


@pytest.mark.parametrize("mode", ["GRU", "LSTM", "relu", None])
def test_an_rnn_of_another_recurrence_is_refused(mode: str | None) -> None:
    """An RNN whose mode was set to that of a GRU is refused in each kind of call, and mended."""
    layer: Any = rnnkit.RNN(INPUT, HIDDEN)
    x = torch.randn(SEQ, BATCH, INPUT)
    right, reset = layer(x)[0], torch.ones(SEQ, BATCH, dtype=torch.bool)
    layer.mode = mode

    calls = [lambda: layer(x), lambda: layer(packed(6, 4, 1)), lambda: layer(x, state(1))]
    calls += [lambda: layer(x, lengths=[6, 4, 1]), lambda: layer(x, reset=reset)]
    for call in calls:
        with pytest.raises(rnnkit.ArgumentError, match="mode must be RNN_TANH or RNN_RELU"):
            call()

    layer.mode = "RNN_TANH"
    assert torch.equal(layer(x)[0], right)
