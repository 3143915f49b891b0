"""A batch as pieces, and pieces as packed rows: no step of padding is computed.

A piece is a stretch of one sample between two resets. Without resets each sample is one piece, cut
to its length. The pieces are sorted from the longest to the shortest, and their rows have the order
of a PackedSequence: the first step of every piece, then the second of those that have one, etc.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rnnkit._base.torch_tools import moved
from rnnkit._kernels.gates import Schedule
from rnnkit._kernels.stack import Direction, Run, Stack, States


class Pieces(NamedTuple):
    """Stretches of the samples of a batch, from the longest to the shortest; none is empty.

    All tensors are int64: on the CPU while they are laid out, then on the device of the input,
    but for ``steps`` and ``start``, which are read before.
    """

    #: ``(pieces,)``: the sample that a piece is cut from.
    sample: Tensor
    #: How many steps it has.
    steps: Tensor
    #: ``(pieces,)``: the step of the sample at which it starts; None if each is all of its sample.
    start: Tensor | None = None
    #: Pieces that begin with the caller's state, and pieces whose last state is returned: of the
    #: forward direction, and of the backward one.
    first_pieces: tuple[Tensor, ...] = ()
    last_pieces: tuple[Tensor, ...] = ()

    def begin(self, stack: Stack, state: States, initial: States | None) -> States:
        """Return each piece's first states, ``(layers * directions, pieces, hidden)``.

        A piece is a stretch of a sample between two resets. ``state`` is what samples arrive with:
        their first pieces begin with it, others with ``initial``, or zeros if that is None. Where
        ``start`` is None there are no resets, and each piece is all of its sample.
        """
        if self.start is None:
            return tuple(given.index_select(1, self.sample) for given in state)

        def run(direction: Direction, hx: Tensor, new: Tensor | None) -> Tensor:
            pieces = self.first_pieces[direction.reverse]
            if new is None:
                first = hx.new_zeros(len(self.sample), hx.shape[1])
            else:
                first = new.index_select(0, self.sample)
            given = hx.index_select(0, self.sample.index_select(0, pieces))
            return first.index_copy(0, pieces, given)

        return stack.map_state(run, state, initial)

    def finish(self, stack: Stack, state: States, ends: States) -> States:
        """Return each sample's last states, ``(layers * directions, batch, hidden)``.

        They are picked from ``ends``, ``(layers * directions, pieces, hidden)``; a sample without a
        valid step, which has no piece, keeps ``state``. Where ``self.start`` is None there are no
        resets, and each piece is all of its sample.
        """
        # Autocast may have lowered what came out, and not what went in.
        state = tuple(hx.to(end.dtype) for hx, end in zip(state, ends, strict=True))
        if self.start is None:
            pairs = zip(state, ends, strict=True)
            return tuple(hx.index_copy(1, self.sample, end) for hx, end in pairs)

        def run(direction: Direction, hx: Tensor, end: Tensor) -> Tensor:
            pieces = self.last_pieces[direction.reverse]
            sample = self.sample.index_select(0, pieces)
            return hx.index_copy(0, sample, end.index_select(0, pieces))

        return stack.map_state(run, state, ends)


def whole_pieces(lengths: Sequence[int]) -> Pieces:
    """Take each sample that has a valid step as one piece, from the longest to the shortest."""
    samples = [sample for sample, length in enumerate(lengths) if length]
    samples.sort(key=lengths.__getitem__, reverse=True)
    steps = [lengths[sample] for sample in samples]
    return Pieces(torch.tensor(samples, device="cpu"), torch.tensor(steps, device="cpu"))


def pieces_of(lengths: Tensor, starts: Tensor) -> Pieces:
    """Cut a batch into pieces by lengths ``(batch,)`` and resets ``(seq, batch)``, on the CPU.

    A piece is a stretch of one sample between two resets, or up to its length; no reset lies beyond
    a length. The pieces are sorted from the longest to the shortest. Run backward, a piece that
    ends its sample is the one that begins with the caller's state.
    """
    seq = len(starts)
    # One sample after the other, so that a piece ends where the next one starts, or its sample.
    cut = starts.t().clone(memory_format=torch.contiguous_format)
    fresh = cut[:, 0].clone()
    torch.gt(lengths, 0, out=cut[:, 0])
    # Where each piece begins: the step of its sample, plus ``seq`` for each sample before.
    place = cut.view(-1).nonzero().squeeze(1)
    sample = place.div(seq, rounding_mode="floor")
    end = torch.add(lengths.index_select(0, sample), sample, alpha=seq)
    steps = torch.minimum(torch.cat([place[1:], end[-1:]]), end).sub_(place)
    steps, order = steps.sort(descending=True, stable=True)
    sample, place, end = (tensor.index_select(0, order) for tensor in (sample, place, end))
    start = torch.sub(place, sample, alpha=seq)
    # Each sample's first pieces, its last ones, and which of the first begin with a reset.
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
        """Lay out the rows of pieces: the first step of each, then the second ones, and so on.

        ``pieces``, on the CPU, are stretches of the samples, from the longest to the shortest, each
        with its sample, first step and number of steps. ``pieces.start`` is None if each is all of
        its sample. ``batch`` is the number of samples; ``device`` is where rows will be taken.
        """
        # The layout is computed on the CPU, where small tensors cost least.
        self._steps = pieces.steps
        self._device = device
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
        self.places = places
        self.pieces = pieces
        if device.type != "cpu":
            # Small tensors are copied all at once, and no one waits for it.
            each = [places, pieces.sample, *pieces.first_pieces, *pieces.last_pieces]
            joined = moved(torch.cat(each), device)
            self.places, sample, *ends = torch.split(joined, [*map(len, each)])
            self.pieces = pieces._replace(
                sample=sample, first_pieces=tuple(ends[:2]), last_pieces=tuple(ends[2:])
            )

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
        """The rows' numbers, ``(rows,)``."""
        return torch.arange(len(self._step), device="cpu")

    @cached_property
    def _piece(self) -> Tensor:
        """Each row's piece, ``(rows,)``."""
        return self._row - self._first.index_select(0, self._step)

    def schedule(self, reverse: bool) -> Schedule:
        """Return how the rows are run: how many each step has, the order, and ``carry``.

        Pieces are sorted from the longest to the shortest, so that a step has the first ``size`` of
        them. ``carry`` fits a state to a step's pieces: it drops those that have ended or, run
        backward, adds those that only now begin, with their first state.
        """
        sizes = self.sizes

        def carry(step: int, state: Tensor, first: Tensor) -> Tensor:
            size = sizes[step]
            had = len(state)
            if size == had:
                return state
            if size > had:  # those that only now begin have their first state
                return torch.cat([state, first[had:size]])
            return state[:size]

        return Schedule(sizes, reverse, carry)

    def ends(self, tensor: Tensor, reverse: bool) -> Tensor:
        """Return a copy of each piece's last state, ``(pieces, hidden)``, on the CPU.

        ``tensor`` ``(rows, hidden)`` has the states after every step of every piece, in rows.
        """
        # The pieces' first rows come first.
        return tensor[: self.sizes[0]].clone() if reverse else tensor.index_select(0, self._last)

    def earlier(self, start: Tensor, after: Tensor, reverse: bool) -> Tensor:
        """Return the state before each row's step, ``(rows, hidden)``, on the CPU.

        ``start`` is the pieces' first states ``(pieces, hidden)``, ``after`` the states after each
        row's step ``(rows, hidden)``.
        """
        return torch.cat([start, after]).index_select(0, self._before[reverse])

    @cached_property
    def _before(self) -> tuple[Tensor, Tensor]:
        """Where the state before each row's step is, ``(rows,)``: run forward, and run backward.

        The numbers count the pieces' first states, then the states after each row.
        """
        count = len(self.pieces.sample)
        row = self._row
        step = self._step
        sizes = self.batch_sizes
        back = torch.cat([sizes.new_full((1,), count), sizes])[:-1]
        forward = count + row - back.index_select(0, step)
        # Run backward, a piece whose next step is beyond its last starts there.
        following = torch.cat([sizes[1:], sizes.new_zeros(1)]).index_select(0, step)
        onward = count + row + sizes.index_select(0, step)
        backward = torch.where(self._piece < following, onward, self._piece)
        return forward, backward

    @cached_property
    def _last(self) -> Tensor:
        """The row of each piece's last step, ``(pieces,)``, on the CPU."""
        piece = torch.arange(len(self._steps), device="cpu")
        return self._first.index_select(0, self._steps - 1) + piece

    @cached_property
    def mirror(self) -> Tensor:
        """The row at the same distance from its piece's other end, ``(rows,)``: its own inverse."""
        step = self._steps.index_select(0, self._piece) - 1 - self._step
        return moved(self._first.index_select(0, step) + self._piece, self._device)

    def run_differentiable(self, stack: Stack, data: Tensor, state: States) -> Run:
        """Run all layers by torch's kernel over packed input, of any dtype and on any device.

        ``data`` is ``(rows, feature)`` and ``state`` h and an LSTM's c, ``(layers * directions,
        pieces, hidden)``. A stack of one backward direction, which torch lacks, runs over each
        piece's rows in the opposite order. Returns the output in rows, and each piece's last state.
        """
        if stack.is_backward:
            data = data.index_select(0, self.mirror)
        output, ends = stack.run(data, state, self.batch_sizes)
        return output.index_select(0, self.mirror) if stack.is_backward else output, ends

    def take(self, padded: Tensor) -> Tensor:
        """Take the rows ``(rows, feature)`` out of a padded batch ``(seq, batch, feature)``."""
        return padded.flatten(0, 1).index_select(0, self.places)

    def put(self, rows: Tensor, seq: int, batch: int) -> Tensor:
        """Put rows ``(rows, feature)`` into a batch ``(seq, batch, feature)`` of zeros."""
        zeros = rows.new_zeros(seq * batch, rows.shape[1])
        return zeros.index_copy_(0, self.places, rows).view(seq, batch, -1)


