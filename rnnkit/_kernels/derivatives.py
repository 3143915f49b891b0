"""The derivatives of the three recurrences over packed rows, written out.

First it is computed, for all rows at once, what the gradient of a row's output is multiplied by for
each of its gates; a step is then left with few operations. It is done in place wherever it can be:
to allocate memory takes longer than to compute in it.

Rows and steps are those of ``gates``, run in the opposite order. ``spend`` says that what was kept
is needed no more, and may be overwritten.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from rnnkit._kernels.gates import each_step

#: The gradients on the hidden side of all gates, ``(rows, gates * hidden)``, which are those on the
#: input's side, too; but for the last gate of a GRU, whose gradient on that side comes beside them.
OnGates = tuple[Tensor, Tensor | None]

#: Changes the gradients on the states that a step begins with, in place.
Leave = Callable[[int, Sequence[Tensor]], None]


def rnn_backward(
    derivative: Callable[[Tensor], Tensor],
) -> Callable[..., OnGates]:
    """Return the backward function of an RNN; its activation's derivative, given the output."""

    def run(
        on_output: Tensor,
        now: Sequence[Tensor],
        kept: Sequence[Tensor],
        weight_hh: Tensor,
        sizes: list[int],
        steps: Iterable[int],
        leave: Leave | None = None,
        *,
        spend: bool = False,  # noqa: ARG001 - the output is the caller's
    ) -> OnGates:
        output, _ = kept
        gates = derivative(output)
        factors, on_outputs = (each_step(tensor, sizes) for tensor in (gates, on_output))
        (on_h,) = now
        for step in steps:
            on_h_t, factor = on_h[: sizes[step]], factors[step]
            factor.mul_(on_h_t.add_(on_outputs[step]))
            torch.mm(factor, weight_hh, out=on_h_t)
            if leave is not None:
                leave(step, now)
        return gates, None

    return run


def gru_backward(
    on_output: Tensor,
    now: Sequence[Tensor],
    kept: Sequence[Tensor],
    weight_hh: Tensor,
    sizes: list[int],
    steps: Iterable[int],
    leave: Leave | None = None,
    *,
    spend: bool = False,
) -> OnGates:
    """Derive a GRU: gradients on the hidden side of its gates, and of n on the input's side."""
    _, before, gates, recurrent = kept
    rows, hidden = on_output.shape
    r, z, n = gates.chunk(3, 1)
    on_n = (n * n).neg_().add_(1)
    on_n.addcmul_(on_n, z, value=-1)
    flat = recurrent if spend else torch.empty_like(recurrent)
    factors = flat.view(rows, 3, hidden)
    on_r, on_z, on_n_h = factors.unbind(1)
    _through_sigmoid(torch.mul(on_n, recurrent[:, 2 * hidden :], out=on_r), r)
    _through_sigmoid(torch.sub(before, n, out=on_z), z)
    torch.mul(on_n, r, out=on_n_h)
    # Of each step's state, the gradient through its output; the loop adds that through later steps.
    on_every = on_output.clone(memory_format=torch.contiguous_format)
    parts = (factors, flat, z, on_every, on_every.unsqueeze(1))
    rows_of = list(zip(*(each_step(part, sizes) for part in parts), strict=True))
    (on_h,) = now
    order = list(steps)
    rows_of[order[0]][3].add_(on_h[: sizes[order[0]]])
    for step, following in itertools.zip_longest(order, order[1:]):
        factor, factor_flat, z_t, on_h_all, on_each_gate = rows_of[step]
        factor.mul_(on_each_gate)
        if leave is None and following is not None and sizes[following] == sizes[step]:
            rows_of[following][3].addcmul_(on_h_all, z_t).addmm_(factor_flat, weight_hh)
            continue
        torch.mul(on_h_all, z_t, out=on_h[: sizes[step]]).addmm_(factor_flat, weight_hh)
        if leave is not None:
            leave(step, now)
        if following is not None:
            rows_of[following][3].add_(on_h[: sizes[following]])
    return flat, on_every.mul_(on_n)


