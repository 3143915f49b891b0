"""The three recurrences over packed rows, written out: ``derivatives`` has their derivatives.

The input's part of all steps is computed in one product; then each step works in place.

Rows come in steps. Pieces are sorted by length, so step t concerns the first ``sizes[t]`` of them:
run forward they become fewer, and run backward more, each new one with its first state. What only a
backward function needs is kept if ``keep`` says so.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: h, and an LSTM's c. (That of ``stack``, which imports this file.)
States = tuple[Tensor, ...]
#: ``weight_ih``, ``weight_hh``, and the biases or None.
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
#: The output, the states that are not the output, and what the backward function needs besides.
Run = tuple[Tensor, States, States]

#: An LSTM's gates here are i, f, o, g instead of torch's i, f, g, o: sigmoids side by side.
ORDER = (0, 1, 3, 2)

#: Above so many steps of each size, on average, a GRU computes all of them in one buffer, if only
#: the output is needed later: there are fewer views then, and the buffer stays in the cache.
STEPS_PER_SIZE = 3


class Schedule(NamedTuple):
    """In which order steps are run, and what happens to the state between two of them."""

    #: How many rows each step has.
    sizes: list[int]
    reverse: bool
    #: From a step, the state after the step before and first states: the state before the step.
    carry: Callable[[int, Tensor, Tensor], Tensor] = lambda _, state, __: state
    #: The same backward: changes the gradients of the states before a step in place.
    carry_back: Callable[[int, Sequence[Tensor]], None] | None = None

    @property
    def order(self) -> range:
        """Numbers of the steps as they are run."""
        steps = range(len(self.sizes))
        return steps[::-1] if self.reverse else steps


def steps_of(sizes: list[int], *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Return for each step the tuple of its rows of these tensors, as views.

    ``sizes[t]`` is how many rows step t has. A tensor of all rows is split, step after step; one
    with fewer rows is a buffer that all steps share: each gets as many of its first rows.

    Loop over them in inference mode, where a view takes a third of the time and no operation counts
    versions. Allocate what leaves the loop before it.
    """
    each = {id(tensor): each_step(tensor, sizes) for tensor in tensors}  # one may come twice
    return list(zip(*(each[id(tensor)] for tensor in tensors), strict=True))


def each_step(tensor: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    """Return each step's rows of one tensor, as views; ``sizes[t]`` is how many step t has.

    A tensor of all rows is split, step after step; one with fewer rows is a buffer that all steps
    share: each gets as many of its first rows.
    """
    if len(tensor) < sum(sizes):
        first = {size: tensor[:size] for size in set(sizes)}
        return [first[size] for size in sizes]
    return torch.split_with_sizes(tensor, sizes)


def rnn_forward(
    activate: Callable[[Tensor], Tensor],
    data: Tensor,
    start: States,
    weights: Weights,
    schedule: Schedule,
    *,
    keep: bool,  # noqa: ARG001 - the output is all that the backward function needs
) -> Run:
    """Run an RNN over packed rows; ``activate`` applies its nonlinearity in place.

    Rows are the first steps of all samples, or pieces of them, then the second ones, and so on:
    ``data`` is ``(rows, feature)``. ``schedule`` says how many rows each step has, in which order
    steps run, and fits the state to the next step's rows (``carry``, which gives a piece that only
    now begins its first state). ``start`` is ``(h,)``, ``(pieces, hidden)``; ``weights`` are
    torch's four, biases or None. Returns the output ``(rows, hidden)`` and twice nothing: no state
    besides, and nothing more that the backward function needs.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    output = torch.nn.functional.linear(data, weight_ih, bias)
    (first,) = start
    with torch.inference_mode():
        rows = steps_of(schedule.sizes, output)
        carry = schedule.carry
        weight = weight_hh.t()
        h = first
        for step in schedule.order:
            (out,) = rows[step]
            h = activate(out.addmm_(carry(step, h, first), weight))
    return output, (), ()


def gru_forward(
    data: Tensor,
    start: States,
    weights: Weights,
    schedule: Schedule,
    *,
    keep: bool,
) -> Run:
    """Run a GRU over packed rows: gates r, z, n.

    Rows are the first steps of all samples, or pieces of them, then the second ones, and so on:
    ``data`` is ``(rows, feature)``. ``schedule`` says how many rows each step has, in which order
    steps run, and fits the state to the next step's rows (``carry``, which gives a piece that only
    now begins its first state). ``start`` is ``(h,)``, ``(pieces, hidden)``; ``weights`` are
    torch's four, biases or None. Returns the output ``(rows, hidden)``, ``()`` for no state
    besides, and the flat buffer in which :func:`gru_parts` finds the gates. It surely holds them
    only with ``keep``, which says that a backward function will need them.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    hidden = weight_hh.shape[1]
    two = 2 * hidden
    kept = data.new_empty(4 * len(data) * hidden)
    output = data.new_empty(len(data), hidden)
    (first,) = start
    sizes = schedule.sizes
    with torch.inference_mode():
        gates, every_n = gru_parts(kept, hidden)
        rz_weight = weight_ih[:two].t()
        n_weight = weight_ih[two:].t()
        # The hidden side of n has its bias, to which each step adds its product with the state.
        if bias_ih is None or bias_hh is None:
            torch.mm(data, rz_weight, out=gates[:, :two])
            torch.mm(data, n_weight, out=every_n)
            gates[:, two:].zero_()
        else:
            rz_bias = bias_ih[:two] + bias_hh[:two]
            torch.addmm(rz_bias, data, rz_weight, out=gates[:, :two])
            torch.addmm(bias_ih[two:], data, n_weight, out=every_n)
            gates[:, two:].copy_(bias_hh[two:])
        work = gates
        n_work = every_n
        if not keep and STEPS_PER_SIZE * len(set(sizes)) < len(sizes):
            work, n_work = gru_parts(data.new_empty(4 * max(sizes) * hidden), hidden)
        # The buffer for one step is cut by steps_of as the tensors of all rows are.
        parts = (gates, every_n, output, work, work[:, :two], *work.chunk(3, 1), n_work)
        rows = steps_of(sizes, *parts)
        carry = schedule.carry
        weight = weight_hh.t()
        h = first
        for step in schedule.order:
            of_input, n_of_input, out, all_gates, rz, r, z, n_h, n = rows[step]
            h = carry(step, h, first)
            torch.addmm(of_input, h, weight, out=all_gates)
            rz.sigmoid_()
            torch.addcmul(n_of_input, r, n_h, out=n).tanh_()
            h = torch.lerp(n, h, z, out=out)
    return output, (), (kept,)


