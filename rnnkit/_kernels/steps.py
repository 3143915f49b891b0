"""Resets to zeros of a batch without padding, which runs step by step as it is.

Where sequences are short, or samples many, cutting them into pieces and sorting these costs more
than running all steps and setting states to zero before the steps at which samples are reset.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnkit._kernels.gates import Schedule
from rnnkit._kernels.pieces import Rows, pieces_of
from rnnkit._kernels.stack import Run, Stack, States


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
        """Return the steps and samples before which a state is zeroed, and the samples by step."""
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
        """Return how the steps of a direction are run."""
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
        """Return a copy of each sample's last state, ``(batch, hidden)``."""
        batch = self.sizes[0]
        return (tensor[:batch] if reverse else tensor[-batch:]).clone()

    def earlier(self, start: Tensor, after: Tensor, reverse: bool) -> Tensor:
        """Return the state before each row's step, given first states and the states after."""
        batch = self.sizes[0]
        both = (after[batch:], start) if reverse else (start, after[:-batch])
        step, sample = self._cuts(reverse)[0].unbind(1)
        return torch.cat(both).index_fill_(0, step * batch + sample, 0)

    def run_differentiable(self, stack: Stack, data: Tensor, state: States) -> Run:
        """Run pieces by torch's own kernel, which can be differentiated again."""
        seq, batch = self._starts.shape
        pieces = pieces_of(torch.full((batch,), seq, device="cpu"), self._starts)
        rows = Rows(pieces, batch, data.device)
        first = pieces.begin(stack, state, None)
        data = data.index_select(0, rows.places)
        output, ends = rows.run_differentiable(stack, data, first)
        return rows.put(output, seq, batch).flatten(0, 1), pieces.finish(stack, state, ends)