def lstm_backward(
    on_output: Tensor,
    now: Sequence[Tensor],
    kept: Sequence[Tensor],
    weight_hh: Tensor,
    sizes: list[int],
    steps: Iterable[int],
    leave: Leave | None = None,
    *,
    spend: bool = False,  # noqa: ARG001 - what is kept has not enough room
) -> OnGates:
    """Derive an LSTM: gradients of its gates, in torch's order i, f, g, o."""
    _, _, before, gates, bounded = kept
    rows, hidden = on_output.shape
    i, f, o, g = gates.chunk(4, 1)
    factors = gates.new_empty(rows, 4, hidden)
    on_i, on_f, on_g, on_o = factors.unbind(1)
    _through_sigmoid(on_i.copy_(g), i)
    _through_sigmoid(on_f.copy_(before), f)
    torch.sub(i, torch.mul(i, g, out=on_g).mul_(g), out=on_g)
    _through_sigmoid(on_o.copy_(bounded), o)
    on_c_of_h = torch.mul(o, bounded).mul_(bounded).neg_().add_(o)
    flat = factors.view(rows, 4 * hidden)
    parts = (factors[:, :3], factors[:, 3], flat, on_c_of_h, f, on_output)
    rows_of = list(zip(*(each_step(part, sizes) for part in parts), strict=True))
    on_h, on_c = now
    for step in steps:
        ifg, o_t, flat_t, on_c_of_h_t, f_t, on_output_t = rows_of[step]
        on_h_t, on_c_t = on_h[: sizes[step]], on_c[: sizes[step]]
        on_h_t.add_(on_output_t)
        on_c_t.addcmul_(on_h_t, on_c_of_h_t)
        ifg.mul_(on_c_t.unsqueeze(1))
        o_t.mul_(on_h_t)
        on_c_t.mul_(f_t)
        torch.mm(flat_t, weight_hh, out=on_h_t)
        if leave is not None:
            leave(step, now)
    return flat, None


def _through_sigmoid(gradient: Tensor, gate: Tensor) -> None:
    """Multiply by the derivative of a sigmoid, ``gate * (1 - gate)``, in place."""
    gradient.mul_(gate)
    gradient.addcmul_(gradient, gate, value=-1)


def through_gates(
    on_gates: OnGates, data: Tensor, before: Tensor, weight_ih: Tensor, needed: Sequence[bool]
) -> list[Tensor | None]:
    """Return the gradients of the input, of both weights and of both biases; None if not needed.

    Args:
        on_gates: what a backward function has returned; it is overwritten.
        data: the input, ``(rows, feature)``.
        before: each row's state before its step, ``(rows, hidden)``.
        weight_ih: the weight on the input's side.
        needed: which of the five are.
    """
    flat, on_n = on_gates
    on_input = on_weight_ih = on_weight_hh = on_bias_ih = on_bias_hh = None
    if needed[2]:
        on_weight_hh = flat.t() @ before
    if needed[4]:
        on_bias_hh = flat.sum(0)
    if on_n is not None:
        flat[:, -on_n.shape[1] :] = on_n
    if needed[0]:
        on_input = flat @ weight_ih
    if needed[1]:
        on_weight_ih = flat.t() @ data
    if needed[3]:
        on_bias_ih = flat.sum(0)
    return [on_input, on_weight_ih, on_weight_hh, on_bias_ih, on_bias_hh]


BACKWARD: dict[str, Callable[..., OnGates]] = {
    "LSTM": lstm_backward,
    "GRU": gru_backward,
    "RNN_TANH": rnn_backward(lambda output: (output * output).neg_().add_(1)),
    # What is no number is not below zero: its gradient goes on, as torch's does.
    "RNN_RELU": rnn_backward(lambda output: (output <= 0).logical_not_().to(output.dtype)),
}
