"""``verify``: the mistakes that no shape can show, found by which output depends on which input."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import torch
from torch import Tensor

from rnnkit._base.errors import LeakError
from rnnkit._base.keywords import known_keywords
from rnnkit._base.model import check_model
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.by_input import by_input
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.judge import decide
from rnnkit._diagnostics.measure.lab import is_absent_again
from rnnkit._diagnostics.measure.prepared import Rules, baseline_of, find_lengths
from rnnkit._diagnostics.options import OTHER_NAMES, check_options
from rnnkit._diagnostics.other_axis import advise_other_axis
from rnnkit._diagnostics.probes.alone import probe_alone
from rnnkit._diagnostics.probes.batch import probe_batch
from rnnkit._diagnostics.probes.causal import probe_causal
from rnnkit._diagnostics.probes.coverage import probe_coverage
from rnnkit._diagnostics.probes.gradient import probe_gradient
from rnnkit._diagnostics.probes.memory import probe_memory
from rnnkit._diagnostics.probes.padding import probe_padding
from rnnkit._diagnostics.probes.remarks import remarks
from rnnkit._diagnostics.probes.repeatable import probe_repeatable
from rnnkit._diagnostics.probes.reset import probe_reset
from rnnkit._diagnostics.probes.streaming import probe_streaming
from rnnkit._diagnostics.probes.use import probe_use
from rnnkit._diagnostics.run.isolation import EscapedError, session
from rnnkit._diagnostics.run.outputs import Given
from rnnkit._diagnostics.tell.report import (
    LEFT_OUT,
    NO_LENGTHS,
    Check,
    Report,
    UnjudgedError,
    joined,
    joined_by_and,
)

#: Each returns what holds, or raises; and the findings that would show in it as well. What is not
#: repeatable would look like something else, so that comes first.
PROBES: dict[str, tuple[Callable[[Baseline], str], Sequence[str]]] = {
    "repeatable": (probe_repeatable, ()),
    "batch": (probe_batch, ()),
    "alone": (probe_alone, ["batch"]),
    "padding": (probe_padding, ["batch", "alone"]),
    "causal": (probe_causal, ()),
    "reset": (probe_reset, ()),
    "memory": (probe_memory, ()),
    "coverage": (probe_coverage, ()),
    "use": (probe_use, ()),
    "gradient": (probe_gradient, ["use"]),
    "streaming": (probe_streaming, ["repeatable", "batch"]),
}


@known_keywords("verify-argument", OTHER_NAMES)
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
    skip: Sequence[str] = (),
    raises: bool = True,
) -> Report:
    """Find the mistakes that no shape can show: run the model on changed inputs and compare.

    Copies of the model run a few dozen times, some in train mode, on at most four samples of the
    batch: the longest and the three shortest. The model itself is never run.

    Args:
        model: any module, with torch's recurrent modules or rnnkit's.
        *inputs: what it is called with: tensors, or lists, tuples and dictionaries of them. The
            first tensor, ``(batch, seq, ...)`` by default, shows where the batch is. Others may be
            ``(batch, seq, ...)``, ``(batch,)``, ``(layers, batch, hidden)``, or have no batch.
        kwargs: what it is called with by keyword.
        call: calls the model, ``call(model, *inputs, **kwargs)``, if not as ``model(*inputs)``.
        batch_dim: the batch axis of the inputs.
        seq_dim: the seq axis of the inputs, by default the other one of axes 0 and 1; or a
            dictionary by input, ``{position or keyword: axis}``.
        out_seq_dim: the seq axis of the first output, by default the one that follows the input's.
        causal: whether a step of the output may depend on no later step of the input; or
            ``"strict"``, if not on its own step of the first input either; or ``"others"``, if on
            all steps but its own, as of a cloze.
        lookahead: how many later steps a causal model may read.
        streaming: whether chunks, passing the state along, must return what the whole returns.
        lengths: the samples' valid steps, ``(batch,)`` integers, if the inputs are padded; or a
            dictionary by input, ``{position or keyword: lengths}``.
        reset: the input that flags where a sample starts afresh, by position or keyword: from a
            flagged step on, an output must not depend on anything before it.
        pad: whether the padding is after a sample (``"post"``) or before it (``"pre"``).
        other: a second batch of the same shapes, for inputs that must change together, as data and
            a mask: a tuple of the inputs and, if any, the ``kwargs``. By default, changed values
            are drawn from those that occur, and masks and lengths stay.
        skip: probes to leave out, by name: repeatable, batch (and with it alone), alone, padding,
            causal, reset, memory, coverage, use, gradient, streaming.
        raises: whether to raise what is found; if not, it is in the report.

    Returns:
        What was checked, what was skipped and why, and the cost. Print it.

    Raises:
        LeakError: if a probe finds something; it names both ends and, if known, the cause.
        ArgumentError: if an argument is none of the above.

    >>> x = torch.randn(5, 7, 3)  # (batch, seq, feature)
    >>> report = rnnkit.verify(torch.nn.GRU(3, 4, batch_first=True), x, causal=True)
    >>> report.checked
    ['repeatable', 'batch', 'alone', 'causal', 'memory', 'coverage', 'use', 'gradient']
    >>> rnnkit.verify(torch.nn.GRU(3, 4), x)
    Traceback (most recent call last):
    rnnkit.LeakError: output[0] of sample 1 depends on input of sample 0
      first      the model (GRU), output of call 0
      cause      the model reads axis 0 of its input as seq, but the batch is there
      fix        GRU(..., batch_first=True), or input.transpose(0, 1)
      intended?  rnnkit.verify(..., batch_dim=1), if axis 0 of the input is seq
      more       python -m rnnkit explain batch
    """
    check_model("verify", model)
    check_options(
        [*PROBES],
        kwargs=kwargs,
        call=call,
        out_seq_dim=out_seq_dim,
        causal=causal,
        lookahead=lookahead,
        streaming=streaming,
        reset=reset,
        pad=pad,
        other=other,
        skip=[skip] if isinstance(skip, str) else skip,
        raises=raises,
    )
    skip = [skip] if isinstance(skip, str) else [*skip]
    start = time.perf_counter()
    given = Given(inputs, dict(kwargs or {}))
    flags = by_input("reset", None if reset is None else {reset: reset}, given)
    whole = Batch(given, batch_dim, seq_dim, lengths)
    is_after = pad == "post"
    lines = list[str]()
    if lengths is None:
        is_after, lines = find_lengths(whole, model, call, is_after=is_after)
    if other is not None:
        whole.take_second(other)
    asked = {"causal": bool(causal), "reset": reset is not None, "streaming": streaming}
    probes = [name for name in PROBES if asked.get(name, True)]
    with session(model, call, given, "verify") as opened:
        try:
            whole.flags = next((whole.places(name)[0] for name in flags), None)
            rules = Rules(is_after, causal, lookahead, out_seq_dim)
            baseline, told = baseline_of(opened, whole, rules)
            lines += told
            report = baseline.report
            report.axes = _layout(baseline)
            for name in probes:
                report.checks.append(_check(baseline, name, skip))
            if seq_dim is None and lengths is None:
                advise_other_axis(report, opened, given, batch_dim, model)
            report.notes += lines
            with suppress(UnjudgedError):
                report.notes += remarks(baseline, streaming=streaming)
            del baseline  # which the traceback of what is raised would keep
        except EscapedError as error:
            reason = str(error).partition("\n")[0]
            report = Report([Check(name, "skipped", reason, "unjudged") for name in probes])
        report.notes += opened.notes
        report.passes = opened.passes
    asked["alone"] = bool(whole.lengths) and lengths is not None and "batch" not in skip
    report.asked = [name for name, wanted in asked.items() if wanted and name not in skip]
    report.seconds = time.perf_counter() - start
    # Another probe says more of the same mistake: which steps are wrong, or which lengths.
    report.findings.sort(key=lambda error: error.probe == "alone")
    report.notes[:] = dict.fromkeys(report.notes)
    if report.findings and raises:
        raise joined(report.findings)
    return report


verify.__module__ = "rnnkit"


def _check(baseline: Baseline, name: str, skip: Sequence[str]) -> Check:
    """Run a probe unless it is left out; return how it went, and keep what it found."""
    report = baseline.report
    (probe, hiding) = PROBES[name]
    if name in skip or (name == "alone" and "batch" in skip):
        return Check(name, "skipped", LEFT_OUT, "unjudged")
    if name == "padding" and not baseline.batch.lengths:
        return Check(name, "skipped", NO_LENGTHS, "inapplicable")
    if any(map(report.found, hiding)):
        return Check(name, "skipped", "an earlier finding would also show here", "unjudged")
    try:
        holds = decide(baseline, probe)
        if name == "batch" and baseline.shared:
            inputs = joined_by_and(baseline.shared)
            unknown = (
                f"{inputs} has as many rows as the batch: whether it mixes samples is not known"
            )
            return Check(name, "skipped", f"{unknown}; nothing else does", "partial")
        return Check(name, "passed", holds)
    except UnjudgedError as error:
        return Check(name, "skipped", str(error), error.gap)
    except LeakError as error:
        what = str(error).partition("\n")[0]
        leak = LeakError(str(error), error.probe, error.module)  # keeps no frame, and so no copy
    is_absence = name in ("memory", "coverage", "use")
    if is_absence and not is_absent_again(baseline, probe, what):
        if name == "coverage":  # some step of this batch is not read
            return Check(name, "skipped", f"with these values, {what}", "partial")
        return Check(name, "passed", f"not for other values, or another size: {what}")
    report.findings.append(leak)
    return Check(name, "failed", what)


def _layout(baseline: Baseline) -> dict[str, tuple[str | int, ...]]:
    """Return the axes of each input and output of a model, as they were found."""
    batch = baseline.batch
    found = list[tuple[str, Any, int | None, int | None]]()
    for k, (name, leaf) in enumerate(zip(batch.names, batch.leaves, strict=True)):
        # "seq" are the steps that are judged: other inputs may have steps of their own.
        found.append((name, leaf, batch.axes[k], batch.seq_dims[k] if batch.has_steps(k) else None))
    for k, leaf in enumerate(baseline.normal):
        seq = baseline.step_axes[k] if baseline.pacers[k] == batch.paced else None
        found.append((baseline.name(k), leaf, baseline.axes[k], seq))
    layout = dict[str, list[Any]]()
    for name, leaf, at, seq in found:
        if isinstance(leaf, Tensor) and leaf.dim():
            names = {seq: "seq", at: "batch"}
            layout[name] = [names.get(k, size) for k, size in enumerate(leaf.shape)]
    for k, flat in baseline.session.flats.items():
        axes = layout[baseline.name(k)]
        axes[flat.axis : flat.axis + 2] = [" * ".join(map(str, axes[flat.axis : flat.axis + 2]))]
    return {name: tuple(axes) for name, axes in layout.items()}
