"""The model under test on one batch: what it returned, and where batch and seq lie in that.

The model on changed inputs, beside the model on the inputs as they are.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._diagnostics.batch import Batch, followed_axis
from rnnkit._diagnostics.changes import Where, other_leaves
from rnnkit._diagnostics.compare import (
    AMPLIFIED,
    distance,
    is_number,
    last_digit,
    operations,
    tolerance,
)
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import Leaves, same
from rnnkit._diagnostics.report import Report


class Baseline:
    """A session, a batch, and the leaves of the output that can be judged sample by sample.

    Attributes:
        session: runs the model.
        batch: the inputs, few samples of them.
        counts: valid steps of each sample; None if not told.
        post: whether the padding lies after a sample.
        report: what was found so far.
        normal: the leaves of the output for the batch as it is.
        axes: the batch axis of each leaf; None of one that does not follow the batch.
        first: index of the first leaf with numbers; the arguments of ``verify`` are about it.
        out_seq_dim: its seq axis; None if it has none.
        is_seq_told: whether that was told, and not found by its length.
        exact: whether the same run gives the same output to the last bit.
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
        """Run the model on the batch, and on a sample less to see which axes follow.

        Raises:
            ArgumentError: if the first output has no such axis.
        """
        self.session, self.batch, self.counts, self.post = opened, batch, counts, post
        self.report = Report()
        self.exact = True
        self.normal: Leaves = opened.run(batch.tree())
        self._alone: dict[int, Leaves | Exception] = {}
        self.first = next((k for k, leaf in enumerate(self.normal) if is_output(leaf)), None)
        self._runs_on_fewer = False
        self.axes: list[int | None] = [None] * len(self.normal)
        self._find_axes()
        self._infer_first(self._axis("out_batch_dim", out_batch_dim))
        self.out_seq_dim = self._axis("out_seq_dim", out_seq_dim)
        self.is_seq_told = out_seq_dim is not None
        if self.out_seq_dim is None:
            self.out_seq_dim = self._find_seq()

    def _find_axes(self) -> None:
        """Find which axis of each output follows when a sample is left out.

        One that is not the longest: without that, the output may have fewer steps, too. If it is
        not known which that is, it is not another one as well.
        """
        size = self.batch.size
        left_out = min(range(size), key=lambda sample: (self._valid_steps[sample], -sample))
        for sample in dict.fromkeys((left_out, 0, size - 1)) if size > 1 else ():
            rest = [k for k in range(size) if k != sample]
            try:
                fewer = self.session.run(self.batch.samples(rest).tree())
            except Exception:  # noqa: BLE001 - whatever it raises, the model takes no other batch
                return
            self._runs_on_fewer = True
            if len(fewer) == len(self.normal):
                self.axes = list(map(followed_axis, self.normal, fewer))
            if self.first is None or self.axes[self.first] is not None:
                return

    @property
    def _valid_steps(self) -> list[int]:
        if self.counts is not None:
            return self.counts
        padding = self.batch.padding(self.batch.paced)
        return [0] * self.batch.size if padding is None else (~padding).sum(1).tolist()

    def _axis(self, argument: str, dim: int | None) -> int | None:
        """Return an axis of the first output, counted from the front."""
        if dim is None:
            return None
        shape = () if self.first is None else tuple(self.normal[self.first].shape)
        if not -len(shape) <= dim < len(shape):
            message = f"the first output has no axis {dim}: its shape is {shape}"
            raise ArgumentError(message, argument)
        return dim % len(shape)

    def _infer_first(self, axis: int | None) -> None:
        if self.first is None:
            return
        shape, size = tuple(self.normal[self.first].shape), self.batch.size
        if axis is not None and shape[axis] != size:
            message = f"axis {axis} of the first output is no batch of {size}: its shape is {shape}"
            raise ArgumentError(message, "out_batch_dim")
        if axis is None and self.axes[self.first] is None and not self._runs_on_fewer:
            # Nothing could be left out: the batch may lie where it lay in the input.
            batch_dim = self.batch.axes[self.batch.first]
            fitting = [k for k, length in enumerate(shape[:-1]) if length == size]
            axis = batch_dim if fitting == [batch_dim] else None
        if axis is not None:
            self.axes[self.first] = axis

    def _find_seq(self) -> int | None:
        """Return the axis of the first output that is as long as the input, or as its longest."""
        if self.first is None or self.batch.steps is None:
            return None
        shape, batch_axis = self.normal[self.first].shape, self.axes[self.first]
        for steps in (self.batch.steps, self.longest):
            axes = [k for k, length in enumerate(shape[:-1]) if length == steps]
            fitting = [axis for axis in axes if axis != batch_axis]
            if len(fitting) == 1:
                return fitting[0]
        return None

    @property
    def longest(self) -> int | None:
        """Valid steps of the longest sample: what is padded after packing has no more."""
        return max(self.counts) if self.counts else self.batch.steps

    def has_steps(self, index: int) -> bool:
        """Say whether a leaf of the output has the input's steps, beside its batch."""
        leaf, axis = self.normal[index], self.out_seq_dim
        return (
            index == self.first
            and axis is not None
            and leaf.shape[axis] in (self.batch.steps, self.longest)
            and axis != self.axes[index]
        )

    def has_all_steps(self, index: int) -> bool:
        """Say whether a leaf has all of the input's steps, and not only the longest sample's."""
        axis = self.out_seq_dim
        whole = axis is not None and self.normal[index].shape[axis] == self.batch.steps
        return whole and self.has_steps(index)

    def has_other_steps(self, index: int) -> bool:
        """Say whether a leaf of the output has steps, but other ones than the input.

        A short sample that is run alone tells.
        """
        if self.counts is None or self.has_steps(index):
            return False
        sample = min(range(self.batch.size), key=self.counts.__getitem__)
        taken, axis = self.valid(self.normal[index], index, sample), self.axes[index] or 0
        alone = self.alone(sample)
        if isinstance(alone, Exception) or len(alone) != len(self.normal):
            return taken.dim() > 1
        other = alone[index]
        if other.dim() == taken.dim() + 1:
            other = other.squeeze(axis)
        return bool(other.shape != taken.shape)

    def alone(self, sample: int) -> Leaves | Exception:
        """Run one sample alone, cut to its length; return what comes, or what the model raises."""
        if sample not in self._alone:
            single = self.batch.samples([sample])
            if self.counts is not None:
                single = single.cut(self.counts[sample], front=self.post)
            try:
                self._alone[sample] = self.session.run(single.tree())
            except Exception as error:  # noqa: BLE001 - it may refuse a batch of one as it likes
                self._alone[sample] = error
        return self._alone[sample]

    def judged(self) -> Iterator[tuple[int, int]]:
        """Yield index and batch axis of each leaf that can be judged sample by sample."""
        for index, (leaf, axis) in enumerate(zip(self.normal, self.axes, strict=True)):
            if axis is not None and is_output(leaf):
                yield index, axis

    def follows_steps(self) -> bool:
        """Say whether the first output has an axis that follows the steps of the input."""
        steps, first = self.batch.steps, self.first
        if first is None or steps is None or steps < 2 or not self._runs_on_fewer:
            return False
        try:
            shorter = self.session.run(self.batch.cut(steps - 1, front=True).tree())
        except Exception:  # noqa: BLE001 - the model may take no other number of steps
            return False
        return len(shorter) == len(self.normal) and (
            self.normal[first].dim() > 1
            and followed_axis(self.normal[first], shorter[first]) is not None
        )

    @cached_property
    def rounding(self) -> list[float]:
        """What the model makes of rounding: by how much each output moves.

        Numbers of the input, and what each module returns, are changed in their last digit.
        """

        def watch(model: torch.nn.Module) -> list[Any]:
            modules = (m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule))
            return [module.register_forward_hook(_round) for module in modules]

        leaves = [
            last_digit(leaf) if isinstance(leaf, Tensor) else leaf for leaf in self.batch.leaves
        ]
        output = self.session.run(self.batch.tree(leaves), watch=watch)
        moved = [0.0] * len(self.normal)
        for index, (before, after) in enumerate(zip(self.normal, output, strict=False)):
            if is_number(before) and is_number(after) and before.shape == after.shape:
                moved[index] = distance(before, after)[0]
        return moved

    def is_rounding(self, before: Tensor, after: Tensor, index: int | None = None) -> bool:
        """Say whether two tensors differ by no more than rounding explains.

        Args:
            before: one.
            after: the other, of the same shape.
            index: index of the output that they are part of; None inside the model.
        """
        if not is_number(before):
            return same(before, after)
        off, scale = distance(before, after)
        limit = tolerance(before.dtype, self.batch.steps or 1) * scale
        if off > limit and index is not None:
            limit += AMPLIFIED * self.rounding[index]
        return off <= limit

    @cached_property
    def operations(self) -> list[Any] | None:
        """The operations that run on the batch as it is; None if they cannot be watched."""
        return operations(self.session, self.batch.tree())

    def valid(self, leaf: Tensor, index: int, sample: int) -> Tensor:
        """Return one sample of a leaf, cut to the sample's valid steps."""
        axis = self.axes[index] or 0
        taken = leaf.select(axis, sample)
        if self.counts is None or self.out_seq_dim is None or not self.has_steps(index):
            return taken
        seq = self.out_seq_dim - (axis < self.out_seq_dim)
        start = 0 if self.post else taken.shape[seq] - self.counts[sample]
        return taken.narrow(seq, start, self.counts[sample])