def gru_parts(kept: Tensor, hidden: int) -> tuple[Tensor, Tensor]:
    """Return views of what a GRU keeps: r, z, ``W_hn h + b_hn``, and n.

    ``kept`` is flat, ``(rows * 4 * hidden,)``: the first three are ``(rows, 3 * hidden)`` together,
    n is ``(rows, hidden)``.
    """
    rows = kept.shape[0] // (4 * hidden)
    gates, n = torch.split_with_sizes(kept, [3 * rows * hidden, rows * hidden])
    return gates.view(rows, 3 * hidden), n.view(rows, hidden)


def lstm_forward(
    data: Tensor,
    start: States,
    weights: Weights,
    schedule: Schedule,
    *,
    keep: bool,
) -> Run:
    """Run an LSTM over packed rows, its gates in the order i, f, o, g: the sigmoids side by side.

    Rows are the first steps of all samples, or pieces of them, then the second ones, and so on:
    ``data`` is ``(rows, feature)``. ``schedule`` says how many rows each step has, in which order
    steps run, and fits a state to the next step's rows (``carry``, which gives a piece that only
    now begins its first state). ``start`` is ``(h, c)``, ``(pieces, hidden)``; ``weights`` are
    torch's four, biases or None. Returns the output ``(rows, hidden)``, ``(c,)`` after each row's
    step, and what a backward function needs: c, the gates, and tanh of c, whole only with ``keep``.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    bias = None if bias_ih is None or bias_hh is None else _ordered(bias_ih + bias_hh)
    gates = torch.nn.functional.linear(data, _ordered(weight_ih), bias)
    hidden = weight_hh.shape[1]
    output, cells = gates.new_empty(2, len(gates), hidden).unbind(0)
    bounded = gates.new_empty(len(gates) if keep else max(schedule.sizes), hidden)
    first_h, first_c = start
    with torch.inference_mode():
        parts = (gates, gates[:, : 3 * hidden], *gates.chunk(4, 1), cells, bounded, output)
        rows = steps_of(schedule.sizes, *parts)
        carry = schedule.carry
        weight = _ordered(weight_hh).t()
        h = first_h
        c = first_c
        for step in schedule.order:
            all_gates, ifo, i, f, o, g, new_c, tanh_c, out = rows[step]
            h, c = carry(step, h, first_h), carry(step, c, first_c)
            all_gates.addmm_(h, weight)
            ifo.sigmoid_()
            g.tanh_()
            c = torch.mul(f, c, out=new_c).addcmul_(i, g)
            h = torch.mul(o, torch.tanh(c, out=tanh_c), out=out)
    return output, (cells,), (cells, gates, bounded)


def _ordered(weight: Tensor) -> Tensor:
    """Return an LSTM's weight or bias with its gates i, f, g, o in the order i, f, o, g."""
    gates = weight.chunk(4)
    return torch.cat([gates[place] for place in ORDER])
