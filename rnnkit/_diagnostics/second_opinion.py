"""A second opinion in float64: half precision rounds so much that a leak may hide behind it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import LeakError
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import eps_of
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.report import with_lines
from rnnkit._diagnostics.widened import opened_wide, widest


def second_opinion(baseline: Baseline, probe: Callable[[Baseline], None]) -> None:
    """Run a probe again on a copy in float64, if half precision hid a difference.

    A model that does not run so is left with the first opinion.

    Raises:
        LeakError: if the probe finds something there.
    """
    if not baseline.rounding.hidden or not _is_coarse(baseline):
        return
    try:
        with opened_wide(baseline.session) as opened:
            found = _judge(baseline, opened, probe)
            baseline.session.passes += opened.passes
    except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
        return
    if found is not None:
        text = "on a copy in float64: in half precision rounding alone may do as much"
        raise with_lines(found, [("seen", text)])


def is_denied(baseline: Baseline, probe: Callable[[Baseline], None], name: str) -> bool:
    """Say whether a probe finds nothing on a copy in float64: then rounding made what it found.

    What picks the largest, or the nearest, picks another one where two are close.
    """
    try:
        with opened_wide(baseline.session) as opened:
            wide = _widened(baseline, opened)
            probe(wide)
            baseline.session.passes += opened.passes
    except Exception:  # noqa: BLE001 - it finds the same, does not run so, or gives other shapes
        return False
    return name in wide.report.checked


def _is_coarse(baseline: Baseline) -> bool:
    """Say whether the outputs, or what they were computed in, are coarser than float32.

    It costs no run: where nothing had to be measured, nothing was hidden by half precision.
    """
    measured = baseline.rounding.__dict__.get("computation")
    coarse = [measured.eps if measured else 0.0]
    coarse += [eps_of(baseline.normal[index]) for index, _ in baseline.judged()]
    return max(coarse) > torch.finfo(torch.float32).eps


def _judge(
    baseline: Baseline, opened: Session, probe: Callable[[Baseline], None]
) -> LeakError | None:
    wide = _widened(baseline, opened)
    wide.report.checks = list(baseline.report.checks)
    try:
        probe(wide)
    except LeakError as error:
        return error
    return None


def _widened(baseline: Baseline, opened: Session) -> Baseline:
    """Return the same in float64.

    Raises:
        ValueError: if the outputs have other shapes there, so that nothing can be compared.
    """
    leaves = [widest(leaf) if isinstance(leaf, Tensor) else leaf for leaf in baseline.batch.leaves]
    batch = baseline.batch.with_leaves(leaves)
    wide = Baseline(opened, batch, post=baseline.post, out_batch_dim=None, out_seq_dim=None)
    if [_shape(leaf) for leaf in wide.normal] != [_shape(leaf) for leaf in baseline.normal]:
        message = "other shapes in float64"
        raise ValueError(message)
    wide.take_axes(baseline)
    return wide


def _shape(leaf: Any) -> Any:
    return tuple(leaf.shape) if isinstance(leaf, Tensor) else None