def _round(module: torch.nn.Module, args: Any, output: Any) -> Any:  # noqa: ARG001
    return last_digit(output) if isinstance(output, Tensor) else output


def is_output(leaf: Any) -> bool:
    """Say whether a leaf holds numbers that can be compared."""
    return isinstance(leaf, Tensor) and leaf.dim() > 0 and leaf.numel() > 0


def changed(batch: Batch, where: Where, seed: int = 0, **options: Any) -> Any:
    """Return changed inputs, padding left as it is; None if all of them stay as they were.

    Args:
        batch: the inputs.
        where: what is changed, see :func:`rnnkit._diagnostics.changes.replaced`.
        seed: draws other values.
        **options: those of :func:`rnnkit._diagnostics.changes.replaced`.
    """
    leaves = other_leaves(batch, where, seed, **{"pad": False, **options})
    stay = all(one is other for one, other in zip(batch.leaves, leaves, strict=True))
    return None if stay else batch.tree(leaves)


def run_perturbed(
    baseline: Baseline, where: Where, probe: str, **options: Any
) -> "PerturbedRun | None":
    """Run the model on changed inputs; None if all of them stay as they were.

    Args:
        baseline: the model and its batch.
        where: what is changed.
        probe: for what; stands in a note on what the model raises.
        **options: those of :func:`changed`.
    """
    inputs = changed(baseline.batch, where, **options)
    return None if inputs is None else PerturbedRun(baseline, inputs, probe)


