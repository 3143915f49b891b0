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
    """Run one layer in one direction over packed rows, each piece from its own state.

    A piece is a stretch of a sample between two resets, and ``data`` ``(rows, feature)`` has the
    steps of all pieces, laid out as ``rows`` says. Weights are float32 or float64, without a
    projection; ``state`` is h and an LSTM's c, ``(pieces, hidden)``. Returns the output ``(rows,
    hidden)`` and the last states. A backward pass is recorded as one node, if gradients are on.
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
    """Return the output ``(rows, hidden)``, last states, and what the backward function needs.

    ``data`` is ``(rows, feature)``, ``start`` each piece's first state ``(pieces, hidden)``;
    ``weights`` are torch's four, biases or None. Without ``keep`` the last may be incomplete.
    """
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
        """Run the rows of one direction, and save on ``ctx`` what ``backward`` reads.

        ``inputs`` are the data ``(rows, feature)``, h and an LSTM's c ``(pieces, hidden)``, and
        four weights; a missing c or bias is None. Returns the output and the last states.
        """
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
        """Return gradients of the arguments of ``forward``: None of the first two, no tensors."""
        # What ran in full precision is differentiated in full precision, even under autocast.
        with torch.autocast("cpu", enabled=False):
            return None, None, *_derived(ctx, gradients)


def _derived(ctx: Any, gradients: Sequence[Tensor | None]) -> Any:
    """Return seven gradients: of the input, h, c and four weights; None for what there is not.

    ``ctx`` is torch's, with what forward saved; ``gradients`` are those of the output ``(rows,
    hidden)`` and of the last states, None for zeros. ``on_`` is short for the gradient of. Where a
    gradient is to be differentiated again, or a vmap runs over many, torch's kernel runs.
    """
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
    return [on_data, *(*now, None)[:2], *on_weights]


def _derived_by_torch(
    ctx: Any, inputs: Sequence[Tensor | None], gradients: Sequence[Tensor | None]
) -> Any:
    """Compute the same seven gradients by running torch's kernel once more, and recording it.

    ``inputs`` are data, h, c and four weights, None for what there is not; ``gradients`` are those
    of the output and of the last states. They may be differentiated again, or run under a vmap.
    """

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
