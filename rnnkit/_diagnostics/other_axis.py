"""Try the other axis for the batch: what mixes samples along axis 0 may be right along axis 1."""

from dataclasses import replace

from rnnkit._base.errors import ArgumentError
from rnnkit._diagnostics.inputs.batch import batch_of
from rnnkit._diagnostics.measure.baseline import Rules
from rnnkit._diagnostics.measure.prepared import baseline_of, with_found_lengths
from rnnkit._diagnostics.probes.table import PROBES
from rnnkit._diagnostics.run.isolation import Session, SpentError
from rnnkit._diagnostics.run.outputs import Given
from rnnkit._diagnostics.tell.outcome import LEFT_OUT, ONE_SAMPLE, Finding, Outcome, Passed


def with_other_axis(answer: Outcome, opened: Session, given: Given) -> Outcome:
    """Return the answer of *batch* along axis 0, with the advice of ``batch_dim=1`` if it fits.

    It fits where samples mix, or were not judged, and none mix along axis 1. ``opened`` runs copies
    of the model, and ``given`` are its inputs.
    """
    if isinstance(answer, Passed):
        return answer
    if not isinstance(answer, Finding) and (
        answer.gap != "unjudged" or answer.reason in (LEFT_OUT, ONE_SAMPLE)
    ):
        return answer  # then there is nothing to advise
    if not _is_clean(opened, given):
        return answer
    option = "rnnkit.verify(..., batch_dim=1)"
    when = "if axis 0 of the input is seq"
    if isinstance(answer, Finding):
        rows = [row for row in answer.rows if row[0] != "intended?"]
        return replace(answer, rows=[*rows, ("intended?", f"{option}, {when}")])
    return replace(answer, reason=f"{answer.reason}; {when}, {option}")


def _is_clean(opened: Session, given: Given) -> bool:
    """Return whether samples along axis 1 are independent, as two probes find.

    The probe *batch* has to pass, and *alone*, which runs samples by themselves, to find nothing.
    ``opened`` runs copies of the model, and ``given`` are its inputs.
    """
    call = opened.call if opened.is_wrapped else None
    try:
        whole = batch_of(given, 1)
        whole, pads_after, _ = with_found_lengths(whole, opened.model, call, pads_after=True)
        baseline, _ = baseline_of(opened, whole, Rules(pads_after))
        mixed = PROBES["batch"].ask(baseline)
        return isinstance(mixed, Passed) and not isinstance(PROBES["alone"].ask(baseline), Finding)
    except (ArgumentError, SpentError):
        return False
