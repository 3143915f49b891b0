"""One layer in one direction over packed rows, forward and backward by hand.

torch's own kernel over packed input records every operation of every step for its backward pass.
Here the backward pass of a step is three to six operations, on factors computed for all steps at
once, and each weight's gradient is one product over all rows. A second derivative falls back to
torch's kernel, which can be differentiated again.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.torch_tools import is_batched
from rnnkit._kernels.derivatives import differentiate_again, through_gates
from rnnkit._kernels.pieces import Cuts, Rows
from rnnkit._kernels.stack import Direction, Run, Stack, States


def run_rows(direction: Direction, data: Tensor, state: States, rows: Rows | Cuts) -> Run:
    """Run one layer in one direction over ``(rows, feature)``, each piece from its own state.

    Weights are float32 or float64, without a projection; states are ``(pieces, hidden)``.
    """
    weights = (*direction.weights, None, None)[:4]
    if not torch.is_grad_enabled():
        output, ends, _ = _computed(direction, rows, data, state, weights, keep=False)
        return output, ends
    h, c = (*state, None)[:2]
    output, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        direction, rows, data, h, c, *weights
    )
    return output, tuple(last)


def _computed(
    direction: Direction,
    rows: Rows | Cuts,
    data: Tensor,
    start: States,
    weights: Sequence[Tensor | None],
    *,
    keep: bool,
) -> tuple[Tensor, States, States]:
    """Return the output, last states, and what the backward function needs."""
    schedule = rows.schedule(direction.reverse)
    output, cells, kept = direction.recurrence.forward(
        data, start, tuple(weights), schedule, keep=keep
    )
    return output, tuple(rows.ends(each, schedule.reverse) for each in (output, *cells)), kept


class _Recurrence(torch.autograd.Function):
    """The recurrence as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, direction: Direction, rows: Rows | Cuts, *inputs: Any
    ) -> tuple[Tensor, ...]:
        data, h, c, *weights = inputs
        start = (h,) if c is None else (h, c)
        output, ends, kept = _computed(direction, rows, data, start, weights, keep=True)
        # Without its weights, which a saved tensor guards against a change in between.
        ctx.direction = direction._replace(weights=[])
        ctx.rows = rows
        ctx.save_for_backward(*inputs, output, *kept)
        ctx.set_materialize_grads(False)
        return output, *ends

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # What ran in full precision is differentiated in full precision, even under autocast.
        with torch.autocast("cpu", enabled=False):
            return None, None, *_derived(ctx, gradients)


def _derived(ctx: Any, gradients: Sequence[Tensor | None]) -> Any:
    saved = ctx.saved_tensors  # once: a checkpoint hands them out once
    inputs = saved[:7]
    (output, *kept) = saved[7:]
    needed = ctx.needs_input_grad[2:]
    if torch.is_grad_enabled() or any(map(is_batched, gradients)):
        return _derived_by_torch(ctx, inputs, gradients)
    data, h, c, weight_ih, weight_hh, _, _ = inputs
    start = (h,) if c is None else (h, c)
    rows = ctx.rows
    schedule = ctx.rows.schedule(ctx.direction.reverse)
    hidden = rows.earlier(h, output, schedule.reverse)
    if c is not None:
        kept[0] = rows.earlier(c, kept[0], schedule.reverse)
    on_output, *on_ends = gradients
    on_output = torch.zeros_like(output) if on_output is None else on_output
    # One buffer for all steps, which holds the gradient of the first states at the end.
    now = [
        torch.zeros_like(tensor) if gradient is None else gradient.clone()
        for tensor, gradient in zip(start, on_ends, strict=True)
    ]
    backward = ctx.direction.recurrence.backward
    on_gates = backward(on_output, now, (output, hidden, *kept), weight_hh, schedule)
    on_data, *on_weights = through_gates(
        on_gates, data, hidden, weight_ih, (needed[0], *needed[3:])
    )
    starts = [gradient if need else None for gradient, need in zip(now, needed[1:3], strict=False)]
    return [on_data, *starts, *[None] * (2 - len(starts)), *on_weights]


def _derived_by_torch(
    ctx: Any, inputs: Sequence[Tensor | None], gradients: Sequence[Tensor | None]
) -> Any:
    """Compute the same gradients by torch's kernel: differentiable, or of a batch of gradients."""

    def run(data: Tensor, h: Tensor, c: Tensor | None, *weights: Tensor | None) -> States:
        given = [weight for weight in weights if weight is not None]
        stack = Stack([[ctx.direction._replace(weights=given)]])
        state = tuple(tensor.unsqueeze(0) for tensor in (h, c) if tensor is not None)
        output, ends = ctx.rows.run_differentiable(stack, data, state)
        return output, *(tensor.squeeze(0) for tensor in ends)

    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # A tensor may come twice, as a tied bias does: each becomes a different view.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
    return differentiate_again(run, views, gradients, create_graph=create_graph)
