"""The model on changed inputs, beside the model on the inputs as they are."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from rnnkit._batches import Batch, Where
from rnnkit._compare import operations
from rnnkit._session import same
from rnnkit._subject import Subject


def changed(batch: Batch, where: Where, seed: int = 0, **options: Any) -> Any:
    """Return changed inputs, padding left as it is; None if all of them stay as they were.

    Args:
        batch: the inputs.
        where: what is changed, see :meth:`Batch.replaced`.
        seed: draws other values.
        **options: those of :meth:`Batch.replaced`.
    """
    leaves = batch.other_leaves(where, seed, **{"pad": False, **options})
    stay = all(one is other for one, other in zip(batch.leaves, leaves, strict=True))
    return None if stay else batch.tree(leaves)


def attempt(subject: Subject, where: Where, probe: str, **options: Any) -> "Trial | None":
    """Run the model on changed inputs; None if all of them stay as they were.

    Args:
        subject: the model and its batch.
        where: what is changed.
        probe: for what; stands in a note on what the model raises.
        **options: those of :func:`changed`.
    """
    inputs = changed(subject.batch, where, **options)
    return None if inputs is None else Trial(subject, inputs, probe)


class Trial:
    """The model on changed inputs, beside the model on the inputs as they are.

    Attributes:
        inputs: the changed ones.
        output: the leaves of what the model returned for them.
    """

    def __init__(self, subject: Subject, inputs: Any, probe: str) -> None:
        """Run; add to what the model raises that it did not with the inputs as they are."""
        self.subject, self.inputs = subject, inputs
        try:
            self.output = subject.session.run(inputs)
        except Exception as error:
            error.add_note(
                f"rnnkit.verify: the model refuses changed values of its inputs, drawn from those "
                f"that occur; skip=[{probe!r}] leaves the probe out"
            )
            raise

    @cached_property
    def is_same_computation(self) -> bool:
        """Whether the same operations ran on the same sizes, so that all rounded alike."""
        normal = self.subject.operations if self.subject.exact else None
        return normal is not None and operations(self.subject.session, self.inputs) == normal

    def differ(self, before: Tensor, after: Tensor, index: int | None = None) -> bool:
        """Say whether a change of the inputs shows, and not only in how sums were rounded."""
        if same(before, after):
            return False
        return self.is_same_computation or not self.subject.is_rounding(before, after, index)

    def shows(self, sample: int, indices: Sequence[int]) -> bool | None:
        """Say whether the change shows in a sample; None if no output could be compared."""
        subject, compared = self.subject, False
        if len(self.output) != len(subject.normal):
            return None
        for index in indices:
            before, after = subject.normal[index], self.output[index]
            if isinstance(after, Tensor) and before.shape == after.shape:
                compared = True
                one, other = (subject.valid(leaf, index, sample) for leaf in (before, after))
                if self.differ(one, other, index):
                    return True
        return False if compared else None
