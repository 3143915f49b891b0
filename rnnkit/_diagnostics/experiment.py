"""The model on changed inputs, beside the model on the inputs as they are."""

from collections.abc import Sequence
from typing import Any

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import Where, changed, within
from rnnkit._diagnostics.isolation import EscapedError, Given, Watch
from rnnkit._diagnostics.judge import agree
from rnnkit._diagnostics.outputs import Leaves, same, shape_of
from rnnkit._diagnostics.report import UnjudgedError, in_short


def run_perturbed(baseline: Baseline, where: Where, **options: Any) -> "PerturbedRun | None":
    """Run the model on inputs that :func:`changed` makes; None if all of them stay as they were."""
    inputs = changed(baseline.batch, where, **options)
    return None if inputs is None else PerturbedRun(baseline, inputs)


class PerturbedRun:
    """The model on changed inputs, beside the model on the inputs as they are."""

    def __init__(self, baseline: Baseline, inputs: Given, batch: Batch | None = None) -> None:
        """Run on inputs that were changed from those of the baseline, or of another batch."""
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

    def leaks(self, index: int, take: Take) -> bool:
        """Return whether a part of an output depends on what was changed."""
        baseline = self.baseline
        before, after = (
            take(baseline.arranged(output)[index]) for output in (baseline.normal, self.output)
        )
        return not agree(baseline, index, before, after, take)

    def moves(self, index: int, take: Take) -> bool:
        """Return whether a part of an output is not the same to the last bit."""
        return not same(take(self.baseline.normal[index]), take(self.output[index]))

    def has(self, index: int) -> bool:
        """Return whether an output has the same shape as without the change."""
        normal, output = self.baseline.normal, self.output
        return len(output) == len(normal) and shape_of(output[index]) == shape_of(normal[index])

    def shows(self, sample: int, indices: Sequence[int]) -> int | None:
        """Return the first of some outputs in which the change shows in a sample; None if in none.

        They are outputs that :meth:`has` holds of.
        """
        for index in indices:
            if self.leaks(index, self.baseline.taking(index, sample)):
                return index
        return None
