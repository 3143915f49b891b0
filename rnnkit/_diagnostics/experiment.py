"""The model on changed inputs, beside the model on the inputs as they are."""

from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import Where, changed, within
from rnnkit._diagnostics.compare import AMPLIFIED, apart, compute, is_number
from rnnkit._diagnostics.isolation import EscapedError, Given, Watch
from rnnkit._diagnostics.outputs import Leaves, same, shape_of
from rnnkit._diagnostics.report import UnjudgedError, in_short
from rnnkit._diagnostics.widened import run_wide

#: What is rounding shrinks in float64 by more than this, and what depends does not.
SHRINKS = 1e-6


def run_perturbed(baseline: Baseline, where: Where, **options: Any) -> "PerturbedRun | None":
    """Run the model on inputs that :func:`changed` makes; None if all of them stay as they were."""
    inputs = changed(baseline.batch, where, **options)
    return None if inputs is None else PerturbedRun(baseline, inputs)


class PerturbedRun:
    """The model on changed inputs, beside the model on the inputs as they are."""

    def __init__(self, baseline: Baseline, inputs: Given, batch: Batch | None = None) -> None:
        """Run on inputs that were changed from those of the baseline, or of another batch.

        Raises:
            UnjudgedError: if the model raises.
        """
        self.baseline, self.inputs = baseline, inputs
        try:
            self.output = self._run(baseline.batch if batch is None else batch)
        except Exception as error:
            text = "the model refuses changed values of its inputs, drawn from those that occur"
            message = f"{text}: {in_short(error)}"
            raise UnjudgedError(message) from error

    def _run(self, batch: Batch) -> Leaves:
        """Run; if the model refuses, with numbers held to the range that occurs, and times kept."""
        session, inputs = self.baseline.session, self.inputs
        try:
            return session.run(inputs)
        except Exception as error:
            escaped = isinstance(error, EscapedError)
            held = None if escaped else within(batch, inputs)
            output = None if held is None else session.attempt(held)
            if held is None or output is None:
                raise
            self.inputs = held
            return output

    def both(self, watch: Watch) -> tuple[Leaves, Leaves] | None:
        """Run without and with the change, hooks on the copies; None if the model refuses one."""
        session, inputs = self.baseline.session, (self.baseline.batch.tree(), self.inputs)
        before, after = (session.attempt(given, watch=watch) for given in inputs)
        return None if before is None or after is None else (before, after)

    @cached_property
    def ran_alike(self) -> bool:
        """Whether the same operations ran on the same sizes, so that all rounded alike."""
        normal = self.baseline.rounding.computation.operations
        if normal is None or not self.baseline.exact:
            return False
        return compute(self.baseline.session, self.inputs).operations == normal

    def differs(self, index: int, take: Take) -> bool:
        """Say whether a change of the inputs shows in a part of an output."""
        before, after = self._parts(index, take, self.baseline.normal, self.output)
        if same(before, after):
            return False
        return self.ran_alike or not self.baseline.hides(index, before, after, take)

    def leaks(self, index: int, take: Take) -> bool:
        """Say whether a part of an output depends on what was changed.

        What cancels out, as the maximum that is taken off before an exponential, or what a Fourier
        transform makes of later steps, leaves its rounding behind. In float64 that is gone.
        """
        return self.differs(index, take) and not self._cancels_out(index, take)

    def _cancels_out(self, index: int, take: Take) -> bool:
        """Say whether a difference vanishes in float64, and is near to rounding.

        Where values steer the computation, rounding may have picked another one of two.
        """
        rounding = self.baseline.rounding
        before, after = self._parts(index, take, self.baseline.normal, self.output)
        if not is_number(before) or before.shape != after.shape:
            return False
        # Of what computes in less than it returns, the second limit knows.
        off, limit = apart(before, after), take([*islice(rounding.limits(index), 2)][1])
        if not bool((off <= AMPLIFIED * limit).all()) and self.ran_alike:
            return False
        if not self._fits(rounding.wide, index) or not self._fits(self._wide, index):
            return False
        wide = apart(*self._parts(index, take, rounding.wide or [], self._wide or []))
        rounded = limit * (torch.finfo(torch.float64).eps / rounding.eps(before))
        return bool((wide <= (SHRINKS * off.max()).maximum(rounded)).all())

    def _parts(self, index: int, take: Take, *outputs: Leaves) -> list[Tensor]:
        """Take a part of an output, the samples in the order of the input."""
        return [take(self.baseline.arranged(output)[index]) for output in outputs]

    def _fits(self, output: Leaves | None, index: int) -> bool:
        """Say whether an output has the same shape as without the change."""
        normal = self.baseline.normal
        if output is None or len(output) != len(normal):
            return False
        return shape_of(output[index]) == shape_of(normal[index])

    @cached_property
    def _wide(self) -> Leaves | None:
        """What the model returns in float64."""
        return run_wide(self.baseline.session, self.inputs)

    def differ_inside(self, before: Tensor, after: Tensor) -> bool:
        """Say whether a change shows in a tensor inside the model."""
        if same(before, after):
            return False
        return self.ran_alike or not self.baseline.rounding.hides(before, after)

    def has(self, index: int) -> bool:
        """Say whether an output has the same shape as without the change."""
        return self._fits(self.output, index)

    def shows(self, sample: int, indices: Sequence[int]) -> int | None:
        """Return the first of some outputs in which the change shows in a sample; None if in none.

        They are outputs that :meth:`has` holds of.
        """
        for index in indices:
            if self.leaks(index, self.baseline.taking(index, sample)):
                return index
        return None
