"""torch's fused kernels over padded input, exact for every length.

A packed input leaves the fast kernels on CPU. A padded one runs over the padding; here it does
so without a trace:

- the padding is zero (it may hold NaN), and so is the output there, which stops gradients too;
- the backward direction reads each sample flipped within its own length;
- the h of each sample is the output of its last step;
- the c of an LSTM is in no output, so it is held: a further feature, 1 on padding, reaches the
  input gate with a weight far below zero and the forget gate with one far above. There i = 0 and
  f = 1 exactly, c stays what it was, and no gradient passes the gates;
- an LSTM starts again from zeros inside a sample after a blank step, on which one more feature
  closes the gates i, f and o: there c = 0 and h = 0 exactly;
- a relu over padding may run away to infinity: the feature that holds c holds it at 0.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rnnkit._base.torch_tools import is_fake
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Direction, Run, Stack, States

#: Far enough that a sigmoid is 0 or 1 exactly, whatever else reaches the gate.
CLOSED = 1e30

#: The same in float16, where the other would be infinite, and no number times the feature's 0.
CLOSED_HALF = 6e4

#: The same of complex numbers, where the sigmoid is no number if the exponential is not finite: the
#: gate is 0 or 1 up to 1e-26.
CLOSED_COMPLEX = 60.0

#: Which way a feature pushes each gate, in torch's order of them: on padding, and on a blank step.
SIGNS = {"LSTM": ((-1, 1, 0, 0), (-1, -1, 0, -1)), "RNN_RELU": ((-1,), (-1,))}


class Places(NamedTuple):
    """Where the steps of a padded batch are, as places on its first two axes flattened."""

    #: ``(seq, batch, 1)``: true on padding.
    beyond: Tensor
    #: ``(batch,)``: the last step of each sample; its first, if it has none.
    last: Tensor
    #: What :func:`flipped` finds; None if no direction runs backward.
    flipped: Tensor | None
    #: ``(seq, batch, 1)``: true on blank steps; None if there are none.
    blank: Tensor | None


def places_of(lengths: Lengths, steps: int, *, reverse: bool, blank: Tensor | None) -> Places:
    """Find the places of ``steps`` steps, of which those that are ``blank`` set an LSTM to zero."""
    batch = lengths.each.shape[0]
    sample = torch.arange(batch, device=lengths.each.device)
    last = (lengths.each - 1).clamp(min=0) * batch + sample
    flip = flipped(lengths, steps) if reverse else None
    return Places(~lengths.valid(steps).unsqueeze(-1), last, flip, blank)


def flipped(lengths: Lengths, steps: int) -> Tensor:
    """Find each sample's steps flipped within its length, ``(seq * batch,)``: its own inverse."""
    valid = lengths.valid(steps)
    step = torch.arange(steps, device=valid.device).unsqueeze(1)
    batch = valid.shape[1]
    sample = torch.arange(batch, device=valid.device)
    places = torch.where(valid, lengths.each - 1 - step, step) * batch + sample
    return places.reshape(-1)


def padding_of(lengths: Lengths, places: Places) -> Tensor | None:
    """Find the places of the padding; None where no values are known."""
    if lengths.values is None or is_fake(places.beyond):
        return None
    return places.beyond.reshape(-1).nonzero().squeeze(1)


def emptied(tensor: Tensor, places: Places, padding: Tensor | None) -> Tensor:
    """Return a padded batch with zeros on its padding."""
    if padding is None:
        return tensor.masked_fill(places.beyond, 0)
    # A mask that is spread over the features takes several times as long.
    return tensor.flatten(0, 1).index_fill(0, padding, 0).view(tensor.shape)


def run_padded(
    direction: Direction, input: Tensor, state: States, lengths: Lengths, places: Places
) -> tuple[Tensor, States]:
    """Run one layer in one direction over a padded batch, as if over each sample alone.

    Args:
        direction: the weights and their kernel.
        input: ``(seq, batch, feature)``, zero on padding.
        state: the tensors of the first state, each ``(1, batch, hidden)``.
        lengths: the samples' valid steps.
        places: where they are.

    Returns:
        The output ``(seq, batch, hidden)``, in the input's order, whatever on padding; and the
        state after each sample's last step, as ``state``.
    """
    if direction.mode in SIGNS:
        direction, input = _held(direction, input, places)
    flip = places.flipped if direction.reverse else None
    if flip is not None:
        input = take(input, flip)
    empty, start = lengths.empty(), state
    if empty is not None:
        # What such a sample begins with may be NaN, which no gate stops.
        empty = empty.view(1, -1, 1)
        start = tuple([tensor.masked_fill(empty, 0) for tensor in state])
    output, state_out = direction.run(input, start)
    h = output.flatten(0, 1).index_select(0, places.last).unsqueeze(0)
    ends = [h, *state_out[1:]]
    if empty is not None:
        pairs = zip(state, ends, strict=True)
        ends = [torch.where(empty, given.to(end.dtype), end) for given, end in pairs]
    if flip is not None:
        output = take(output, flip)
    return output, tuple(ends)


