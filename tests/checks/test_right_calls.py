"""Right calls that look like wrong ones run, and rnnkit says nothing."""

from functools import partial

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

import rnnkit
from rnnkit._checks.arrays import positions_of
from rnnkit._checks.call_spec import spec_of
from rnnkit._checks.length_checks import checked_lengths
from rnnkit._checks.mask_checks import as_mask, checked_reset
from tests.checks.outcome import said
from tests.strategies import assert_same

META = torch.device("meta")
RIGHT = {
    "options in their own places": (
        "nn.LSTM(3, 8, 2, False); nn.LSTM(3, 8, 2, True, False); nn.LSTM(3, 8, 2, bias=True)",
        "nn.LSTM(3, 8, 2, True, batch_first=True); nn.GRU(3, 8, 2, True, True)",
        "nn.RNN(3, 8, 2, 'relu'); nn.RNN(3, 8, 2, 'relu', False)",
        "nn.RNN(3, 8, 2, 'relu', True, True); nn.RNNCell(3, 8, True, 'relu')",
        "nn.LSTMCell(3, 8, True, None); nn.GRUCell(0, 8)",
    ),
    "an exporter passes every parameter by its position": (
        "nn.GRU(3, 4)(torch.ones(7, 5, 3), None, None, None)",
        "nn.GRUCell(3, 4)(torch.ones(5, 3), None, None)",
    ),
    "the batch is where the functions on states are told that it is": (
        "rnnkit.states.select(torch.ones(3, 4, 6), [3])",
        "rnnkit.states.reset(torch.ones(3, 4, 6), [1, 0, 1], state_batch_first=True)",
    ),
    "the state of one sequence has no batch axis": (
        "layer = nn.GRU(3, 4, 2, bidirectional=True); output, hx = layer(torch.ones(7, 3)); layer.last_hidden(hx)",
    ),
    "a forward of a user's own takes the state that it says": (
        """
class Reversed(rnnkit.GRU):
    def forward(self, input, hx=None):
        return super().forward(input, hx.transpose(0, 1))

Reversed(3, 4).step(torch.ones(5, 3), torch.ones(5, 1, 4))""",
    ),
    "a user's states have any rank": (
        "cell, x = lambda input, hx: hx + input[:, :1, None], torch.ones(7, 5, 3); rnnkit.unroll(cell, x, torch.ones(5, 2, 6))",
        "cell = lambda input, hx: hx + input.unsqueeze(-1); rnnkit.unroll(cell, torch.ones(7, 1, 3), torch.ones(1, 3, 2))",
    ),
    "a cell begins with None and carries a pair from there on": (
        "cell = lambda input, hx: (hx[0] + 1, (hx[0], hx[0])); rnnkit.unroll(cell, torch.ones(7, 5, 3), (torch.ones(5, 4), None))",
    ),
    "a cell writes into tensors that it has made": tuple(
        f"cell = lambda input, hx: {step}\n"
        f"with torch.{mode}(): rnnkit.unroll(cell, torch.ones(7, 5, 3), torch.ones(5, 3))"
        for mode in ("no_grad", "inference_mode")
        for step in (
            "(hx * 0.5).add_(input)",
            "hx.clone().mul_(input)",
            "hx",
            "hx.view(hx.shape)",
            "torch.add(hx, input, out=torch.empty_like(hx))",
        )
    ),
}


@pytest.mark.unhooked("the annotation asks for an initial_state")
@pytest.mark.filterwarnings("error::rnnkit.RnnkitWarning")
@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_said(name):
    """Each is right in torch, or as the page of the function says."""
    for program in RIGHT[name]:
        assert said(program) is None, program


@pytest.mark.unhooked("the annotation asks for an initial_state")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_states_side_by_side_in_one_buffer(mode):
    """A step that writes the next state beside the last one, into a buffer for all, is taken."""
    x = torch.rand(4, 2, 3)
    buffer = torch.zeros(5, 2, 3)

    def step(x, h):
        place = h.storage_offset() // h.numel() + 1
        buffer[place] = h + x
        return buffer[place]

    with mode():
        output, _ = rnnkit.unroll(step, x, buffer[0])

    assert torch.equal(output, x.cumsum(0))


#: Ways to give integers, beside a list of them.
WAYS = {
    "a tuple": tuple,
    "a tensor": torch.tensor,
    "int32": partial(torch.tensor, dtype=torch.int32),
    "uint8": partial(torch.tensor, dtype=torch.uint8),
    "an array": np.array,
    "an array of bytes": partial(np.array, dtype="u1"),
    "big-endian": partial(np.array, dtype=">i4"),
    "backward": lambda values: np.array(values[::-1])[::-1],
    "strided": lambda values: np.repeat(values, 2)[::2],
    "read only": lambda values: np.broadcast_to(values, len(values)),
    "tensors": lambda values: [torch.tensor(value) for value in values],
    "NumPy's integers": lambda values: [np.int64(value) for value in values],
}


@pytest.mark.unhooked("the annotation refuses it first")
@pytest.mark.parametrize("way", WAYS)
def test_integers_may_come_as_anything(way):
    """Lengths, masks, positions and flags, in whatever holds them, are those in a list."""
    give = WAYS[way]
    layer = rnnkit.GRU(3, 4)
    x = torch.randn(7, 5, 3)
    state = torch.randn(3, 4)
    for call, values in (
        (lambda lengths: layer(x, lengths=lengths), [4, 0, 7, 1, 6]),
        (lambda mask: layer(x[:, 0], reset=mask), [0, 0, 1, 0, 1, 1, 0]),
        (partial(rnnkit.states.select, state), [2, 0, 0]),
        (partial(rnnkit.states.reset, state), [1, 0, 1]),
    ):
        assert_same(call(values), call(give(values)))

    flags = np.arange(35).reshape(7, 5) % 4 == 1
    assert_same(layer(x, reset=flags.tolist()), layer(x, reset=np.asfortranarray(flags)))


def test_they_come_to_where_they_are_used():
    """Positions, masks and lengths are brought to the state or the input; no value is looked into."""
    spec = spec_of(rnnkit.GRU(3, 4, batch_first=True), torch.ones(5, 7, 3, device=META), "layer")
    mask = checked_reset(spec, torch.ones(5, 7, device=META))

    assert (mask.device, mask.shape, mask.is_contiguous()) == (META, (7, 5), True)
    assert checked_lengths(spec, [7] * 5, torch.ones(5, 7, 3, device=META)).each.device == META
    with FakeTensorMode():
        places = torch.tensor([7, 8])
    for index in (places, places.to("meta")):
        assert (
            as_mask("mask", index, (2,), META).shape == positions_of(index, 2, META).shape == (2,)
        )
