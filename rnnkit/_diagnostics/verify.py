"""``verify``: the mistakes that no shape can show, found by which output depends on which input."""

import operator
import time
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief
from rnnkit._diagnostics.batch import Batch, infer_batch_axes
from rnnkit._diagnostics.experiment import Baseline
from rnnkit._diagnostics.isolation import EscapedError, session
from rnnkit._diagnostics.probes.table import PROBES
from rnnkit._diagnostics.report import LEFT_OUT, SAMPLES, Report


def verify(
    model: torch.nn.Module,
    *inputs: Any,
    batch_dim: int = 0,
    seq_dim: int | None = None,
    out_batch_dim: int | None = None,
    out_seq_dim: int | None = None,
    causal: bool = False,
    lengths: Sequence[int] | Tensor | None = None,
    pad: Literal["post", "pre"] = "post",
    skip: Sequence[str] = (),
) -> Report:
    """Find the mistakes that no shape can show: run the model on changed inputs and compare.

    Copies of the model run in eval mode, without gradients, on at most four samples of the batch,
    a few dozen times; the model itself is never run.

    Args:
        model: any module, with torch's recurrent modules or rnnkit's. What it takes by keyword, or
            returns as a loss, goes through a wrapper: see the page on leaks.
        *inputs: what it is called with, by position: tensors, or lists, tuples and dictionaries of
            them. The first tensor, ``(batch, seq, ...)`` unless told otherwise, says where the
            batch lies, and how many samples and steps there are. Further ones may be
            ``(batch, seq, ...)``, ``(batch,)``, a state ``(layers, batch, hidden)``, or have no
            batch at all. With ``lengths``, the first one that is long enough says the steps.
        batch_dim: the batch axis of the inputs.
        seq_dim: the seq axis of the inputs; None for the other one of axes 0 and 1.
        out_batch_dim: the batch axis of the first output; None to find it by leaving a sample out.
        out_seq_dim: the seq axis of the first output; None if it has none, or the axis that is as
            long as the input's.
        causal: whether a step of the output may depend on no later step of the input.
        lengths: the samples' valid steps, ``(batch,)`` integers, where the inputs are padded.
        pad: whether the padding lies after a sample (``"post"``) or before it.
        skip: probes to leave out, by name: repeatable, batch (and with it alone), alone, padding,
            causal, memory, use.

    Returns:
        What was checked, what was skipped and why, and the cost. Print it.

    Raises:
        LeakError: if a probe finds something; it names both ends, the first module where it shows,
            and the cause where that is known.
        ArgumentError: if an argument is none of the above.

    >>> x = torch.randn(5, 7, 3)  # (batch, seq, feature)
    >>> report = rnnkit.verify(torch.nn.GRU(3, 4, batch_first=True), x, causal=True)
    >>> report.checked
    ['repeatable', 'batch', 'alone', 'causal', 'memory', 'use']
    >>> rnnkit.verify(torch.nn.GRU(3, 4), x)
    Traceback (most recent call last):
    rnnkit.LeakError: output of sample 1 depends on input of sample 0
      first     the model (GRU), output of call 0
      cause     the model reads axis 0 of its input as seq, but the batch lies there
      fix       GRU(..., batch_first=True), or input.transpose(0, 1)
      meant     if so: rnnkit.verify(..., skip=['batch'])
    """
    _check_arguments(model, pad, skip)
    start = time.perf_counter()
    told = None if lengths is None else _lengths(lengths)
    whole = Batch(inputs, batch_dim, seq_dim, max(told or [0]))
    counts = None if told is None else _fitting(whole, told)
    probes = [name for name in PROBES if name != "causal" or causal]
    with session(model) as opened:
        try:
            infer_batch_axes(whole, opened.takes)
            batch = whole.samples(range(min(whole.size, SAMPLES)))
            if batch.size < whole.size and not opened.takes(batch):
                # A model for one batch size is judged on a batch of that.
                batch = whole
            report = _probed(
                Baseline(
                    opened,
                    batch,
                    counts[: batch.size] if counts else None,
                    post=pad == "post",
                    out_batch_dim=out_batch_dim,
                    out_seq_dim=out_seq_dim,
                ),
                probes,
                skip,
            )
        except EscapedError as error:
            report = Report()
            for name in probes:
                report.skipped(name, str(error))
        except RuntimeError as error:
            if "does not require grad" in str(error):
                error.add_note(
                    "rnnkit.verify runs the model without gradients: what is differentiated "
                    "inside of forward belongs under torch.enable_grad()"
                )
            raise
        if shared := opened.pristine.shared:
            report.noted(f"not copied, but shared with the model: {', '.join(shared)}")
        report.passes = opened.passes
    report.seconds = time.perf_counter() - start
    return report


verify.__module__ = "rnnkit"


def _probed(baseline: Baseline, probes: Sequence[str], skip: Sequence[str]) -> Report:
    """Run the probes that are not left out."""
    report = baseline.report
    for name in probes:
        if name in skip:
            report.skipped(name, LEFT_OUT)
        elif name == "alone" and "batch" in skip:
            report.skipped(name, "samples that may mix give something else alone")
        else:
            PROBES[name](baseline)
    return report


def _check_arguments(model: Any, pad: Any, skip: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        message = f"model must be a torch.nn.Module, got {brief(model)}"
        raise ArgumentError(message, "model")
    if isinstance(skip, str) or not set(skip) <= set(PROBES):
        message = f"skip takes a list of {', '.join(PROBES)}, got {skip!r}"
        raise ArgumentError(message, "skip")
    if pad not in ("post", "pre"):
        message = f"pad is 'post' or 'pre', got {brief(pad)}"
        raise ArgumentError(message, "pad")


def _lengths(lengths: Any) -> list[int]:
    each = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    integers = isinstance(each, list | tuple) and all(hasattr(n, "__index__") for n in each)
    if integers and each and not any(isinstance(n, bool) for n in each):
        return [operator.index(n) for n in each]
    mask = isinstance(lengths, Tensor) and lengths.dim() == 2 and lengths.shape[1] > 1
    fix = "; of a mask, mask.sum(1)" if mask else ""
    message = f"lengths must be integers, one for each sample, got {brief(lengths)}{fix}"
    raise ArgumentError(message, "lengths")


def _fitting(batch: Batch, counts: list[int]) -> list[int]:
    steps = batch.steps
    if steps is None:
        message = f"lengths were given, but no input has an axis {batch.seq_dim} for seq"
        raise ArgumentError(message, "lengths")
    if len(counts) != batch.size or not all(0 < n <= steps for n in counts):
        message = (
            f"lengths must be {batch.size} counts from 1 to {steps}, one for each sample: "
            f"axis {batch.seq_dim} of the input is {steps} long"
        )
        raise ArgumentError(message, "lengths")
    return counts
