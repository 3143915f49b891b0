"""Try the other axis for the batch: what mixes samples along axis 0 may be right along axis 1."""

import copy
from dataclasses import replace

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.prepared import Rules, baseline_of, find_lengths
from rnnkit._diagnostics.probes.table import PROBES
from rnnkit._diagnostics.run.isolation import Session, SpentError
from rnnkit._diagnostics.run.outputs import Given
from rnnkit._diagnostics.tell.outcome import LEFT_OUT, ONE_SAMPLE, Finding, Passed
from rnnkit._diagnostics.tell.report import Report, with_row


def advise_other_axis(
    report: Report, opened: Session, given: Given, batch_dim: int, model: torch.nn.Module
) -> None:
    """Advise ``batch_dim=1`` where samples mix, or were not judged, and none mix along axis 1.

    The advice is written into the report. ``opened`` runs copies of the model, ``given`` are the
    inputs, and ``batch_dim`` is the axis that the caller named for the samples, 0 by default.
    """
    unjudged = _places_of_unjudged(report)
    if batch_dim != 0 or not (report.found("batch") or unjudged):
        return  # who names an axis knows which one it is
    if not _is_clean(opened, given, model):
        return
    option = "rnnkit.verify(..., batch_dim=1)"
    for k, finding in enumerate(report.findings):
        if finding.probe == "batch":
            when = f"{option}, if axis 0 of the input is seq"
            report.findings[k] = with_row(finding, "intended?", when)
    for k in unjudged:
        check = report.checks[k]
        advice = f"{check.detail}; if axis 0 of the input is seq, {option}"
        report.checks[k] = replace(check, detail=advice)


def _places_of_unjudged(report: Report) -> list[int]:
    """Return where a report says that *batch* was not judged, though it was asked of samples."""
    return [
        k
        for k, check in enumerate(report.checks)
        if check.probe == "batch" and check.gap == "unjudged"
        if check.detail not in (LEFT_OUT, ONE_SAMPLE)  # then there is nothing to advise
    ]


def _is_clean(opened: Session, given: Given, model: torch.nn.Module) -> bool:
    """Return whether samples along axis 1 are independent, as two probes find.

    The probe *batch* has to pass, and *alone*, which runs samples by themselves, to find nothing.
    ``opened`` runs copies of the model, and ``given`` are its inputs.
    """
    session = copy.copy(opened)
    session.joined_axes = {}
    try:
        whole = Batch(given, 1, None, None)
        is_after, _ = find_lengths(
            whole, model, opened.call if opened.is_wrapped else None, is_after=True
        )
        baseline, _ = baseline_of(session, whole, Rules(is_after), {})
        answer = PROBES["batch"].ask(baseline)
    except (ArgumentError, SpentError):
        return False
    if not isinstance(answer, Passed):
        return False
    return not isinstance(PROBES["alone"].ask(baseline), Finding)
