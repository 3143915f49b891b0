"""The three recurrences over packed rows, and their derivatives, written out.

A forward function computes the input's part of all steps in one product, then one step after the
other in place. A backward function first computes, for all rows at once, what the gradient of a
row's output is multiplied by for each of its gates; a step is then left with few operations.

Rows come in steps, ``sizes[t]`` of them for step t; ``steps`` is the order in which they are run.
``enter`` makes the state that a step begins with of the one that the step before has left. Pieces
are sorted by length, so a step concerns the first ``sizes[t]`` of them: run forward they become
fewer, and run backward more, each new one with its first state. What only a backward function
needs is kept if ``keep`` says so.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

#: h, and an LSTM's c beside it. Not that of stack, which stands on this file.
States = tuple[Tensor, ...]
#: ``weight_ih``, ``weight_hh``, and the biases or None.
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
#: The output, the states that are not the output, and what the backward function needs besides.
Run = tuple[Tensor, States, States]

#: From a step, the state that comes to it, and first states: the state that the step begins with.
Enter = Callable[[int, Tensor, Tensor], Tensor]
#: Changes the gradients on the states that a step begins with, in place.
Leave = Callable[[int, Sequence[Tensor]], None]

#: An LSTM's gates in the order used here, i, f, o, g of torch's i, f, g, o: sigmoids side by side.
ORDER = (0, 1, 3, 2)


def each_step(tensor: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    """Return each step's rows; the first ones, of what holds one step and is used again by all."""
    if len(tensor) < sum(sizes):
        return [tensor[:size] for size in sizes]
    return torch.split_with_sizes(tensor, sizes)


def rnn_forward(activate: Callable[[Tensor], Tensor]) -> Callable[..., Run]:
    """Return the forward function of an RNN with this activation, which works in place."""

    def run(
        data: Tensor,
        start: States,
        weights: Weights,
        sizes: list[int],
        steps: range,
        enter: Enter,
        *,
        keep: bool,  # noqa: ARG001 - the output is all there is
    ) -> Run:
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
        output = torch.nn.functional.linear(data, weight_ih, bias)
        outputs, weight = each_step(output, sizes), weight_hh.t()
        (first,) = start
        h = first
        for step in steps:
            h = activate(outputs[step].addmm_(enter(step, h, first), weight))
        return output, (), ()

    return run