class PerturbedRun:
    """The model on changed inputs, beside the model on the inputs as they are.

    Attributes:
        inputs: the changed ones.
        output: the leaves of what the model returned for them.
    """

    def __init__(self, baseline: Baseline, inputs: Any, probe: str) -> None:
        """Run; add to what the model raises that it did not with the inputs as they are."""
        self.baseline, self.inputs = baseline, inputs
        try:
            self.output = baseline.session.run(inputs)
        except Exception as error:
            error.add_note(
                f"rnnkit.verify: the model refuses changed values of its inputs, drawn from those "
                f"that occur; skip=[{probe!r}] leaves the probe out"
            )
            raise

    @cached_property
    def is_same_computation(self) -> bool:
        """Whether the same operations ran on the same sizes, so that all rounded alike."""
        normal = self.baseline.operations if self.baseline.exact else None
        return normal is not None and operations(self.baseline.session, self.inputs) == normal

    def differ(self, before: Tensor, after: Tensor, index: int | None = None) -> bool:
        """Say whether a change of the inputs shows, and not only in how sums were rounded."""
        if same(before, after):
            return False
        return self.is_same_computation or not self.baseline.is_rounding(before, after, index)

    def shows(self, sample: int, indices: Sequence[int]) -> bool | None:
        """Say whether the change shows in a sample; None if no output could be compared."""
        baseline, compared = self.baseline, False
        if len(self.output) != len(baseline.normal):
            return None
        for index in indices:
            before, after = baseline.normal[index], self.output[index]
            if isinstance(after, Tensor) and before.shape == after.shape:
                compared = True
                one, other = (baseline.valid(leaf, index, sample) for leaf in (before, after))
                if self.differ(one, other, index):
                    return True
        return False if compared else None
