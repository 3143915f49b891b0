"""A batch as pieces, and pieces as packed rows: no step of padding is computed.

A piece is a stretch of one sample that runs from a state of its own to its end. Without resets
each sample is one piece, cut to its length. The pieces are sorted from the longest to the shortest,
and their rows have the order of a PackedSequence: the first step of every piece, then the second of
those that have one, and so on.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._kernels.gates import Enter
from rnnkit._kernels.stack import Direction, States


class Pieces(NamedTuple):
    """Stretches of the samples of a batch, from the longest to the shortest; none is empty.

    All tensors are int64: on the CPU while they are laid out, then on the device of the input.
    """

    #: ``(pieces,)``: the sample that a piece is cut from.
    sample: Tensor
    #: How many steps it has.
    steps: Tensor
    #: ``(pieces,)``: the step of the sample at which it starts; None if each is all of its sample.
    start: Tensor | None = None
    #: Pieces that the state given by the caller enters, and those whose last state is returned,
    #: when the steps are run forward, and the same when they are run backward.
    first_pieces: tuple[Tensor, ...] = ()
    last_pieces: tuple[Tensor, ...] = ()

    @property
    def are_whole(self) -> bool:
        """Whether each piece is all of its sample."""
        return self.start is None

    def begin(self, reverse: bool, hx: Tensor, initial: Tensor | None) -> Tensor:
        """Return each piece's first state, of ``hx`` or of ``initial``; None stands for zeros."""
        enter = self.first_pieces[reverse]
        if initial is None:
            first = hx.new_zeros(len(self.sample), hx.shape[1])
        else:
            first = initial.index_select(0, self.sample)
        given = hx.index_select(0, self.sample.index_select(0, enter))
        return first.index_copy(0, enter, given)

    def finish(self, reverse: bool, hx: Tensor, ends: Tensor) -> Tensor:
        """Return each sample's last state of those of all pieces; ``hx`` if it has no step."""
        leave = self.last_pieces[reverse]
        sample = self.sample.index_select(0, leave)
        # Autocast may have lowered what came out, and not what went in.
        return hx.to(ends.dtype).index_copy(0, sample, ends.index_select(0, leave))


def whole_pieces(lengths: Sequence[int]) -> Pieces:
    """Take each sample that has a step as one piece."""
    samples = [sample for sample, length in enumerate(lengths) if length]
    samples.sort(key=lengths.__getitem__, reverse=True)
    steps = [lengths[sample] for sample in samples]
    return Pieces(torch.tensor(samples, device="cpu"), torch.tensor(steps, device="cpu"))


def pieces_of(lengths: Tensor, starts: Tensor) -> Pieces:
    """Cut a batch by lengths ``(batch,)`` and resets ``(seq, batch)``, both on the CPU.

    No reset lies beyond a length.
    """
    seq = len(starts)
    # One sample after the other, so that a piece ends where the next one starts, or its sample.
    cut = starts.t().clone(memory_format=torch.contiguous_format)
    fresh = cut[:, 0].clone()
    torch.gt(lengths, 0, out=cut[:, 0])
    place = cut.view(-1).nonzero().squeeze(1)
    sample = place.div(seq, rounding_mode="floor")
    end = torch.add(lengths.index_select(0, sample), sample, alpha=seq)
    steps = torch.minimum(torch.cat([place[1:], end[-1:]]), end).sub_(place)
    steps, order = steps.sort(descending=True, stable=True)
    sample, place, end = (tensor.index_select(0, order) for tensor in (sample, place, end))
    start = torch.sub(place, sample, alpha=seq)
    first = (start == 0).nonzero().squeeze(1)
    last = (place.add_(steps) == end).nonzero().squeeze(1)
    renewed = fresh.index_select(0, sample.index_select(0, first))
    return Pieces(sample, steps, start, (first.masked_select(~renewed), last), (last, first))


