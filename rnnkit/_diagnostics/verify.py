"""``verify``: the mistakes that no shape can show, found by which output depends on which input."""

import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError, LeakError
from rnnkit._base.message import brief, refusal
from rnnkit._base.model import check_model
from rnnkit._diagnostics.absence import is_absent_again
from rnnkit._diagnostics.axes import check_dims, infer_batch_axes
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch, is_whole
from rnnkit._diagnostics.compare import scales_by_range
from rnnkit._diagnostics.isolation import EscapedError, Given, session
from rnnkit._diagnostics.judge import decide
from rnnkit._diagnostics.layouts import Swaps, read_seq_dim, swapped, swapping
from rnnkit._diagnostics.lengths import read_lengths
from rnnkit._diagnostics.probes import PROBES
from rnnkit._diagnostics.report import (
    LEFT_OUT,
    SAMPLES,
    Axis,
    Check,
    Layout,
    Outcome,
    Report,
    UnjudgedError,
    joined,
    note,
)


def verify(
    model: torch.nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    call: Callable[..., Any] | None = None,
    batch_dim: int = 0,
    seq_dim: int | Mapping[Any, int] | None = None,
    out_seq_dim: int | None = None,
    causal: bool | Literal["strict"] = False,
    streaming: bool = False,
    lengths: Any = None,
    pad: Literal["post", "pre"] = "post",
    skip: Sequence[str] = (),
    raises: bool = True,
) -> Report:
    """Find the mistakes that no shape can show: run the model on changed inputs and compare.

    Copies of the model run in eval mode, without gradients, a few dozen times, on at most four
    samples of the batch: the longest and the three shortest. The model itself is never run.

    Args:
        model: any module, with torch's recurrent modules or rnnkit's.
        *inputs: what it is called with, by position: tensors, or lists, tuples and dictionaries of
            them. The first tensor, ``(batch, seq, ...)`` unless told otherwise, says where the
            batch is, and how many samples and steps there are. Further ones may be
            ``(batch, seq, ...)``, ``(batch,)``, a state ``(layers, batch, hidden)``, or have no
            batch at all. With ``lengths``, the first one that is long enough says the steps.
        kwargs: what it is called with by keyword.
        call: calls the model, ``call(model, *inputs, **kwargs)``, if not as ``model(*inputs)``.
        batch_dim: the batch axis of the inputs.
        seq_dim: the seq axis of the inputs; None for the other one of axes 0 and 1; or, where they
            differ, a dictionary by input, its position or its keyword.
        out_seq_dim: the seq axis of the first output; None if it has none, or the axis that is as
            long as the input's.
        causal: whether a step of the output may depend on no later step of the input; or
            ``"strict"``, if not on its own step of the first input either.
        streaming: whether the whole sequence must give what its chunks give, the state that the
            model returned passed on.
        lengths: the samples' valid steps, ``(batch,)`` integers, where the inputs are padded; or a
            dictionary of them by input, its position or its keyword; False or None for none.
        pad: whether the padding is after a sample (``"post"``) or before it.
        skip: probes to leave out, by name: repeatable, batch (and with it alone), alone, padding,
            causal, memory, coverage, use, gradient, streaming.
        raises: whether to raise what is found; if not, it is in the report.

    Returns:
        What was checked, what was skipped and why, and the cost. Print it.

    Raises:
        LeakError: if a probe finds something; it names both ends, the first module where it shows,
            and the cause where that is known.
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
      intended?  rnnkit.verify(..., skip=['batch'])
      more       python -m rnnkit explain batch
    """
    check_model("verify", model)
    _check_choices(skip=skip, causal=causal, streaming=streaming, pad=pad, call=call, kwargs=kwargs)
    check_dims("batch_dim", batch_dim=batch_dim, out_seq_dim=out_seq_dim)
    start = time.perf_counter()
    given, is_wrapped = Given(inputs, dict(kwargs or {})), call is not None
    seq_dim, swaps = read_seq_dim(seq_dim, given)
    if swaps:
        given, call = swapped(given, swaps), swapping(call, swaps)
    told = read_lengths(None if lengths is False else lengths, given)
    whole = Batch(given, batch_dim, seq_dim, max(told.get(None, [0])))
    whole.lay(told)
    requested = {"causal": bool(causal), "streaming": streaming}
    probes = [name for name in PROBES if requested.get(name, True)]
    with session(model, call, given, "verify") as opened:
        opened.is_wrapped = is_wrapped
        try:
            if len(whole.leaves) > 1:
                infer_batch_axes(whole, opened.attempt)
            batch = whole.samples(whole.telling(SAMPLES))
            if batch.size < whole.size and opened.attempt(batch.tree()) is None:
                batch = whole  # a model for one batch size
            baseline = Baseline(
                opened,
                batch,
                post=pad == "post",
                out_seq_dim=out_seq_dim,
                strict=causal == "strict",
                twice="repeatable" not in skip,
            )
            report = baseline.report
            report.axes = _layout(baseline, swaps)
            _probe(baseline, probes, skip)
        except EscapedError as error:
            report = Report()
            reason = str(error).partition("\n")[0]
            report.checks = [Check(name, "skipped", reason) for name in probes]
        except RuntimeError as error:
            if "does not require grad" in str(error):
                error.add_note(
                    "rnnkit.verify runs the model without gradients: what is differentiated "
                    "inside of forward belongs under torch.enable_grad()"
                )
            raise
        if shared := opened.pristine.shared:
            note(report, f"not copied, but shared with the model: {', '.join(shared)}")
        report.passes = sum(one.passes for one in (opened, *opened.wider))
    asked = requested | {"alone": bool(told)}
    report.asked = [name for name, wanted in asked.items() if wanted and name not in skip]
    report.seconds = time.perf_counter() - start
    if report.findings and raises:
        raise joined(report.findings)
    return report


