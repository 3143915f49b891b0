"""A second opinion in float64: half precision rounds so much that a leak may hide behind it."""

from collections.abc import Callable

import torch
from torch import Tensor

from rnnkit._base.errors import LeakError
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import eps_of
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import shape_of
from rnnkit._diagnostics.report import UnjudgedError, with_lines
from rnnkit._diagnostics.widened import opened_wide, widest

Probe = Callable[[Baseline], str]


def second_opinion(baseline: Baseline, probe: Probe) -> None:
    """Run a probe again on a copy in float64, if half precision hid something; fail as it does."""
    if not baseline.rounding.hidden or not _is_coarse(baseline):
        return
    found = _in_float64(baseline, probe)
    if isinstance(found, LeakError):
        text = "on a copy in float64: in half precision rounding alone may do as much"
        raise with_lines(found, [("seen", text)])


def is_denied(baseline: Baseline, probe: Probe) -> bool:
    """Say whether a probe finds nothing on a copy in float64: then rounding made what it found.

    What picks the largest, or the nearest, picks another one where two are close.
    """
    return isinstance(_in_float64(baseline, probe), str)


def _in_float64(baseline: Baseline, probe: Probe) -> str | Exception | None:
    """Return what a probe says on a copy in float64, or raises; None if the copy does not run."""
    try:
        with opened_wide(baseline.session) as opened:
            wide = _widened(baseline, opened)
            try:
                found: str | Exception = probe(wide)
            except (LeakError, UnjudgedError) as error:
                found = error
            baseline.session.passes += opened.passes
    except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
        return None
    return found


def _is_coarse(baseline: Baseline) -> bool:
    """Say whether the outputs, or what they were computed in, are coarser than float32.

    It costs no run: where nothing had to be measured, nothing was hidden by half precision.
    """
    measured = baseline.rounding.__dict__.get("computation")
    coarse = [measured.eps if measured else 0.0]
    coarse += [eps_of(baseline.normal[index]) for index, _ in baseline.judged()]
    return max(coarse) > torch.finfo(torch.float32).eps


def _widened(baseline: Baseline, opened: Session) -> Baseline:
    """Return the same in float64; raise if outputs have other shapes, and cannot be compared."""
    leaves = [widest(leaf) if isinstance(leaf, Tensor) else leaf for leaf in baseline.batch.leaves]
    wide = Baseline(opened, baseline.batch.with_leaves(leaves), post=baseline.post)
    if list(map(shape_of, wide.normal)) != list(map(shape_of, baseline.normal)):
        message = "other shapes in float64"
        raise ValueError(message)
    wide.take_axes(baseline)
    wide.report.checks = list(baseline.report.checks)
    return wide
