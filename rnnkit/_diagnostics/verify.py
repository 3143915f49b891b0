"""``verify``: the mistakes that no shape can show, found by which output depends on which input."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.keywords import known_keywords
from rnnkit._base.model import check_model
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.by_input import (
    LIST_OF_SEQUENCES,
    by_input,
    is_list_of_sequences,
    leaves_of_second,
)
from rnnkit._diagnostics.inputs.reading import batch_of, places_of
from rnnkit._diagnostics.measure.baseline import Rules
from rnnkit._diagnostics.measure.output_axes import layout_of
from rnnkit._diagnostics.measure.precision import note_of_dtype
from rnnkit._diagnostics.measure.prepared import baseline_of, with_found_lengths
from rnnkit._diagnostics.options import OTHER_NAMES, check_option, checked_skip
from rnnkit._diagnostics.probes.remarks import remarks
from rnnkit._diagnostics.probes.table import PROBES, Probe, ProbeName
from rnnkit._diagnostics.run.isolation import EscapedError, Session, SpentError, session
from rnnkit._diagnostics.run.outputs import Given
from rnnkit._diagnostics.run.unseen import unseen_in
from rnnkit._diagnostics.tell.outcome import (
    LEFT_OUT,
    RUNS,
    Finding,
    Outcome,
    Passed,
    Skipped,
)
from rnnkit._diagnostics.tell.report import Check, Report, joined, joined_by_and, leak_error


@known_keywords("verify-argument", OTHER_NAMES, check_option)
def verify(
    model: torch.nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    call: Callable[..., Any] | None = None,
    batch_dim: int = 0,
    seq_dim: int | Mapping[Any, int] | None = None,
    out_seq_dim: int | None = None,
    causal: bool | Literal["strict", "others"] = False,
    lookahead: int = 0,
    streaming: bool = False,
    lengths: Any = None,
    reset: int | str | None = None,
    pad: Literal["post", "pre"] = "post",
    other: Sequence[Any] | None = None,
    skip: Collection[ProbeName] = (),
    raises: bool = True,
) -> Report:
    """Find mistakes that shapes do not show, such as mixed samples or outputs that read padding.

    ``verify`` runs copies of the model on changed inputs and compares the outputs. Its checks are
    called *probes*; the probe *batch*, for example, changes one sample and expects the outputs of
    the others to stay. The copies run a few dozen times, some in train mode, on at most four
    samples: the longest and the three shortest. The model itself never runs.

    Args:
        model: any module, with torch's recurrent modules or rnnkit's.
        *inputs: the positional arguments of the model: tensors, or lists, tuples and dictionaries
            of tensors. The first tensor is read as ``(batch, seq, ...)``. Others may
            also be ``(batch,)``, ``(layers, batch, hidden)``, or have no batch axis.
        kwargs: the keyword arguments of the model.
        call: a function that calls the model, ``call(model, *inputs, **kwargs)``. None means
            ``model(*inputs, **kwargs)``.
        batch_dim: the batch axis of the inputs.
        seq_dim: the seq axis of the inputs; None means axis 0 or 1, whichever is not ``batch_dim``.
            If inputs have different seq axes: a dictionary ``{position or keyword: axis}``.
        out_seq_dim: the seq axis of the first output; None lets ``verify`` find it.
        causal: True if an output may depend on the same and earlier steps of the input only;
            ``"strict"`` if it may not depend on the same step of the first input either;
            ``"others"`` if it may depend on all steps but the same one, as in a cloze task.
        lookahead: the number of later steps that an output of a causal model may also depend on.
        streaming: True if running the sequence in chunks, with the state passed along, must give
            the same output as running it all at once.
        lengths: for padded inputs, the number of valid steps of each sample: integers ``(batch,)``.
            If several inputs have lengths: a dictionary ``{position or keyword: lengths}``. None
            lets ``verify`` look for an input that holds lengths; False means that there are none.
        reset: the position or keyword of the input whose flags show where a sample restarts:
            from a flagged step on, no output may depend on earlier steps.
        pad: ``"post"`` if padding comes after the valid steps, ``"pre"`` if it comes before them.
        other: a second batch to take changed values from, if inputs must change together, such as
            data and a mask: a tuple of the inputs and, if there are any, the ``kwargs``. By
            default, values come from ``inputs``, and masks and lengths are not changed.
        skip: the names of probes to leave out, such as ``["padding"]``; ``"batch"`` also leaves out
            *alone*. ``python -m rnnkit explain padding`` says what a probe checks.
        raises: True raises the first mistake as an error; False returns all mistakes in the report.

    Returns:
        A report, which prints a line for each probe with what it confirmed, the mistake that it
        found, or why it was skipped.

    Raises:
        LeakError: if a probe finds a mistake. The message says what is wrong, how to fix it and, if
            known, where and why it happens.
        ArgumentError: if an argument has the wrong type or value.

    >>> x = torch.randn(5, 7, 3)  # (batch, seq, feature)
    >>> report = rnnkit.verify(torch.nn.GRU(3, 4, batch_first=True), x, causal=True)
    >>> "causal" in report.checked
    True
    >>> rnnkit.verify(torch.nn.GRU(3, 4), x)
    Traceback (most recent call last):
    rnnkit.LeakError: output[0] of sample 1 depends on the input of sample 0
      where      output of the model (GRU), call 0
      cause      the model reads axis 0 of its input as seq, but the batch is there
      fix        GRU(..., batch_first=True), or input.transpose(0, 1)
      intended?  rnnkit.verify(..., batch_dim=1), if axis 0 of the input is seq
      more       python -m rnnkit explain batch
    """
    check_model("verify", model)
    left_out = checked_skip(skip, [*PROBES])
    start = time.perf_counter()
    given = Given(inputs, dict(kwargs or {}))
    flags = by_input("reset", None if reset is None else {reset: reset}, given)
    whole = batch_of(given, batch_dim, seq_dim, lengths, pad)
    lines: list[str] = []
    if lengths is None:
        whole, lines = with_found_lengths(whole, model, call)
    if other is not None:
        whole = replace(whole, second_leaves=leaves_of_second(other, given, whole.leaves))
    for name in flags:
        whole = replace(whole, flags=places_of(whole.spec, name)[0])
    asked = {
        "causal": bool(causal),
        "reset": reset is not None,
        "streaming": streaming,
        "lengths": lengths is not None and bool(whole.lengths),
    }
    rules = Rules(causal, lookahead, out_seq_dim, lengths is None, seq_dim is not None)
    # Who names an axis, or lengths, knows which axis has the samples.
    may_turn = batch_dim == 0 and seq_dim is None and lengths is None
    with session(model, call, given, "verify") as opened:
        try:
            if is_list_of_sequences(given):
                report = _unjudged(LIST_OF_SEQUENCES, asked)
            else:
                report = _judged(opened, whole, rules, asked, left_out, lines, may_turn=may_turn)
        except EscapedError as error:  # its closure is no mistake, and nothing can be judged
            report = _unjudged(str(error).partition("\n")[0], asked)
        report.notes += opened.notes
        report.passes = opened.tally.passes
    report.notes[:] = dict.fromkeys(report.notes)
    report.seconds = time.perf_counter() - start
    if report.findings and raises:
        raise joined(report.findings)
    return report


verify.__module__ = "rnnkit"


def _judged(
    opened: Session,
    whole: Batch,
    rules: Rules,
    asked: Mapping[str, bool],
    skip: Collection[str],
    lines: Sequence[str],
    *,
    may_turn: bool,
) -> Report:
    """Ask each probe about a model, and write the answers into a report.

    ``opened`` runs copies of the model, ``whole`` is the caller's batch, and ``lines`` are notes.
    ``asked`` says by argument whether it asks for a probe, ``skip`` names probes to leave out. With
    ``may_turn``, the samples may be along axis 1.
    """
    baseline, told = baseline_of(opened, whole, rules)
    answers = baseline.known.answers
    axes = layout_of(baseline)
    unseen = unseen_in(baseline.session.returned)
    opened.tally.most = RUNS  # until something is found
    for probe in _probes_of(asked):
        is_left_out = probe.name in skip or probe.goes_with in skip
        answers[probe.name] = Skipped(LEFT_OUT) if is_left_out else probe.ask_in_turn(baseline)
    remarked = remarks(baseline, streaming=asked["streaming"])
    if may_turn and whole.size > 1:
        answers |= _with_other_axis(answers, opened, whole.tree())
    if unseen:
        answers |= _with_unseen(answers, unseen)
    found = [
        leak_error(name, answer, PROBES[name].fix)
        for name, answer in answers.items()
        if isinstance(answer, Finding)
    ]
    # Another probe says more of the same mistake: which steps are wrong, or which lengths. And what
    # is never read gets no gradient.
    found.sort(key=lambda error: (error.probe == "gradient", error.probe == "alone"))
    notes = [note for answer in answers.values() for note in answer.notes]

    return replace(
        _report(answers, asked),
        findings=found,
        notes=[*notes, *note_of_dtype(baseline), *lines, *told, *remarked.notes],
        axes=axes,
        _maps=[one.drawn for one in [*answers.values(), remarked] if one.drawn is not None],
    )


def _with_unseen(answers: Mapping[str, Outcome], unseen: str) -> dict[str, Outcome]:
    """Return the first answer that nothing is wrong, with what ``unseen`` holds left out."""
    passed = {
        name: answer
        for name, answer in answers.items()
        if PROBES[name].is_judging and isinstance(answer, Passed)
    }
    for name, answer in passed.items():
        what = f"{joined_by_and([*passed])} did not see the tensors in {unseen}"
        but = f"{what}: return them in a tuple, list or dict"
        return {name: replace(answer, but="; ".join(filter(None, [answer.but, but])))}
    return {}


def _probes_of(asked: Mapping[str, bool]) -> list[Probe]:
    """Return the usual probes, and those that an argument asks for."""
    return [one for one in PROBES.values() if not one.is_optional or asked[one.asked_by]]


def _report(answers: Mapping[str, Outcome], asked: Mapping[str, bool]) -> Report:
    """Return a report with a line for the answer of each probe, by its name.

    ``asked`` says by argument whether it asks for a probe.
    """
    return Report(
        [_check(PROBES[name], answer) for name, answer in answers.items()],
        asked=[
            name
            for name, answer in answers.items()
            if asked.get(PROBES[name].asked_by) and answer != Skipped(LEFT_OUT)
        ],
    )


def _unjudged(reason: str, asked: Mapping[str, bool]) -> Report:
    """Return a report in which each probe is skipped for one reason."""
    return _report({probe.name: Skipped(reason) for probe in _probes_of(asked)}, asked)


def _with_other_axis(
    answers: Mapping[str, Outcome], opened: Session, given: Given
) -> dict[str, Outcome]:
    """Return the answers that may be about the wrong axis, with the advice of ``batch_dim=1``.

    There is none if samples also mix along axis 1. ``opened`` runs copies of the model, and
    ``given`` are its inputs.
    """
    doubted = {name: answers[name] for name in ("batch", "alone") if _is_doubted(name, answers)}
    if not doubted or not _is_clean(opened, given):
        return {}
    return {name: _with_advice(answer) for name, answer in doubted.items()}


def _is_doubted(name: str, answers: Mapping[str, Outcome]) -> bool:
    """Return whether the answer of a probe may be about steps that were taken for samples."""
    answer = answers[name]
    if isinstance(answer, Skipped) and name == "batch":
        return answer.gap == "unjudged" and answer.reason != LEFT_OUT
    return isinstance(answer, Finding)


def _with_advice(answer: Outcome) -> Outcome:
    """Return an answer that says how to name the axis of the samples."""
    option = "rnnkit.verify(..., batch_dim=1)"
    when = "if axis 0 of the input is seq"
    if isinstance(answer, Skipped):
        return replace(answer, reason=f"{answer.reason}; {when}, {option}")
    if isinstance(answer, Finding):
        rows = [row for row in answer.rows if row[0] != "intended?"]
        return replace(answer, rows=[*rows, ("intended?", f"{option}, {when}")])
    return answer


def _is_clean(opened: Session, given: Given) -> bool:
    """Return whether samples along axis 1 are independent, as two probes find.

    The probe *batch* has to pass, at least for some outputs, and *alone*, which runs samples by
    themselves, to find nothing. ``opened`` runs copies of the model, and ``given`` are its inputs.
    """
    try:
        whole, _ = with_found_lengths(batch_of(given, 1), opened.model, opened.own_call)
        baseline, _ = baseline_of(opened, whole, Rules())
        mixed = PROBES["batch"].ask(baseline)
        if not isinstance(mixed, Passed) and getattr(mixed, "gap", None) != "partial":
            return False
        return not isinstance(PROBES["alone"].ask(baseline), Finding)
    except (ArgumentError, SpentError):
        return False


def _check(probe: Probe, answer: Outcome) -> Check:
    """Return the line of a report for a probe's answer."""
    is_judging = probe.is_judging
    if isinstance(answer, Passed):
        return Check(probe.name, "passed", answer.text, None, is_judging, answer.but)
    if isinstance(answer, Skipped):
        return Check(probe.name, "skipped", answer.reason, answer.gap, is_judging)
    return Check(probe.name, "failed", answer.what, None, is_judging)
