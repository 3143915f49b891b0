"""``unroll`` equals the loop that it stands for, on whichever path it runs."""

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_map_only

import rnnkit
from rnnkit._base.state import state_of
from tests.explaining import silent
from tests.kernels.paths import ALL_PATHS, Begins, by_steps, close, drawn, on
from tests.modules.cells_of_users import LayerNormLSTMCell, ZoneoutGRUCell
from tests.strategies import APART, LAYERS, Case, cases, few, gradients, tensors_of
from tests.torch.models import Logarithm


class Changed(Begins):
    """A cell whose calls are its own, as those of one with a hook are."""

    def forward(self, input, hx=None):  # type: ignore[override]
        """Run one step."""
        return super().forward(2 * input, hx)


USERS = {
    "log": lambda *sizes: Logarithm(rnnkit.GRUCell(*sizes)),
    "layer norm": LayerNormLSTMCell,
    "zoneout": ZoneoutGRUCell,
    "learned": Begins,
    "changed": Changed,
}
#: Cells of ours that carry a pair, of which either part may be missing; a user's gets it as it is.
PAIRS = ("LSTM", "learned", "changed")
#: A user's cell, or the first one of a layer.
each_cell = pytest.mark.parametrize("name", [*LAYERS, *USERS])


class Use(NamedTuple):
    """One call of unroll; input and mask in the layout that it says."""

    case: Case
    cell: Any
    x: Tensor
    hx: Any
    lengths: list[int] | None
    reset: Tensor | None
    options: dict[str, bool]

    def by_steps(self, tensor):
        """Bring a tensor from this layout to ``(seq, batch, ...)``, or back."""
        return tensor.transpose(0, 1) if self.options["batch_first"] else tensor

    def run(self, x, fused, device="cpu"):
        """Run unroll, with a device for new tensors."""
        given = {"lengths": self.lengths, "reset": self.reset, "fused": fused}
        if self.lengths and self.case.memory.get("lengths") in APART:
            given["lengths"] = self.case.laid_out("lengths", torch.tensor(self.lengths))
        with torch.device(device), silent():
            return rnnkit.unroll(self.cell, x, self.hx, **given, **self.options)

    def derived(self, result, x):
        """The gradients of the input, of what is given of a state, and of the weights."""
        leaves = [x, *([] if self.hx is None else tensors_of(self.hx)), *self.cell.parameters()]
        return gradients(result, leaves, self.case.memory.get("gradients"))


def use_of(name: str, data: st.DataObject, **sizes: int) -> Use:
    """Draw a call."""
    layer = [name] if name in LAYERS else ["GRU"]
    case = replace(data.draw(cases(layer, ["padded"], [torch.float64], ["drawn"])), **sizes)
    torch.manual_seed(case.seed)
    if name in USERS:
        cell = USERS[name](case.input_size, case.hidden_size).to(case.dtype).eval()
    else:
        cell = case.module(rnnkit).cells()[0]
    parts = [
        case.laid_out(part, torch.randn_like(zeros)).requires_grad_()
        for part, zeros in zip("hc", tensors_of(cell.initial_state(case.batch)), strict=False)
    ]
    hx = data.draw(st.sampled_from([None, state_of(parts)]))
    if name in PAIRS:
        there = data.draw(st.sampled_from([(True, False), (False, True), (False, False)]))
        half = [part if is_there else None for part, is_there in zip(parts, there, strict=True)]
        hx = data.draw(st.sampled_from([hx, half, tuple(half)]))
    options = {name: data.draw(st.booleans()) for name in ("reverse", "return_states")}
    use = Use(
        case=case,
        cell=cell,
        x=case.numbers(),
        hx=hx,
        lengths=data.draw(st.none() | case.counts()),
        reset=None,
        options=options | {"batch_first": case.options.get("batch_first", False)},
    )
    rate = data.draw(st.sampled_from([None, 0.1, 0.5, 1.0]))
    if rate is None:
        return use
    mask = use.by_steps(drawn(case, rate)).to(data.draw(st.sampled_from([torch.bool, torch.int])))
    return use._replace(reset=case.laid_out("mask", mask))


def by_hand(use: Use) -> tuple[Tensor, list[Tensor]]:
    """Run step by step, as the documentation says."""
    x = use.by_steps(use.x)
    reset = None if use.reset is None else use.by_steps(use.reset)
    initial = tensors_of(use.cell.initial_state(use.case.batch))
    given = use.hx if isinstance(use.hx, tuple | list) else [use.hx] * len(initial)
    hx = [z if p is None else p for z, p in zip(initial, given, strict=True)]
    lengths = torch.tensor(use.lengths or [len(x)] * use.case.batch)
    reverse = use.options["reverse"]
    output, states = by_steps(use.cell, x, hx, lengths, reset, initial, reverse=reverse)
    if use.options["return_states"]:
        return use.by_steps(output), states
    last = 0 if reverse else -1
    return use.by_steps(output), [state[last] for state in states]


@each_cell
@few(15)
@given(
    data=st.data(),
    padding=st.sampled_from([0.0, torch.nan]),
    path=st.sampled_from(ALL_PATHS),
    device=st.sampled_from(["cpu", "meta"]),
)
def test_both_roads_equal_the_loop(name, data, padding, path, device):
    """Fused or not, outputs, states and gradients are those of a loop over steps.

    Whatever the input holds beyond the lengths reaches none of them. On which device new tensors
    are made by default is no matter.
    """
    use = use_of(name, data)
    padded = use.x
    if use.lengths is not None:
        beyond = torch.arange(use.case.seq).unsqueeze(1) >= torch.tensor(use.lengths)
        numbers = padded.detach().masked_fill(use.by_steps(beyond).unsqueeze(2), padding)
        padded = use.case.padded(numbers)
    expected = by_hand(use)
    wanted = use.derived(expected, use.x)

    for fused in (True, False):
        with on(path):
            actual = use.run(padded, fused, device)
        close(actual, expected, 1e-10)
        close(use.derived(actual, padded), wanted, 1e-10)


@each_cell
@few(15)
@given(data=st.data(), fused=st.booleans())
def test_one_sequence_without_batch(name, data, fused):
    """A sequence without a batch axis gives what it gives in a batch of one."""
    one = use_of(name, data, batch=1)._replace(lengths=None)
    axis = 0 if one.options["batch_first"] else 1
    alone = one._replace(
        hx=tree_map_only(Tensor, lambda part: part.squeeze(0), one.hx),
        reset=None if one.reset is None else one.reset.squeeze(axis),
    )

    output, state = one.run(one.x, fused)
    actual, end = alone.run(one.x.squeeze(axis), fused)

    close(actual, output.squeeze(axis), 1e-10)
    axis = 1 if one.options["return_states"] else 0
    close(end, [tensor.squeeze(axis) for tensor in tensors_of(state)], 1e-10)


def test_autocast_without_a_kernel():
    """Where autocast asks for a kernel that oneDNN does not have, unroll runs the loop."""
    cell = rnnkit.LSTMCell(3, 4)
    x = torch.randn(7, 5, 3)

    with torch.autocast("cpu", torch.float16):
        output, _ = rnnkit.unroll(cell, x)

    torch.testing.assert_close(output.float(), rnnkit.unroll(cell, x)[0], rtol=0.01, atol=0.01)
