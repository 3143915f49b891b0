"""The model under test on one batch: what it returned, and where batch and seq lie in that."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rnnkit._batches import Batch, followed_axis
from rnnkit._report import Report
from rnnkit._session import Leaves, Session


class Subject:
    """A session, a batch, and the leaves of the output that can be judged sample by sample.

    Attributes:
        session: runs the model.
        batch: the inputs, few samples of them.
        counts: valid steps of each sample; None if not told.
        post: whether the padding lies after a sample.
        report: what was found so far.
        normal: the leaves of the output for the batch as it is.
        axes: the batch axis of each leaf; None of one that does not follow the batch.
        first: place of the first leaf with numbers; the arguments of ``verify`` are about it.
        out_seq_dim: its seq axis; None if it has none.
    """

    def __init__(
        self,
        opened: Session,
        batch: Batch,
        counts: list[int] | None,
        *,
        post: bool,
        out_batch_dim: int | None,
        out_seq_dim: int | None,
    ) -> None:
        """Run the model on the batch, and on one sample less to see which axes follow."""
        self.session, self.batch, self.counts, self.post = opened, batch, counts, post
        self.report = Report()
        self.normal: Leaves = opened.run(batch.tree())
        fewer = self._fewer()
        self.axes = [followed_axis(full, one) for full, one in zip(self.normal, fewer, strict=True)]
        self.first = next((k for k, leaf in enumerate(self.normal) if is_output(leaf)), None)
        if self.first is not None:
            self._settle_first(self.first, out_batch_dim)
        self.out_seq_dim = self._find_seq(out_seq_dim)

    def _fewer(self) -> Leaves:
        if self.batch.size > 1:
            try:
                fewer = self.session.run(self.batch.samples(range(self.batch.size - 1)).tree())
            except Exception:  # noqa: BLE001 - whatever it raises, the model takes no other batch
                fewer = []
            if len(fewer) == len(self.normal):
                return fewer
        return [None] * len(self.normal)

    def _settle_first(self, first: int, out_batch_dim: int | None) -> None:
        leaf, size = self.normal[first], self.batch.size
        axis = out_batch_dim
        if axis is None and self.axes[first] is None and leaf.dim() > 1:
            # No axis followed: one as long as the batch may still have been meant for it.
            axis = next((k for k, length in enumerate(leaf.shape) if length == size), None)
        if axis is not None and leaf.dim() > axis and leaf.shape[axis] == size:
            self.axes[first] = axis

    def _find_seq(self, given: int | None) -> int | None:
        if given is not None or self.first is None or self.batch.steps is None:
            return given
        shape, batch_axis = self.normal[self.first].shape, self.axes[self.first]
        axes = [k for k, length in enumerate(shape[:-1]) if length == self.batch.steps]
        fitting = [axis for axis in axes if axis != batch_axis]
        return fitting[0] if len(fitting) == 1 else None

    def has_steps(self, place: int) -> bool:
        """Say whether a leaf of the output has the input's steps, beside its batch."""
        leaf, axis = self.normal[place], self.out_seq_dim
        return (
            place == self.first
            and axis is not None
            and leaf.dim() > axis
            and leaf.shape[axis] == self.batch.steps
            and axis != self.axes[place]
        )

    def judged(self) -> Iterator[tuple[int, int]]:
        """Yield place and batch axis of each leaf that can be judged sample by sample."""
        for place, (leaf, axis) in enumerate(zip(self.normal, self.axes, strict=True)):
            if axis is not None and is_output(leaf):
                yield place, axis

    def follows_steps(self) -> bool:
        """Say whether the first output has an axis that follows the steps of the input."""
        steps, first = self.batch.steps, self.first
        if first is None or steps is None or steps < 2 or self.normal[first].dim() < 2:
            return False
        try:
            shorter = self.session.run(self.batch.cut(steps - 1, front=True).tree())
        except Exception:  # noqa: BLE001 - the model may take no other number of steps
            return False
        return len(shorter) == len(self.normal) and (
            followed_axis(self.normal[first], shorter[first]) is not None
        )

    def rounding(self) -> list[float]:
        """Measure what the model makes of rounding: by how much each output moves.

        Numbers of the input, and what each module returns, are changed in their last digit.
        """

        def watch(model: torch.nn.Module) -> list[Any]:
            return [module.register_forward_hook(_round) for module in model.modules()]

        leaves = [
            _last_digit(leaf) if isinstance(leaf, Tensor) else leaf for leaf in self.batch.leaves
        ]
        output = self.session.run(self.batch.tree(leaves), watch=watch)
        return [
            (before.double() - after.double()).abs().max().item()
            if is_output(before) and before.shape == after.shape
            else 0.0
            for before, after in zip(self.normal, output, strict=True)
        ]

    def valid(self, leaf: Tensor, place: int, sample: int) -> Tensor:
        """Return one sample of a leaf, cut to the sample's valid steps."""
        axis = self.axes[place] or 0
        taken = leaf.select(axis, sample)
        if self.counts is None or self.out_seq_dim is None or not self.has_steps(place):
            return taken
        seq = self.out_seq_dim - (axis < self.out_seq_dim)
        start = 0 if self.post else taken.shape[seq] - self.counts[sample]
        return taken.narrow(seq, start, self.counts[sample])


def _round(module: torch.nn.Module, args: Any, output: Any) -> Any:  # noqa: ARG001
    return _last_digit(output) if isinstance(output, Tensor) else output


def _last_digit(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    sign = torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape) % 2 * 2 - 1
    return tensor * (1 + sign * torch.finfo(tensor.dtype).eps).to(tensor.dtype)


def is_output(leaf: Any) -> bool:
    """Say whether a leaf holds numbers that can be compared."""
    return isinstance(leaf, Tensor) and leaf.dim() > 0 and leaf.numel() > 0
