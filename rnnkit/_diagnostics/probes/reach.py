"""How far back in time the gradient of the last output reaches, where forward cuts it."""

from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.measure.baseline import Baseline


def steps_before(baseline: Baseline, read: Tensor) -> Tensor:
    """Return the valid steps of each sample before the first that gets a gradient.

    ``read`` ``(batch, seq)`` has those that get one from the last output.
    """
    return baseline.batch.valid_places & (read.cumsum(1) == 0)


def reach_in_words(baseline: Baseline, read: Tensor, cut: str) -> str:
    """Write how many steps the gradient reaches back, where most are cut off, and what cuts it.

    ``read`` ``(batch, seq)`` has the steps that get a gradient; ``cut`` says what cuts it, and
    where.
    """
    before = steps_before(baseline, read).sum(1)
    sample = int(before.argmax())
    steps = int(baseline.batch.valid_places[sample].sum())
    reach = steps - int(before[sample])
    return f"the gradient reaches back only {reach} of {count(steps, 'step', 'steps')}, {cut}"