def _held(direction: Direction, input: Tensor, places: Places) -> tuple[Direction, Tensor]:
    weight, *others = direction.weights
    gate = direction.hidden_size()
    marks = [places.beyond] if places.blank is None else [places.beyond, places.blank]
    closed = _closed(weight)
    # Not by writing into a slice of zeros, which torch's older exporter to ONNX fails at.
    columns = [
        torch.cat([weight.new_full((gate, 1), sign * closed) for sign in signs])
        for signs in SIGNS[direction.mode][: len(marks)]
    ]
    weights = [torch.cat([weight, *columns], dim=1), *others]
    input = torch.cat([input, *(mark.to(input.dtype) for mark in marks)], dim=2)
    mode, _, *options = direction  # by _replace torch 2.6 has no graph
    return Direction(mode, weights, *options), input


def _closed(weight: Tensor) -> float:
    """Return how far a gate is pushed, in numbers of the dtype that the kernel computes in."""
    if weight.is_complex():
        return CLOSED_COMPLEX
    lowered = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
    return CLOSED_HALF if torch.float16 in (lowered, weight.dtype) else CLOSED


def take(tensor: Tensor, places: Tensor) -> Tensor:
    """Put the steps of a padded batch in the order of these places."""
    return tensor.flatten(0, 1).index_select(0, places).view(tensor.shape)


def run_layers(stack: Stack, input: Tensor, state: States) -> tuple[Tensor, States]:
    """Run layers upon layers over a batch of which all steps are valid.

    Arguments and results are those of :func:`run_stack`.
    """

    def run(direction: Direction, input: Tensor, start: States) -> Run:
        first = tuple(tensor.unsqueeze(0) for tensor in start)
        output, end = direction.run(input, first, reverse=direction.reverse)
        return output, tuple(tensor.squeeze(0) for tensor in end)

    return stack.run_each(input, run, state)


def run_stack(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths,
    blank: Tensor | None = None,
) -> tuple[Tensor, States]:
    """Run layers upon layers over a padded batch.

    Args:
        stack: the layers.
        input: ``(seq, batch, feature)``; what is beyond a length is not read.
        state: the tensors of the first state, each ``(layers * directions, batch, hidden)``.
        lengths: the samples' valid steps.
        blank: ``(seq, batch, 1)``, true on steps that set an LSTM to zero; None if there are none.
            With it the input is zero there and on padding, where the output may be anything.

    Returns:
        The output ``(seq, batch, directions * hidden)``, zero on padding, and the state after
        each sample's own last step.
    """
    # Not by a property, of which torch 2.6 makes no graph.
    reverse = any(direction.reverse for layer in stack.layers for direction in layer)
    places = places_of(lengths, input.shape[0], reverse=reverse, blank=blank)
    padding = None if blank is not None else padding_of(lengths, places)

    def run(direction: Direction, input: Tensor, start: States) -> Run:
        first = tuple(tensor.unsqueeze(0) for tensor in start)
        output, end = run_padded(direction, input, first, lengths, places)
        if blank is None:
            output = emptied(output, places, padding)
        return output, tuple(tensor.squeeze(0) for tensor in end)

    return stack.run_each(emptied(input, places, padding) if blank is None else input, run, state)


def run_groups(
    stack: Stack, input: Tensor, state: States, lengths: Lengths, groups: list[list[int]]
) -> tuple[Tensor, States]:
    """Do what :func:`run_stack` does in groups of samples, each cut to its longest sample.

    Args:
        stack: the layers.
        input: ``(seq, batch, feature)``; what is beyond a length is not read.
        state: the tensors of the first state, each ``(layers * directions, batch, hidden)``.
        lengths: the samples' valid steps, known as numbers.
        groups: the samples of each group.
    """
    if len(groups) == 1:
        return _run_cut(stack, input, state, lengths)
    values: Any = lengths.values
    outputs, ends = [], []
    for group in groups:
        order = torch.tensor(group, device=input.device)
        cut = tuple(tensor.index_select(1, order) for tensor in state)
        counts = lengths.each.index_select(0, order)
        own = Lengths(counts, [values[sample] for sample in group], lengths.seq)
        output, end = _run_cut(stack, input, cut, own, order)
        outputs.append(output)
        ends.append(end)
    order = torch.tensor([sample for group in groups for sample in group], device=input.device)
    back = order.argsort()
    joined = (torch.cat(tensors, dim=1) for tensors in zip(*ends, strict=True))
    return (
        torch.cat(outputs, dim=1).index_select(1, back),
        tuple(tensor.index_select(1, back) for tensor in joined),
    )


def _run_cut(
    stack: Stack, input: Tensor, state: States, lengths: Lengths, order: Tensor | None = None
) -> tuple[Tensor, States]:
    """Run these samples of the input, or all, cut to the longest of them."""
    steps = max(1, lengths.longest)
    input = input[:steps]
    if order is not None:
        input = input.index_select(1, order)
    output, ends = run_stack(stack, input, state, lengths)
    return functional.pad(output, (0, 0, 0, 0, 0, lengths.seq - steps)), ends
