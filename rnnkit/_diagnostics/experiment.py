"""The lower bound: a finite change of the inputs, and where it is visible in the outputs."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, changed, steps_from, within
from rnnkit._diagnostics.isolation import EscapedError, Given, Watch
from rnnkit._diagnostics.judge import differences
from rnnkit._diagnostics.outputs import Leaves, shape_of
from rnnkit._diagnostics.report import UnjudgedError, in_short


def run_perturbed(baseline: Baseline, where: Where, **options: Any) -> "PerturbedRun | None":
    """Run the model on inputs that :func:`changed` makes; None if all of them stay as they were."""
    inputs = changed(baseline.batch, where, **options)
    return None if inputs is None else PerturbedRun(baseline, inputs)


class PerturbedRun:
    """The model on changed inputs, next to the model on the inputs as they are."""

    def __init__(self, baseline: Baseline, inputs: Given) -> None:
        """Run; if the model refuses, with numbers within the range that occurs, and times kept."""
        self.baseline, self.inputs = baseline, inputs
        try:
            self.output: Leaves = baseline.session.run(inputs)
        except Exception as error:
            within_range = within(baseline.batch, inputs)
            output = None
            if within_range is not None and not isinstance(error, EscapedError):
                output = baseline.session.attempt(within_range)
            if within_range is None or output is None:
                text = "the model refuses changed values of its inputs, drawn from those that occur"
                message = f"{text}: {in_short(error)}"
                raise UnjudgedError(message) from error
            self.inputs, self.output = within_range, output

    def both(self, watch: Watch) -> tuple[Leaves, Leaves] | None:
        """Run without and with the change, hooks on the copies; None if the model refuses one."""
        session, inputs = self.baseline.session, (self.baseline.batch.tree(), self.inputs)
        before, after = (session.attempt(given, watch=watch) for given in inputs)
        return None if before is None or after is None else (before, after)

    def has(self, index: int) -> bool:
        """Return whether an output has the same shape as without the change."""
        normal, output = self.baseline.normal, self.output
        return len(output) == len(normal) and shape_of(output[index]) == shape_of(normal[index])

    def moved(self, index: int, *, exact: bool = False) -> Tensor:
        """Return at which ``(samples, steps)`` an output of the same shape is a different one.

        The last bit counts with ``exact``, and as long as no judge was asked.
        """
        baseline = self.baseline
        before, after = (baseline.arranged(one)[index] for one in (baseline.normal, self.output))
        off = differences(baseline, index, before, after, exact=exact)
        return baseline.places(index, off)

    def moved_within(self, index: int) -> Tensor:
        """Return the same, only where there is no padding."""
        return self.moved(index) & self.baseline.valid_places(index)


def first_true(mask: Tensor) -> int:
    """Return the first place of a mask that holds."""
    return int(torch.nonzero(mask)[0])


def in_step(baseline: Baseline) -> Baseline | None:
    """Return the model with the steps of that input which the first output has, too."""
    batch, first = baseline.batch, baseline.first
    if first is None or (baseline.out_seq_dim is not None and baseline.has_steps(first)):
        return None if first is None else baseline
    for index, axis in enumerate(batch.axes):
        others = index != batch.paced and not batch.has_steps(index) and batch.is_content(index)
        if others and axis != batch.seq_dims[index] and (batch.length(index) or 0) > 1:
            paced = baseline.paced_by(index)
            if paced.runs_on_less and paced.has_steps(first):
                return paced
    return baseline if baseline.out_seq_dim is not None else None


def with_followed(baseline: Baseline) -> Baseline:
    """Return the model with the steps of further inputs, if the output's steps follow those.

    A loop takes times, for one, that are longer than the sequence: they need not be cut with it. Of
    an input that is read as a whole, no step of the output reads the first step and not the last,
    nor the last one and not one between.
    """
    batch, steps = baseline.batch, baseline.batch.steps or 0
    followed = baseline
    for index in sorted(batch.on_their_own):
        if batch.is_content(index):
            whole = followed.on(batch.with_leaves(batch.leaves))
            whole.batch.on_their_own = followed.batch.on_their_own - {index}
            first, middle, last = (_readers(whole, index, k) for k in (0, steps // 2, steps - 1))
            between = bool(middle.any()) and bool((last & ~middle).any())
            if bool(last.any()) and (bool((first & ~last).any()) or between):
                followed = whole
    return followed


def _readers(baseline: Baseline, index: int, step: int) -> Tensor:
    """Return which steps of the first output read a step of an input."""
    first = baseline.first or 0
    try:
        perturbed = run_perturbed(baseline, steps_from(step, step + 1), only=index)
    except UnjudgedError:
        perturbed = None  # the rest is judged without it
    if perturbed is None or not perturbed.has(first):
        return torch.zeros(1, dtype=torch.bool, device="cpu")
    return perturbed.moved(first, exact=True).any(0).cpu()
