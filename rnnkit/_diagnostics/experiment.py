"""The model on changed inputs, beside the model on the inputs as they are."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import Where, other_leaves
from rnnkit._diagnostics.compare import compute
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.outputs import same


class RefusedError(Exception):
    """The model raises something on changed inputs, and not on the inputs as they are."""


def changed(batch: Batch, where: Where, seed: int = 0, **options: Any) -> Given | None:
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


def run_perturbed(baseline: Baseline, where: Where, **options: Any) -> "PerturbedRun | None":
    """Run the model on changed inputs; None if all of them stay as they were.

    Args:
        baseline: the model and its batch.
        where: what is changed.
        **options: those of :func:`changed`.

    Raises:
        RefusedError: if the model raises.
    """
    inputs = changed(baseline.batch, where, **options)
    return None if inputs is None else PerturbedRun(baseline, inputs)


class PerturbedRun:
    """The model on changed inputs, beside the model on the inputs as they are.

    Attributes:
        baseline: the model on the inputs as they are.
        inputs: the changed ones.
        output: the leaves of what the model returned for them.
    """

    def __init__(self, baseline: Baseline, inputs: Given) -> None:
        """Run.

        Raises:
            RefusedError: if the model raises.
        """
        self.baseline, self.inputs = baseline, inputs
        self._is_same: bool | None = None
        try:
            self.output = baseline.session.run(inputs)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0][:80]
            message = (
                "the model refuses changed values of its inputs, drawn from those that occur: "
                f"{type(error).__name__}: {reason}"
            )
            raise RefusedError(message) from error

    def compare_operations(self) -> bool:
        """Run again, watched: say whether the same operations ran on the same sizes.

        Then all rounded alike.
        """
        if self._is_same is None:
            normal = self.baseline.rounding.computation.operations
            watched = self.baseline.exact and normal is not None
            self._is_same = watched and (
                compute(self.baseline.session, self.inputs).operations == normal
            )
        return self._is_same

    def differs(self, index: int, take: Take) -> bool:
        """Say whether a change of the inputs shows in a part of an output.

        Args:
            index: the output.
            take: takes the part.
        """
        normal, output = map(self.baseline.arranged, (self.baseline.normal, self.output))
        before, after = take(normal[index]), take(output[index])
        if same(before, after):
            return False
        return self.compare_operations() or not self.baseline.hides(index, before, after, take)

    def differ_inside(self, before: Tensor, after: Tensor) -> bool:
        """Say whether a change shows in a tensor inside the model."""
        if same(before, after):
            return False
        return self.compare_operations() or not self.baseline.rounding.hides(before, after)

    def has(self, index: int) -> bool:
        """Say whether an output has the same shape as without the change."""
        if len(self.output) != len(self.baseline.normal):
            return False
        after = self.output[index]
        return isinstance(after, Tensor) and after.shape == self.baseline.normal[index].shape

    def shows(self, sample: int, indices: Sequence[int]) -> int | None:
        """Return the first output in which the change shows in a sample; None if it does in none.

        Args:
            sample: the sample.
            indices: outputs that :meth:`has` holds of.
        """
        for index in indices:
            if self.differs(index, self.baseline.taking(index, sample)):
                return index
        return None
