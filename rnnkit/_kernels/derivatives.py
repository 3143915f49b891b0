"""The derivatives of the three recurrences over packed rows, written out.

The factors by which the gradient of a row's output is multiplied for each of its gates are computed
first, for all rows at once; few operations are left to each step. They work in place wherever
possible: allocating memory takes longer than computing in it.

Rows and steps are those of ``gates``, run in the opposite order.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._kernels.gates import Schedule, each_step, gru_parts, steps_of

#: The gradients of what the state gives to all gates, ``(rows, gates * hidden)``. Those of what the
#: input gives are the same, except for a GRU's last gate n, ``tanh(input's part + r * state's
#: part)``: there the second tensor, ``(rows, hidden)``, is the gradient of the input's part.
OnGates = tuple[Tensor, Tensor | None]


def tanh_derivative(output: Tensor) -> Tensor:
    """Return the derivative of tanh where it has put out these numbers."""
    return (output * output).neg_().add_(1)


def relu_derivative(output: Tensor) -> Tensor:
    """Return the derivative of relu where it has put out these numbers."""
    # NaN is not below zero: its gradient goes on, as torch's does.
    return (output <= 0).logical_not_().to(output.dtype)


def rnn_backward(
    derivative: Callable[[Tensor], Tensor],
    on_output: Tensor,
    now: Sequence[Tensor],
    kept: Sequence[Tensor],
    weight_hh: Tensor,
    schedule: Schedule,
) -> OnGates:
    """Return the gradients of an RNN's one gate, ``(rows, hidden)``, and None.

    Rows are the steps of all samples, or pieces of them, packed; ``schedule`` says which rows each
    step has and in which order forward ran. ``derivative`` maps outputs to the activation's
    derivative there, and ``on_`` is short for the gradient of: ``on_output`` is ``(rows, hidden)``.
    ``now`` is the gradient of the last state, ``[(pieces, hidden)]``: a buffer that ends as that of
    the first state. ``kept[0]`` is the output. The None: input and state have the same gradient.
    """
    factors = derivative(kept[0])
    with torch.inference_mode():
        rows_of = steps_of(schedule.sizes, factors, on_output, *now)
        for step in reversed(schedule.order):
            factor, on_output_t, on_h = rows_of[step]
            factor.mul_(on_h.add_(on_output_t))
            torch.mm(factor, weight_hh, out=on_h)
            if schedule.carry_back is not None:
                schedule.carry_back(step, now)
    return factors, None


def gru_backward(
    on_output: Tensor,
    now: Sequence[Tensor],
    kept: Sequence[Tensor],
    weight_hh: Tensor,
    schedule: Schedule,
) -> OnGates:
    """Return the gradients of the state's part in r, z, n, and of the input's part in n.

    The first is ``(rows, 3 * hidden)``, the second ``(rows, hidden)``, since
    ``n = tanh(input's part + r * state's part)``. Rows are the steps of all samples, or pieces of
    them, packed; ``schedule`` says which rows each step has and in which order forward ran. ``on_``
    is short for the gradient of: ``on_output`` is ``(rows, hidden)``. ``now`` is the gradient of
    the last state, ``[(pieces, hidden)]``: a buffer that ends as that of the first state. ``kept``
    is the output, the state before each row's step, and the gates that forward kept.
    """
    _, before, buffer = kept
    rows, hidden = on_output.shape
    gates, n = gru_parts(buffer, hidden)
    r, z, n_h = gates.chunk(3, 1)
    on_n = (n * n).neg_().add_(1)
    on_n.addcmul_(on_n, z, value=-1)
    flat = torch.empty_like(gates)
    factors = flat.view(rows, 3, hidden)
    on_r, on_z, on_n_h = factors.unbind(1)
    _through_sigmoid(torch.mul(on_n, n_h, out=on_r), r)
    _through_sigmoid(torch.sub(before, n, out=on_z), z)
    torch.mul(on_n, r, out=on_n_h)
    # Gradients of each step's state through its output; the loop adds those through later steps.
    on_every = on_output.clone(memory_format=torch.contiguous_format)
    order = schedule.order[::-1]
    sizes = schedule.sizes
    carry_back = schedule.carry_back
    with torch.inference_mode():
        rows_of = steps_of(sizes, factors, flat, z, on_every.unsqueeze(1))
        on_state_of = each_step(on_every, sizes)
        on_h_of = each_step(now[0], sizes)
        on_state_of[order[0]].add_(on_h_of[order[0]])
        for step, following in itertools.zip_longest(order, order[1:]):
            factor, factor_flat, z_t, on_each_gate = rows_of[step]
            on_state = on_state_of[step]
            factor.mul_(on_each_gate)
            if carry_back is None and following is not None and sizes[following] == sizes[step]:
                on_state_of[following].addcmul_(on_state, z_t).addmm_(factor_flat, weight_hh)
                continue
            torch.mul(on_state, z_t, out=on_h_of[step]).addmm_(factor_flat, weight_hh)
            if carry_back is not None:
                carry_back(step, now)
            if following is not None:
                on_state_of[following].add_(on_h_of[following])
    return flat, on_every.mul_(on_n)


def lstm_backward(
    on_output: Tensor,
    now: Sequence[Tensor],
    kept: Sequence[Tensor],
    weight_hh: Tensor,
    schedule: Schedule,
) -> OnGates:
    """Return the gradients of an LSTM's gates i, f, g, o, ``(rows, 4 * hidden)``, and None.

    Rows are the steps of all samples, or pieces of them, packed; ``schedule`` says which rows each
    step has and in which order forward ran. ``on_`` is short for the gradient of: ``on_output`` is
    ``(rows, hidden)``. ``now`` is the gradients of the last h and c, ``(pieces, hidden)`` each:
    buffers that end as those of the first h and c. ``kept`` is the output, h and c before each
    row's step, the gates as forward ordered them, i, f, o, g, and tanh of c. The None: input and
    state have the same gradients.
    """
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
    with torch.inference_mode():
        parts = (factors[:, :3], factors[:, 3], flat, on_c_of_h, f, on_output, *now)
        rows_of = steps_of(schedule.sizes, *parts)
        for step in reversed(schedule.order):
            ifg, o_t, flat_t, on_c_of_h_t, f_t, on_output_t, on_h, on_c = rows_of[step]
            on_h.add_(on_output_t)
            on_c.addcmul_(on_h, on_c_of_h_t)
            ifg.mul_(on_c.unsqueeze(1))
            o_t.mul_(on_h)
            on_c.mul_(f_t)
            torch.mm(flat_t, weight_hh, out=on_h)
            if schedule.carry_back is not None:
                schedule.carry_back(step, now)
    return flat, None


def _through_sigmoid(gradient: Tensor, gate: Tensor) -> None:
    """Multiply by the derivative of a sigmoid, ``gate * (1 - gate)``, in place."""
    gradient.mul_(gate)
    gradient.addcmul_(gradient, gate, value=-1)


def through_gates(
    on_gates: OnGates, data: Tensor, before: Tensor, weight_ih: Tensor, needed: Sequence[bool]
) -> list[Tensor | None]:
    """Return the gradients of the input, both weights and both biases; None if not needed.

    ``on_gates`` is what a backward function returned, and is overwritten: the gradient of all gates
    ``(rows, gates * hidden)``, and, for a GRU alone, another one ``(rows, hidden)``, or None. That
    is the gradient of the input's part in the last gate, n, where r multiplies the state's part
    only. ``data`` ``(rows, feature)`` is the input, ``before`` ``(rows, hidden)`` each row's state
    before its step. ``needed`` has a flag for each gradient, in the order of the result.
    """
    flat, on_n = on_gates
    on_weight_hh = flat.t() @ before if needed[2] else None
    on_bias_hh = flat.sum(0) if needed[4] else None
    if on_n is not None:
        flat[:, -on_n.shape[1] :] = on_n
    on_input = flat @ weight_ih if needed[0] else None
    on_weight_ih = flat.t() @ data if needed[1] else None
    on_bias_ih = flat.sum(0) if needed[3] else None
    return [on_input, on_weight_ih, on_weight_hh, on_bias_ih, on_bias_hh]


def derive_again(run: Callable[..., Sequence[Tensor]], given: Any, gradients: Any) -> Any:
    """Run a function once more, recorded, and return the gradients of what it takes.

    ``given`` is its arguments: tensors, None, or lists of them. The result has their structure: a
    gradient for each tensor, None for None. ``gradients`` has one for each output; None stands for
    zeros. The graph that made the arguments is not reached.
    """
    copies = pytree.tree_map_only(Tensor, lambda each: each.detach().requires_grad_(), given)
    return differentiate_again(run, copies, gradients)


def differentiate_again(
    run: Callable[..., Sequence[Tensor]],
    given: Sequence[Any],
    gradients: Sequence[Tensor | None],
    *,
    create_graph: bool = False,
) -> Any:
    """Run a function once more, recorded, and return the gradients of what it takes.

    ``given`` is its arguments: tensors, None, or lists of them. ``gradients`` has one for each
    output; None stands for zeros. An operator has three, also where a GRU's run returns only output
    and h: what is left over is ignored. The result has the structure of ``given``: a gradient for
    each tensor that requires one, zeros if no output depends on it, and None for the others.
    """
    leaves, spec = pytree.tree_flatten(given)
    with torch.enable_grad():
        pairs = zip(run(*given), gradients, strict=False)
    reached = [(output, gradient) for output, gradient in pairs if gradient is not None]
    needs = [leaf is not None and leaf.requires_grad for leaf in leaves]
    found = torch.autograd.grad(
        [output for output, _ in reached], [*itertools.compress(leaves, needs)],
        [gradient for _, gradient in reached],
        create_graph=create_graph, allow_unused=True, materialize_grads=True,
    )  # fmt: skip
    each = iter(found)
    return pytree.tree_unflatten([next(each) if need else None for need in needs], spec)
