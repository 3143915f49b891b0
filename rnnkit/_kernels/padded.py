"""torch's fused kernels over padded input, exact for every length.

Packed input does not reach the fast kernels on CPU. Padded input does, and here its padding has no
effect:

- the padding is zero (it may hold NaN), and so is the output there, which stops gradients too;
- the backward direction reads each sample flipped within its own length;
- the h of each sample is the output of its last step;
- the c of an LSTM is not in the output, so it is frozen: a further feature, 1 on padding, reaches
  the input gate with a weight far below zero and the forget gate with one far above. There i = 0
  and f = 1 exactly, c stays the same, and no gradient passes the gates;
- an LSTM is reset to zeros by a blank step, on which one more feature closes the gates i, f and o:
  there c = 0 and h = 0 exactly;
- a relu RNN may diverge over padding: the feature that freezes c sets its h to 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rnnkit._base.torch_tools import lacks_values
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Direction, Run, Stack, States

#: Far enough that a sigmoid is 0 or 1 exactly, whatever else reaches the gate.
CLOSED = 1e30

#: The same in float16, where 1e30 would be infinite, and NaN times the feature's 0.
CLOSED_HALF = 6e4

#: Which way a feature pushes each gate, in torch's order of them: on padding, and on a blank step.
LSTM_SIGNS = ((-1, 1, 0, 0), (-1, -1, 0, -1))
RELU_SIGNS = ((-1,),)


class Places(NamedTuple):
    """Where the steps of a padded batch are, as places on its first two axes flattened."""

    lengths: Lengths
    #: ``(seq, batch, 1)``: true on padding.
    beyond: Tensor
    #: The padding as places; None where no values are known.
    padding: Tensor | None
    #: ``(batch,)``: the last step of each sample; its first, if it has none.
    last: Tensor
    #: What :func:`flipped` returns; None if no direction runs backward.
    flipped: Tensor | None
    #: ``(seq, batch, 1)``: true on blank steps; None if there are none.
    blank: Tensor | None


def run_padded(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths | None,
    blank: Tensor | None = None,
) -> tuple[Tensor, States]:
    """Run a stack over a padded batch ``(seq, batch, feature)``, each sample as if by itself.

    A stack is a layer's directions, layer by layer; ``state`` is h and an LSTM's c, ``(layers *
    directions, batch, hidden)``. ``lengths`` None: every step is valid. ``blank`` ``(seq, batch,
    1)`` is true on steps that set an LSTM to zero: there and on padding the input is zero then, and
    the output may be anything; else the output is zero on padding. Returns output and last states.
    """
    seq = input.shape[0]
    is_cut = lengths is not None and lengths.values is not None and 0 < lengths.longest < seq
    if lengths is not None and is_cut:
        input = input[: lengths.longest]
    places = None if lengths is None else _places_of(stack, lengths, input, blank)

    def run(direction: Direction, input: Tensor, start: States) -> Run:
        """Run one direction from states ``(batch, hidden)``, and return its last ones so."""
        first = tuple(tensor.unsqueeze(0) for tensor in start)
        if places is None:
            output, end = direction.run(input, first, reverse=direction.reverse)
        else:
            output, end = _run_direction(direction, input, first, places)
        return output, tuple(tensor.squeeze(0) for tensor in end)

    output, ends = stack.run_each(_zero_padding(input, places), run, state)
    return functional.pad(output, (0, 0, 0, 0, 0, seq - len(output))) if is_cut else output, ends


def _places_of(stack: Stack, lengths: Lengths, input: Tensor, blank: Tensor | None) -> Places:
    """Find where the valid steps and the padding of ``(seq, batch, feature)`` are, once for all.

    Places are numbers of rows on the first two axes flattened; ``blank`` is only passed along.
    """
    steps, batch = input.shape[:2]
    beyond = ~lengths.valid(steps).unsqueeze(-1)
    padding = None
    if lengths.values is not None and not lacks_values(beyond):
        padding = beyond.reshape(-1).nonzero().squeeze(1)
    sample = torch.arange(batch, device=beyond.device)
    last = (lengths.each - 1).clamp(min=0) * batch + sample
    reverse = any(direction.reverse for layer in stack.layers for direction in layer)
    return Places(
        lengths, beyond, padding, last, flipped(lengths, steps) if reverse else None, blank
    )


def flipped(lengths: Lengths, steps: int) -> Tensor:
    """Return the places of each sample's steps, flipped within its length: its own inverse.

    They are ``(seq * batch,)``. With lengths 1 and 3, places ``[[0, 5], [2, 3], [4, 1]]`` turn ::

        [[a, b],        [[a, d],
         [-, c],  into   [-, c],
         [-, d]]         [-, b]]
    """
    valid = lengths.valid(steps)
    step = torch.arange(steps, device=valid.device).unsqueeze(1)
    batch = valid.shape[1]
    sample = torch.arange(batch, device=valid.device)
    places = torch.where(valid, lengths.each - 1 - step, step) * batch + sample
    return places.reshape(-1)


def _zero_padding(tensor: Tensor, places: Places | None) -> Tensor:
    """Return a padded batch ``(seq, batch, feature)`` with zeros on its padding.

    It stays as it is if there is no padding (``places`` is None), and with blank steps, whose
    caller leaves the padding out. Where a compiler traces, the padding is known by a mask only.
    """
    if places is None or places.blank is not None:
        return tensor
    if places.padding is None:
        return tensor.masked_fill(places.beyond, 0)
    # Filling by a mask, broadcast over the features, takes several times as long.
    return tensor.flatten(0, 1).index_fill(0, places.padding, 0).view(tensor.shape)


def _run_direction(
    direction: Direction, input: Tensor, state: States, places: Places
) -> tuple[Tensor, States]:
    """Run one layer in one direction over input that is zero on padding.

    ``input`` is ``(seq, batch, feature)``; the states, given and returned, are ``(1, batch,
    hidden)``, and those returned follow each sample's own last step. The output is zero on padding.
    A sample without a valid step (``empty``) keeps its state.
    """
    if direction.recurrence.signs:
        direction, input = _freeze_on_padding(direction, input, places)
    flip = places.flipped if direction.reverse else None
    if flip is not None:
        input = take(input, flip)
    empty = places.lengths.empty()
    start = state
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
    return _zero_padding(output, places), tuple(ends)


def _freeze_on_padding(
    direction: Direction, input: Tensor, places: Places
) -> tuple[Direction, Tensor]:
    """Return the direction and its input with features that hold the state still on padding.

    Such a feature is 1 on padding, and its column of ``weight_ih`` pushes each gate open or closed
    (``signs``: 1 open, -1 closed); a second one, with blank steps, sets an LSTM to zero there.
    """
    weight, *others = direction.weights
    gate = direction.hidden_size()
    marks = [places.beyond] if places.blank is None else [places.beyond, places.blank]
    closed = _closed(weight)
    # Not by writing into a slice of zeros, which torch's older exporter to ONNX fails at.
    columns = [
        torch.cat([weight.new_full((gate, 1), sign * closed) for sign in signs])
        for signs in direction.recurrence.signs[: len(marks)]
    ]
    weights = [torch.cat([weight, *columns], dim=1), *others]
    input = torch.cat([input, *(mark.to(input.dtype) for mark in marks)], dim=2)
    recurrence, _, *options = direction
    return Direction(recurrence, weights, *options), input


def _closed(weight: Tensor) -> float:
    """Return a weight so large that a sigmoid of it is 0 or 1, finite in the kernel's dtype.

    That is the weight's dtype, or the one to which autocast lowers it.
    """
    device = weight.device.type
    lowered = weight.dtype
    if device != "meta" and torch.is_autocast_enabled(device):
        lowered = torch.get_autocast_dtype(device)
    return CLOSED_HALF if torch.float16 in (lowered, weight.dtype) else CLOSED


def take(tensor: Tensor, places: Tensor) -> Tensor:
    """Put the steps of a padded batch ``(seq, batch, feature)`` in another order.

    ``places`` ``(seq * batch,)`` says for each row, on the first two axes flattened, which it was.
    """
    return tensor.flatten(0, 1).index_select(0, places).view(tensor.shape)


def run_blank(
    stack: Stack, input: Tensor, state: States, counts: Tensor | None, starts: Tensor
) -> Run:
    """Run a stack of LSTMs over a padded batch, with a blank step before each reset.

    A blank step is put in between, and sets h and c of its sample to zero. ``counts`` ``(batch,)``
    are the valid steps of each sample, None if all are; ``starts`` ``(seq, batch)`` is true at
    resets. All is on the CPU; step 0 is no reset here. ``state`` is h and c, ``(layers *
    directions, batch, hidden)``. The result, output and last states, is that of ::

        for t, x_t in enumerate(input):
            if starts[t].any() and t > 0:
                state = [torch.where(starts[t].unsqueeze(1), 0, tensor) for tensor in state]
            output_t, state = step(x_t, state)
    """
    seq, batch = starts.shape
    cut = starts.clone()
    cut[0] = False
    added = cut.cumsum(0)
    # Where each row goes: down by one step for each blank step before it in its sample.
    moved = torch.arange(seq * batch, device="cpu").add_(added.view(-1), alpha=batch)
    longer = added[-1] + (seq if counts is None else counts)
    values: list[int] = longer.tolist()
    steps = max(values)
    blank = torch.zeros(steps * batch, 1, dtype=torch.bool, device="cpu")
    blank.index_fill_(0, moved[cut.view(-1)] - batch, value=True)
    rows = input.flatten(0, 1)
    places = None
    if counts is not None:
        valid = torch.arange(seq, device="cpu").unsqueeze(1) < counts
        places = valid.view(-1).nonzero().squeeze(1)
        moved = moved.index_select(0, places)
        rows = rows.index_select(0, places)
    lengths = Lengths(longer, values, steps)
    spread = input.new_zeros(steps * batch, input.shape[2]).index_copy_(0, moved, rows)
    blank = blank.view(steps, batch, 1)
    output, ends = run_padded(stack, spread.view(steps, batch, -1), state, lengths, blank)
    rows = output.flatten(0, 1).index_select(0, moved)
    if places is not None:
        rows = rows.new_zeros(seq * batch, rows.shape[1]).index_copy_(0, places, rows)
    return rows.view(seq, batch, -1), ends
