"""The same run once more: whether it returns the same, and what may be said of a difference."""

from dataclasses import dataclass

from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.measure.judge import judge_of
from rnnkit._diagnostics.run.outputs import Leaves, are_bit_equal
from rnnkit._diagnostics.tell.outcome import Skipped


@dataclass
class Repeat:
    """What a copy of the model returned that ran twice in a row on the same inputs.

    Attributes:
        is_equal: whether it was the same bits.
        is_near: whether it was the same numbers, up to rounding.
        doubt: why a difference could not be judged.
    """

    is_equal: bool
    is_near: bool
    doubt: str = ""


def repeat_of(baseline: Baseline) -> Repeat:
    """Compare the two runs of a baseline's model on its batch, bits that differ in float64."""
    if are_bit_equal(baseline.normal, baseline.made["again"]):
        return Repeat(is_equal=True, is_near=True)
    judge = judge_of(baseline)
    if isinstance(judge, Skipped):
        return Repeat(is_equal=False, is_near=False, doubt=judge.reason)
    one, other = run_twice(judge)
    pairs = [pair for pair in zip(one, other, strict=False) if isinstance(pair[0], Tensor)]
    is_near = all(isinstance(y, Tensor) and are_near(judge, x, y) for x, y in pairs)
    return Repeat(are_bit_equal(one, other), is_near)


def run_twice(baseline: Baseline, *, restarts: bool = False) -> tuple[Leaves, Leaves]:
    """Return the outputs of two runs of one copy of the model on the baseline's batch.

    With ``restarts``, both draw the same random numbers.
    """
    session = baseline.session
    inputs = baseline.batch.tree()
    copy = session.fresh()
    once = session.run(inputs, on=copy)
    if restarts:
        session.restart()
    return once, session.run(inputs, on=copy)
