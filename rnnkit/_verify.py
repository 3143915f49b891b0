"""``verify``: the mistakes that no shape can show, found by which output depends on which input."""

import time
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rnnkit._batches import Batch
from rnnkit._errors import ArgumentError
from rnnkit._probes import PROBES
from rnnkit._report import Report
from rnnkit._session import session
from rnnkit._subject import Subject

#: How many samples of a batch are tried: each is changed once.
SAMPLES = 4


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

    The model runs in eval mode, without gradients, on at most four samples of the batch, a few
    dozen times; modes, buffers, attributes, random numbers and gradients are left as they were.

    Args:
        model: any module, with torch's recurrent modules or rnnkit's.
        *inputs: what it is called with; tensors with a batch axis, tokens or numbers, padded.
        batch_dim: the batch axis of the inputs.
        seq_dim: the seq axis of the inputs; None for the other one of axes 0 and 1.
        out_batch_dim: the batch axis of the first output; None to find it by leaving a sample out.
        out_seq_dim: the seq axis of the first output; None if it has none, or the axis that is as
            long as the input's.
        causal: whether a step of the output may depend on no later step of the input.
        lengths: the samples' valid steps, where the inputs are padded.
        pad: whether the padding lies after a sample (``"post"``) or before it.
        skip: probes to leave out, by name: repeatable, batch (and with it alone), alone, padding,
            causal, memory, use.

    Returns:
        What was checked, what was skipped and why, and the cost. Print it.

    Raises:
        LeakError: if a probe finds something; it names both ends, the first module where it shows,
            and the cause where that is known.
        ArgumentError: if an argument is none of the above.

    >>> model = torch.nn.GRU(3, 4, batch_first=True)
    >>> report = rnnkit.verify(model, torch.randn(5, 7, 3), causal=True)
    >>> report.checked
    ['repeatable', 'batch', 'alone', 'causal', 'memory', 'use']
    """
    unknown = set(skip) - set(PROBES)
    if unknown or pad not in ("post", "pre"):
        message = f"skip takes names of {', '.join(PROBES)}; pad is 'post' or 'pre'"
        raise ArgumentError(message, "skip" if unknown else "pad")
    start = time.perf_counter()
    whole = Batch(inputs, batch_dim, seq_dim)
    counts = None if lengths is None else _counts(whole, lengths)[:SAMPLES]
    with session(model) as opened:
        whole.settle(opened.takes)
        batch = whole.samples(range(min(whole.size, SAMPLES)))
        if batch.size < whole.size and not opened.takes(batch):
            # A model for one batch size is judged on a batch of that.
            batch, counts = whole, None if lengths is None else _counts(whole, lengths)
        subject = Subject(
            opened,
            batch,
            counts,
            post=pad == "post",
            out_batch_dim=out_batch_dim,
            out_seq_dim=out_seq_dim,
        )
        report = subject.report
        for name, probe in PROBES.items():
            if name in skip:
                report.skipped(name, "left out by the caller")
            elif name == "alone" and "batch" in skip:
                report.skipped(name, "samples that may mix give something else alone")
            elif name != "causal" or causal:
                probe(subject)
        report.passes = opened.passes
    report.seconds = time.perf_counter() - start
    return report


verify.__module__ = "rnnkit"


def _counts(batch: Batch, lengths: Any) -> list[int]:
    each = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    steps = batch.steps or 0
    if len(each) != batch.size or not all(0 < int(n) <= steps for n in each):
        message = f"lengths must be {batch.size} counts from 1 to {steps}, one for each sample"
        raise ArgumentError(message, "lengths")
    return [int(n) for n in each]