class Rows:
    """Where the rows of pieces are, among themselves and in the padded batch.

    Attributes:
        pieces: the pieces, their tensors on the device of the input.
        batch_sizes: how many pieces have a first step, a second one, and so on, on the CPU.
        places: ``(rows,)``: each row's place on the first two axes of the padded batch flattened.
    """

    def __init__(self, pieces: Pieces, batch: int, device: torch.device) -> None:
        """Lay out the rows of pieces of a padded batch; their tensors are on the CPU."""
        # While it is laid out, all is on the CPU, where a small tensor costs least.
        self._steps, self._device = pieces.steps, device
        if pieces.start is None:
            step = torch.arange(int(pieces.steps[0]), device="cpu").unsqueeze(1)
            valid = pieces.steps > step
            self.batch_sizes = valid.sum(1)
            places = torch.add(pieces.sample, step, alpha=batch).masked_select(valid)
        else:
            # There may be many more pieces than any step has.
            ending = torch.bincount(pieces.steps)  # pieces that have so many steps
            self.batch_sizes = (len(pieces.sample) - ending.cumsum(0))[:-1]
            begin = torch.add(pieces.sample, pieces.start, alpha=batch)
            places = begin.index_select(0, self._piece).add_(self._step, alpha=batch)
        self.places = places.to(device)
        self.pieces = pieces
        if device.type != "cpu":
            self.pieces = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), pieces)

    @cached_property
    def sizes(self) -> list[int]:
        """How many pieces have each step, as numbers."""
        return self.batch_sizes.tolist()

    @cached_property
    def _step(self) -> Tensor:
        """Each row's step, ``(rows,)``."""
        return torch.repeat_interleave(self.batch_sizes)

    @cached_property
    def _first(self) -> Tensor:
        """Each step's first row."""
        return self.batch_sizes.cumsum(0) - self.batch_sizes

    @cached_property
    def _row(self) -> Tensor:
        return torch.arange(len(self._step), device="cpu")

    @cached_property
    def _piece(self) -> Tensor:
        """Each row's piece, ``(rows,)``."""
        return self._row - self._first.index_select(0, self._step)

    def entering(self, reverse: bool) -> Enter:  # noqa: ARG002 - sizes of steps say enough
        """Return what makes the state before a step of the state after the one before."""

        def enter(step: int, state: Tensor, start: Tensor) -> Tensor:
            size, had = self.sizes[step], len(state)
            if size == had:
                return state
            if size > had:  # those that only now begin have their first state
                return torch.cat([state, start[had:size]])
            return state[:size]

        return enter

    def leaving(self, reverse: bool) -> None:
        """Return what a step does to gradients that leave it: nothing."""

    def ends(self, tensor: Tensor, reverse: bool) -> Tensor:
        """Take each piece's last state out of all, ``(pieces, hidden)``: a copy."""
        # The pieces' first rows come first.
        return tensor[: self.sizes[0]].clone() if reverse else tensor.index_select(0, self._last)

    def earlier(self, start: Tensor, after: Tensor, reverse: bool) -> Tensor:
        """Return the state before each row's step, of first states and of those after each."""
        return torch.cat([start, after]).index_select(0, self._before[reverse])

    @cached_property
    def _before(self) -> tuple[Tensor, Tensor]:
        count = len(self.pieces.sample)
        row, step, sizes = self._row, self._step, self.batch_sizes
        back = torch.cat([sizes.new_full((1,), count), sizes])[:-1]
        forward = count + row - back.index_select(0, step)
        # Run backward, a piece whose next step is beyond its last starts there.
        following = torch.cat([sizes[1:], sizes.new_zeros(1)]).index_select(0, step)
        onward = count + row + sizes.index_select(0, step)
        backward = torch.where(self._piece < following, onward, self._piece)
        return forward.to(self._device), backward.to(self._device)

    @cached_property
    def _last(self) -> Tensor:
        """The row of each piece's last step, ``(pieces,)``; its first one is the piece's number."""
        row = self._first.index_select(0, self._steps - 1) + torch.arange(
            len(self._steps), device="cpu"
        )
        return row.to(self._device)

    @cached_property
    def mirror(self) -> Tensor:
        """The row at the same distance from its piece's other end, ``(rows,)``: its own inverse."""
        step = self._steps.index_select(0, self._piece) - 1 - self._step
        return (self._first.index_select(0, step) + self._piece).to(self._device)

    def run_differentiable(
        self, direction: Direction, data: Tensor, state: States
    ) -> tuple[Tensor, States]:
        """Do what ``run_rows`` does by torch's own kernel over packed input, of any dtype."""
        if direction.reverse:
            data = data.index_select(0, self.mirror)
        started = tuple(tensor.unsqueeze(0) for tensor in state)
        output, ends = direction.run_packed(data, self.batch_sizes, started)
        if direction.reverse:
            output = output.index_select(0, self.mirror)
        return output, tuple(tensor.squeeze(0) for tensor in ends)

    def take(self, padded: Tensor) -> Tensor:
        """Take the rows ``(rows, feature)`` out of a padded batch ``(seq, batch, feature)``."""
        return padded.flatten(0, 1).index_select(0, self.places)

    def put(self, rows: Tensor, seq: int, batch: int) -> Tensor:
        """Put rows ``(rows, feature)`` into a batch ``(seq, batch, feature)`` of zeros."""
        zeros = rows.new_zeros(seq * batch, rows.shape[1])
        return zeros.index_copy_(0, self.places, rows).view(seq, batch, -1)
