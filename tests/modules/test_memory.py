"""However tensors lie in memory: a call gives what it gives of the same numbers in one piece."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

import rnnkit
from rnnkit import LSTMState
from tests.kernels.paths import RESET_PATHS, Wrapped, close, each_layer, on, recurrent
from tests.modules.acts_on_states import ACTS
from tests.strategies import (
    APART,
    Case,
    cases,
    few,
    gradients,
    laid_out,
    memories,
    tensors_of,
)


def in_one_piece(nest: Any) -> Any:
    """The same nest, each tensor of it a new leaf with the same numbers."""

    def copy(tensor: Tensor) -> Tensor:
        fresh = tensor.detach().clone(memory_format=torch.contiguous_format)
        return fresh.requires_grad_(tensor.requires_grad)

    return pytree.tree_map_only(Tensor, copy, nest)


def leaves_of(nest: Any) -> list[Tensor]:
    """The tensors of a nest that want gradients."""
    found = (one for one in pytree.tree_leaves(nest) if isinstance(one, Tensor))
    return [one for one in found if one.requires_grad]


def check(call: Callable[..., Any], arguments: Any, way: str | None = None, *more: Tensor):
    """A call gives the same of other memory, its gradients too, and leaves what it is given."""
    pieces = in_one_piece(arguments)
    kept = in_one_piece(arguments)

    expected, actual = (tensors_of(call(*each)) for each in (pieces, arguments))

    close(actual, expected)
    if leaves_of(actual):
        close(
            gradients(actual, [*leaves_of(arguments), *more], way),
            gradients(expected, [*leaves_of(pieces), *more], way),
        )
    torch.testing.assert_close(arguments, kept, rtol=0, atol=0, equal_nan=True)


def padded(name: str, data: st.DataObject, **options: bool) -> Case:
    """Draw a padded batch of a layer with such options."""
    drawn = data.draw(cases([name], ["padded"], [torch.float64]))
    return replace(drawn, options=drawn.options | options)


#: Who takes a layer's input and state, and the paths that it has.
USERS = {
    "layer": (lambda layer: layer, RESET_PATHS),
    "Recurrent": (recurrent, RESET_PATHS),
    "Recurrent of users' cells": (lambda layer: recurrent(layer, Wrapped), ("loop",)),
}


def arguments_of(case: Case, data: st.DataObject) -> tuple[Any, ...]:
    """Draw the input, the state, and what may be given by name of lengths and a mask."""
    x = case.numbers()
    hx = case.state()
    generator = torch.Generator().manual_seed(case.seed)
    counts = torch.randint(0, case.seq + 1, (case.batch,), generator=generator)
    options = {
        "lengths": case.laid_out("lengths", counts),
        "reset": case.laid_out("mask", torch.rand(x.shape[:2], generator=generator) < 0.4),
    }
    names = data.draw(st.lists(st.sampled_from(list(options)), unique=True))
    return x, hx, {name: options[name] for name in names}


@pytest.mark.parametrize("user", USERS)
@each_layer
@few(20)  # each on every path
@given(data=st.data())
def test_a_sequence(name, user, data):
    """Input, state, lengths, mask, weights and gradients may lie in memory in any way."""
    # Batch-first half of the time, since a mask is then turned.
    case = padded(name, data, batch_first=data.draw(st.booleans()))
    layer = case.module(rnnkit).eval()
    make, paths = USERS[user]
    run = make(layer)
    arguments = arguments_of(case, data)

    for path in paths:
        with on(path):
            check(
                lambda x, hx, options: run(x, hx, **options),
                arguments,
                case.memory.get("gradients"),
                *layer.parameters(),
            )


@each_layer
@given(data=st.data(), fields=st.tuples(*[st.sampled_from(APART)] * 4))
def test_the_fields_of_packed_input(name, data, fields):
    """So may each field of packed input but the sizes, which torch reads as if in one piece."""
    case = data.draw(cases([name], ["packed", "packed unsorted"], [torch.float64]))
    layer = case.module(rnnkit).eval()
    fitting = case.input()
    packed = [
        None if field is None else laid_out(field.detach(), way)
        for field, way in zip(fitting, fields, strict=True)
    ]
    if not packed[1].is_contiguous():
        with pytest.raises(rnnkit.LengthsError, match="batch_sizes must lie in one piece"):
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