verify.__module__ = "rnnkit"

#: What would show in a probe as well, if it was found.
HIDING = {"padding": {"batch", "alone"}, "streaming": {"repeatable", "batch"}}

#: Probes that compare numbers with those of changed inputs.
COMPARING = ("batch", "alone", "padding", "causal", "streaming")

#: Probes that report that something is read by nothing.
ABSENCES = ("memory", "coverage", "use")

#: What a report says where the largest number of all is seen in each.
BY_RANGE = "a quantized layer rounds by the largest number of all: verify the model before that"


def _probe(baseline: Baseline, probes: Sequence[str], skip: Sequence[str]) -> None:
    """Run the probes that are not left out."""
    report = baseline.report
    for name in probes:
        found = {error.probe for error in report.findings}
        outcome: Outcome = "skipped"
        if name in skip:
            detail = LEFT_OUT
        elif name == "alone" and ("batch" in skip or "batch" in found):
            detail = "samples that may mix give something else alone"
        elif found & HIDING.get(name, set()):
            detail = "what is found already would show here, too"
        else:
            try:
                outcome, detail = "passed", decide(baseline, PROBES[name])
            except LeakError as error:
                if name in COMPARING and scales_by_range(baseline.session.model):
                    outcome, detail = "skipped", BY_RANGE
                else:
                    what = str(error).splitlines()[0]
                    # Without its last step, a sequence may end in one that is not read.
                    cuts = name != "coverage"
                    if name in ABSENCES and not is_absent_again(
                        baseline, PROBES[name], what, cuts_steps=cuts
                    ):
                        outcome, detail = "passed", f"not for other values, or another size: {what}"
                    else:
                        report.findings.append(error)
                        outcome, detail = "failed", what
            except UnjudgedError as error:
                outcome, detail = "skipped", str(error)
        report.checks.append(Check(name, outcome, detail))


def _check_choices(**given: Any) -> None:
    """Check the arguments of ``verify`` that are a choice, a function or a mapping."""
    skip, causal, call, kwargs = (given[name] for name in ("skip", "causal", "call", "kwargs"))
    listed = skip if isinstance(skip, tuple | list | set | frozenset) else [skip]
    wrong = [name for name in listed if not isinstance(name, str) or name not in PROBES]
    if wrong or listed is not skip:  # one name instead of a list of names
        one = wrong[0] if wrong else skip
        similar = get_close_matches(str(one).lower(), PROBES, n=1) if wrong else [skip]
        rows = [("fix", f"skip={similar!r}")] if similar else []
        rows.append(("probes", ", ".join(PROBES)))
        message = f"skip takes a list of probes by name, got {brief(one)}"
        refusal(ArgumentError, "skip", message, "", *rows, code="verify-probes")
    if not isinstance(causal, bool) and causal != "strict":
        message = f"causal is True, False or 'strict', got {brief(causal)}"
        refusal(ArgumentError, "causal", message, code="verify-causal")
    if not isinstance(given["streaming"], bool):
        message = f"streaming is True or False, got {brief(given['streaming'])}"
        refusal(ArgumentError, "streaming", message, code="verify-streaming")
    if not isinstance(given["pad"], str) or given["pad"] not in ("post", "pre"):
        message = f"pad is 'post' or 'pre', got {brief(given['pad'])}"
        refusal(ArgumentError, "pad", message, code="verify-pad")
    if call is not None and not callable(call):
        message = f"call is a function of the model and its inputs, got {brief(call)}"
        fix = ("fix", "call=lambda model, *inputs: model.encode(*inputs)")
        refusal(ArgumentError, "call", message, "", fix, code="verify-call")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        message = f"kwargs is a dictionary of inputs by their names, got {brief(kwargs)}"
        fix = ("fix", 'kwargs={"mask": mask}, by the name that forward has')
        refusal(ArgumentError, "kwargs", message, "", fix, code="verify-kwargs")


def _layout(baseline: Baseline, swaps: Swaps) -> Layout:
    """Return the axes of each input and output of a model, as they were found."""
    batch = baseline.batch
    # "seq" are the steps that are judged: other inputs may have steps of their own.
    steps = [batch.seq_dim if batch.has_steps(k) else None for k in range(len(batch.leaves))]
    paths: list[Any] = [
        path for path, _ in pytree.tree_flatten_with_path(batch.tree(), is_whole)[0]
    ]
    is_one = sum(isinstance(leaf, Tensor) for leaf in batch.leaves) == 1
    found: Layout = {}
    for leaf, path, at, seq in zip(batch.leaves, paths, batch.axes, steps, strict=True):
        key = path[1].idx if path[0].name == "args" else path[1].key
        name = f"input{pytree.keystr(path[1:])}" if path[0].name == "args" else str(key)
        name += "" if path[0].name == "args" else pytree.keystr(path[2:])
        axes = _axes(leaf, at, seq)
        if key in swaps and len(axes) > max(swaps[key]):
            one, other = swaps[key]
            axes[one], axes[other] = axes[other], axes[one]
        if axes:
            found["input" if is_one else name] = tuple(axes)
    for index, leaf in enumerate(baseline.normal):
        if axes := _axes(leaf, baseline.axes[index], baseline.step_axes[index]):
            found[baseline.name(index)] = tuple(axes)
    return found


def _axes(leaf: Any, batch: int | None, seq: int | None) -> list[Axis]:
    """Return the axes of a tensor by name, or by size; none of anything else."""
    axes: list[Axis] = list(leaf.shape) if isinstance(leaf, Tensor) else []
    for name, at in (("batch", batch), ("seq", seq)):
        if at is not None and axes:
            axes[at] = name
    return axes
