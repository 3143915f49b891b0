"""The same run once more: whether it returns the same, and what may be said of a difference."""

from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.measure.judge import judge_of
from rnnkit._diagnostics.run.outputs import Leaves, are_bit_equal
from rnnkit._diagnostics.tell.outcome import Skipped


class Repeat:
    """A copy of the model, run twice in a row on the same inputs.

    Attributes:
        is_equal: whether it returned the same bits.
        is_near: whether it returned the same numbers, up to rounding.
        doubt: why a difference could not be judged.
    """

    def __init__(self, baseline: Baseline, *, restarts: bool = False) -> None:
        """Run twice, unless the baseline did; with ``restarts``, from the same random numbers.

        The baseline is the model, a batch, and the output for it. Bits that differ are compared up
        to rounding by its judge, the same in float64.
        """
        self.doubt = ""
        known = None if restarts else baseline.made.get("again")
        pair = (
            _run_twice(baseline, restarts=restarts) if known is None else (baseline.normal, known)
        )
        self.is_equal = are_bit_equal(*pair)
        self.is_near = self.is_equal
        if self.is_equal or restarts:
            return
        judge = judge_of(baseline)
        if isinstance(judge, Skipped):
            self.doubt = judge.reason
            return
        pair = pair if baseline.is_judge else _run_twice(judge)
        self.is_equal = are_bit_equal(*pair)
        self.is_near = _are_all_near(judge, *pair)


def _run_twice(baseline: Baseline, *, restarts: bool = False) -> tuple[Leaves, Leaves]:
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


def _are_all_near(judge: Baseline, one: Leaves, other: Leaves) -> bool:
    """Return whether the tensors of two outputs are the same, up to the judge's tolerance."""
    pairs = [pair for pair in zip(one, other, strict=False) if isinstance(pair[0], Tensor)]
    return all(isinstance(after, Tensor) and are_near(judge, x, after) for x, after in pairs)