def rnn_backward(
    derivative: Callable[[Tensor], Tensor],
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the backward function of an RNN; its activation's derivative, given the output."""

    def run(
        on_output: Tensor,
        now: Sequence[Tensor],
        kept: Sequence[Tensor],
        weight_hh: Tensor,
        sizes: list[int],
        steps: Iterable[int],
        leave: Leave | None = None,
    ) -> tuple[Tensor, Tensor]:
        output, _ = kept
        gates = derivative(output)
        factors, on_outputs = (
            torch.split_with_sizes(gates, sizes),
            torch.split_with_sizes(on_output, sizes),
        )
        (on_h,) = now
        for step in steps:
            on_h_t, factor = on_h[: sizes[step]], factors[step]
            factor.mul_(on_h_t.add_(on_outputs[step]))
            torch.mm(factor, weight_hh, out=on_h_t)
            if leave is not None:
                leave(step, now)
        return gates, gates

    return run


def gru_forward(
    data: Tensor,
    start: States,
    weights: Weights,
    sizes: list[int],
    steps: range,
    enter: Enter,
    *,
    keep: bool,
) -> Run:
    """Run a GRU: gates r, z, n."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    gates = torch.nn.functional.linear(data, weight_ih, bias_ih)
    hidden = weight_hh.shape[1]
    recurrent = gates.new_empty(len(gates) if keep else max(sizes), 3 * hidden)
    output = gates.new_empty(len(gates), hidden)
    weight = weight_hh.t()
    (first,) = start
    h = first
    parts = [
        each_step(tensor, sizes)
        for tensor in (
            *(gates[:, : 2 * hidden], *gates.chunk(3, 1)),
            *(recurrent, recurrent[:, : 2 * hidden], recurrent[:, 2 * hidden :], output),
        )
    ]
    rows = list(zip(*parts, strict=True))
    for step in steps:
        rz, r, z, n, all_h, rz_h, n_h, out = rows[step]
        h = enter(step, h, first)
        if bias_hh is None:
            torch.mm(h, weight, out=all_h)
        else:
            torch.addmm(bias_hh, h, weight, out=all_h)
        rz.add_(rz_h).sigmoid_()
        n.addcmul_(r, n_h).tanh_()
        h = torch.lerp(n, h, z, out=out)
    return output, (), (gates, recurrent[:, 2 * hidden :])


def gru_gates(data: Tensor, before: Tensor, weights: Sequence[Tensor]) -> States:
    """Compute again what :func:`gru_forward` leaves for the backward function.

    Args:
        data: ``(rows, feature)``.
        before: each row's state before its step, ``(rows, hidden)``.
        weights: the weights, and the biases if there are any.
    """
    weight_ih, weight_hh, *biases = weights
    bias_ih, bias_hh = biases or (None, None)
    gates = torch.nn.functional.linear(data, weight_ih, bias_ih)
    recurrent = torch.nn.functional.linear(before, weight_hh, bias_hh)
    hidden = weight_hh.shape[1]
    n_h = recurrent[:, 2 * hidden :]
    gates[:, : 2 * hidden].add_(recurrent[:, : 2 * hidden]).sigmoid_()
    gates[:, 2 * hidden :].addcmul_(gates[:, :hidden], n_h).tanh_()
    return gates, n_h


def gru_backward(
    on_output: Tensor,
    now: Sequence[Tensor],
    kept: Sequence[Tensor],
    weight_hh: Tensor,
    sizes: list[int],
    steps: Iterable[int],
    leave: Leave | None = None,
) -> tuple[Tensor, Tensor]:
    """Derive a GRU: gradients on the input's and on the hidden side of its gates."""
    _, before, gates, n_h = kept
    rows, hidden = on_output.shape
    r, z, n = gates.chunk(3, 1)
    on_n = (1 - z).mul_(1 - n * n)
    factors = gates.new_empty(rows, 3, hidden)
    torch.mul(on_n, n_h, out=factors[:, 0]).mul_(r).mul_(1 - r)
    torch.mul(before - n, z, out=factors[:, 1]).mul_(1 - z)
    torch.mul(on_n, r, out=factors[:, 2])
    recurrent = factors.view(rows, 3 * hidden)
    # Of each step's state, the gradient through its output; the loop adds that through later steps.
    on_every = on_output.clone(memory_format=torch.contiguous_format)
    parts = (factors, recurrent, z, on_every, on_every.unsqueeze(1))
    rows_of = list(zip(*(each_step(part, sizes) for part in parts), strict=True))
    (on_h,) = now
    order = list(steps)
    rows_of[order[0]][3].add_(on_h[: sizes[order[0]]])
    for step, following in itertools.zip_longest(order, order[1:]):
        factor, flat, z_t, on_h_all, on_each_gate = rows_of[step]
        factor.mul_(on_each_gate)
        if leave is None and following is not None and sizes[following] == sizes[step]:
            rows_of[following][3].addcmul_(on_h_all, z_t).addmm_(flat, weight_hh)
            continue
        torch.mul(on_h_all, z_t, out=on_h[: sizes[step]]).addmm_(flat, weight_hh)
        if leave is not None:
            leave(step, now)
        if following is not None:
            rows_of[following][3].add_(on_h[: sizes[following]])
    given = recurrent.clone()
    torch.mul(on_every, on_n, out=given[:, 2 * hidden :])
    return given, recurrent


def lstm_forward(
    data: Tensor,
    start: States,
    weights: Weights,
    sizes: list[int],
    steps: range,
    enter: Enter,
    *,
    keep: bool,
) -> Run:
    """Run an LSTM: gates i, f, o, g."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    bias = None if bias_ih is None or bias_hh is None else _ordered(bias_ih + bias_hh)
    gates = torch.nn.functional.linear(data, _ordered(weight_ih), bias)
    hidden = weight_hh.shape[1]
    output, cells = gates.new_empty(2, len(gates), hidden).unbind(0)
    bounded = gates.new_empty(len(gates) if keep else max(sizes), hidden)
    weight = _ordered(weight_hh).t()
    parts = [
        each_step(tensor, sizes)
        for tensor in (
            *(gates, gates[:, : 3 * hidden], *gates.chunk(4, 1)),
            *(cells, bounded, output),
        )
    ]
    rows = list(zip(*parts, strict=True))
    first_h, first_c = h, c = start
    for step in steps:
        all_gates, ifo, i, f, o, g, new_c, tanh_c, out = rows[step]
        h, c = enter(step, h, first_h), enter(step, c, first_c)
        all_gates.addmm_(h, weight)
        ifo.sigmoid_()
        g.tanh_()
        c = torch.mul(f, c, out=new_c).addcmul_(i, g)
        h = torch.mul(o, torch.tanh(c, out=tanh_c), out=out)
    return output, (cells,), (cells, gates, bounded)


def lstm_backward(
    on_output: Tensor,
    now: Sequence[Tensor],
    kept: Sequence[Tensor],
    weight_hh: Tensor,
    sizes: list[int],
    steps: Iterable[int],
    leave: Leave | None = None,
) -> tuple[Tensor, Tensor]:
    """Derive an LSTM: gradients of its gates, in torch's order i, f, g, o."""
    _, _, before, gates, bounded = kept
    rows, hidden = on_output.shape
    i, f, o, g = gates.chunk(4, 1)
    factors = gates.new_empty(rows, 4, hidden)
    torch.mul(g, i, out=factors[:, 0]).mul_(1 - i)
    torch.mul(before, f, out=factors[:, 1]).mul_(1 - f)
    torch.mul(i, 1 - g * g, out=factors[:, 2])
    torch.mul(bounded, o, out=factors[:, 3]).mul_(1 - o)
    on_c_of_h = (1 - bounded * bounded).mul_(o)
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
    return flat, flat


def _ordered(weight: Tensor) -> Tensor:
    gates = weight.chunk(4)
    return torch.cat([gates[place] for place in ORDER])


FORWARD: dict[str, Callable[..., Run]] = {
    "LSTM": lstm_forward,
    "GRU": gru_forward,
    "RNN_TANH": rnn_forward(torch.Tensor.tanh_),
    "RNN_RELU": rnn_forward(torch.Tensor.relu_),
}
BACKWARD: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "LSTM": lstm_backward,
    "GRU": gru_backward,
    "RNN_TANH": rnn_backward(lambda output: 1 - output * output),
    "RNN_RELU": rnn_backward(lambda output: (output > 0).to(output.dtype)),
}
