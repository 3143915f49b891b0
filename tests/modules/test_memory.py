"""However tensors lie in memory: a call gives what it gives of the same numbers in one piece.

Here stand packed input and states; the laws of other calls draw how their tensors lie.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

import rnnkit
from rnnkit import LSTMState
from tests.kernels.paths import close, each_layer
from tests.modules.acts_on_states import ACTS
from tests.strategies import APART, assert_same, cases, gradients, laid_out, memories, tensors_of


def in_one_piece(nest):
    """The same nest, each tensor of it a new leaf with the same numbers."""

    def copy(tensor):
        fresh = tensor.detach().clone(memory_format=torch.contiguous_format)
        return fresh.requires_grad_(tensor.requires_grad)

    return pytree.tree_map_only(Tensor, copy, nest)


def leaves_of(nest) -> list[Tensor]:
    """The tensors of a nest that want gradients."""
    found = (one for one in pytree.tree_leaves(nest) if isinstance(one, Tensor))
    return [one for one in found if one.requires_grad]


def check(call, arguments, way=None):
    """A call gives the same of other memory, its gradients too, and leaves what it is given."""
    pieces = in_one_piece(arguments)
    kept = in_one_piece(arguments)

    expected, actual = (tensors_of(call(*each)) for each in (pieces, arguments))

    close(actual, expected)
    if leaves_of(actual):
        close(
            gradients(actual, leaves_of(arguments), way),
            gradients(expected, leaves_of(pieces), way),
        )
    assert_same(kept, arguments)


@each_layer
@given(data=st.data(), fields=st.tuples(*[st.sampled_from(APART)] * 4))
def test_the_fields_of_packed_input(name, data, fields):
    """Each field of packed input may lie anyhow but the sizes, which torch reads as if in one piece."""
    case = data.draw(cases([name], ["packed", "packed unsorted"], [torch.float64]))
    layer = case.module(rnnkit).eval()
    fitting = case.input()
    packed = [
        None if field is None else laid_out(field.detach(), way)
        for field, way in zip(fitting, fields, strict=True)
    ]
    if not packed[1].is_contiguous():
        with pytest.raises(rnnkit.LengthsError, match="batch_sizes must be contiguous"):
            layer(PackedSequence(*packed))
        packed[1] = fitting.batch_sizes

    check(
        lambda fields, hx: layer(PackedSequence(*fields), hx),
        ([packed[0].requires_grad_(), *packed[1:]], case.state()),
        case.memory.get("gradients"),
    )


ROWS = 4
BATCH = 3
HIDDEN = 6


@given(memory=memories)
def test_states(memory):
    """So may a state, and the flags and positions beside it, whatever is done to it."""
    h, c = (
        laid_out(torch.randn(ROWS, BATCH, HIDDEN, dtype=torch.float64), memory.get(part))
        for part in "hc"
    )
    mask = laid_out(torch.tensor([False, True, True]), memory.get("mask"))
    index = laid_out(torch.tensor([2, 0, 0, 1]), memory.get("lengths"))
    state = LSTMState(h.requires_grad_(), c.requires_grad_())

    for act in ACTS.values():
        check(act, (state, mask, index), memory.get("gradients"))
