"""The three recurrences over packed rows, written out: ``derivatives`` has their derivatives.

The input's part of all steps is computed in one product, then one step after the other in place.

Rows come in steps, ``sizes[t]`` of them for step t; ``steps`` is the order in which they are run.
``enter`` makes the state that a step begins with of the one that the step before has left. Pieces
are sorted by length, so a step concerns the first ``sizes[t]`` of them: run forward they become
fewer, and run backward more, each new one with its first state. What only a backward function
needs is kept if ``keep`` says so.
"""

from collections.abc import Callable, Sequence

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
    return output, (), (gates, recurrent)


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
    gates[:, : 2 * hidden].add_(recurrent[:, : 2 * hidden]).sigmoid_()
    n = gates[:, 2 * hidden :].addcmul_(gates[:, :hidden], recurrent[:, 2 * hidden :])
    # A tanh by a sigmoid, which torch computes in a fifth of the time: close enough for gradients.
    n.mul_(2).sigmoid_().mul_(2).sub_(1)
    return gates, recurrent


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


def _ordered(weight: Tensor) -> Tensor:
    gates = weight.chunk(4)
    return torch.cat([gates[place] for place in ORDER])


FORWARD: dict[str, Callable[..., Run]] = {
    "LSTM": lstm_forward,
    "GRU": gru_forward,
    "RNN_TANH": rnn_forward(torch.Tensor.tanh_),
    "RNN_RELU": rnn_forward(torch.Tensor.relu_),
}
