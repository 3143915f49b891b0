"""How far back in time the gradient of the last output reaches, where forward cuts it."""

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.changes import valid_mask
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.cuts import Cuts


def steps_before(baseline: Baseline, read: Tensor) -> Tensor:
    """Return the valid steps of each sample before the first that gets a gradient.

    ``read`` ``(batch, seq)`` has those that get one from the last output.
    """
    return valid_mask(baseline.batch, post=baseline.post) & (read.cumsum(1) == 0)


def reach_in_words(baseline: Baseline, read: Tensor) -> str:
    """Write how many steps the gradient reaches back in the longest sample, and what cuts it."""
    valid = valid_mask(baseline.batch, post=baseline.post)
    longest = int(valid.sum(1).argmax())
    steps = int(valid[longest].sum())
    reach = steps - int(steps_before(baseline, read)[longest].sum())
    text = f"the gradient reaches back {reach} of {count(steps, 'step', 'steps')}"
    cut = _where_it_is_cut(baseline)
    return f"{text}, {cut}" if cut else text


def _where_it_is_cut(baseline: Baseline) -> str:
    """Return the function that cuts graphs most often in a run, and its place."""
    cuts = Cuts()
    session = baseline.session
    with cuts, torch.enable_grad():
        Gradients(baseline.batch, session, session.fresh())
    return cuts.most