class Cuts:
    """What ``run_rows`` needs instead of ``Rows``, over the rows of ``(seq, batch)``.

    Forward, it returns what this loop returns; backward, a state is set to zero after the step ::

        for x_t, starts_t in zip(input, starts):
            state = [tensor.masked_fill(starts_t.unsqueeze(1), 0) for tensor in state]
            output_t, state = step(x_t, state)
    """

    def __init__(self, starts: Tensor) -> None:
        """Take the resets, ``(seq, batch)``, booleans on the CPU."""
        self.sizes = [starts.shape[1]] * starts.shape[0]
        self._starts = starts
        self._found: dict[bool, tuple[Tensor, list[Tensor | None]]] = {}

    def _cuts(self, reverse: bool) -> tuple[Tensor, list[Tensor | None]]:
        """Return where a state is zeroed, for steps run forward or, with ``reverse``, backward.

        The first is pairs of step and sample, ``(cuts, 2)``; the second a list with the samples of
        each step, None if it has none.
        """
        # Found once for each direction, and kept.
        if reverse not in self._found:
            # Run backward, a reset at a step cuts between it and the step before.
            starts = self._starts[1:] if reverse else self._starts
            places = starts.nonzero()
            counts: list[int] = starts.sum(1).tolist()
            samples = torch.split_with_sizes(places[:, 1], counts)
            cuts = [each if count else None for each, count in zip(samples, counts, strict=True)]
            if reverse:
                cuts.append(None)  # after the last step nothing is cut
            self._found[reverse] = places, cuts
        return self._found[reverse]

    def schedule(self, reverse: bool) -> Schedule:
        """Return how the steps are run: their order, and what zeroes a state between two.

        ``carry`` sets the states of samples that start again before a step to zero; ``carry_back``
        does so with the gradients of the states before it, in place. All steps have all samples.
        """
        _, cuts = self._cuts(reverse)

        def carry(step: int, state: Tensor, _: Tensor) -> Tensor:
            samples = cuts[step]
            return state if samples is None else state.index_fill(0, samples, 0)

        def carry_back(step: int, gradients: Sequence[Tensor]) -> None:
            samples = cuts[step]
            if samples is not None:
                for gradient in gradients:
                    gradient.index_fill_(0, samples, 0)

        return Schedule(self.sizes, reverse, carry, carry_back)

    def ends(self, tensor: Tensor, reverse: bool) -> Tensor:
        """Return a copy of each sample's last state, ``(batch, hidden)``.

        ``tensor`` ``(seq * batch, hidden)`` has the states after every step.
        """
        batch = self.sizes[0]
        return (tensor[:batch] if reverse else tensor[-batch:]).clone()

    def earlier(self, start: Tensor, after: Tensor, reverse: bool) -> Tensor:
        """Return the state before each row's step, ``(seq * batch, hidden)``: zero after a reset.

        ``start`` ``(batch, hidden)`` is the first state, ``after`` the state after each row's step.
        """
        batch = self.sizes[0]
        both = (after[batch:], start) if reverse else (start, after[:-batch])
        step, sample = self._cuts(reverse)[0].unbind(1)
        return torch.cat(both).index_fill_(0, step * batch + sample, 0)

    def run_differentiable(self, stack: Stack, data: Tensor, state: States) -> Run:
        """Run the rows as pieces by torch's own kernel, which can be differentiated again.

        ``data`` is ``(seq * batch, feature)``, and ``state`` ``(layers * directions, batch,
        hidden)``: the result, output and last states, has the same shapes. After a reset a sample
        starts from zeros.
        """
        seq, batch = self._starts.shape
        pieces = pieces_of(torch.full((batch,), seq, device="cpu"), self._starts)
        rows = Rows(pieces, batch, data.device)
        first = pieces.begin(stack, state, None)
        data = data.index_select(0, rows.places)
        output, ends = rows.run_differentiable(stack, data, first)
        return rows.put(output, seq, batch).flatten(0, 1), pieces.finish(stack, state, ends)
