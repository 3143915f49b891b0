"""What a report says of a model without any alarm: what its outputs read, and what they do not."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import changed
from rnnkit._diagnostics.outputs import equal
from rnnkit._diagnostics.picture import DependencyMap, Rule
from rnnkit._diagnostics.slopes import gradients_of, steps_read
from rnnkit._diagnostics.streams import ways_to_carry


def remarks(baseline: Baseline, *, streaming: bool) -> Iterator[str]:
    """Yield a line for each thing that was measured, in words."""
    batch, gradients = baseline.batch, gradients_of(baseline)
    if gradients.are_whole and len(gradients.output) == len(baseline.normal):
        yield from _steps_read(baseline)
        tensors = (k for k, x in enumerate(batch.leaves) if isinstance(x, Tensor) and x.dim())
        names = dict(zip(tensors, baseline.report.axes, strict=False))
        for index, source in gradients.sources.items():
            slope = gradients.whole[id(source)]
            if slope is not None and bool(slope.any()):
                continue
            # A flag, or what is rounded, has no gradient.
            inputs = changed(batch, lambda b, k: torch.ones_like(b.leaves[k]).bool(), only=index)
            output = None if inputs is None else baseline.session.attempt(inputs)
            if output is not None and all(map(equal, baseline.normal, output)):
                yield f"{names[index]} reaches no output"
    if not streaming and next(ways_to_carry(baseline), None):
        yield "takes and returns a state: streaming=True checks that chunks match the whole"


def _steps_read(baseline: Baseline) -> Iterator[str]:
    """Yield which steps the first output reads, and keep that for a picture."""
    batch, seq, read = baseline.batch, baseline.out_seq_dim, steps_read(baseline)
    if not read or any("get no gradient" in check.detail for check in baseline.report.checks):
        return
    is_causal = baseline.causal in (True, "strict") and not baseline.lookahead
    rule: Rule | None = "causal" if is_causal else None
    matrix, columns = torch.stack([*read.values()]), torch.arange(batch.steps or 0, device="cpu")
    steps = torch.tensor([*read], device="cpu")
    if rule and "causal" in baseline.report.checked:  # what cancels out may leave a gradient
        matrix &= columns <= steps.unsqueeze(1)
    found = DependencyMap(matrix, (*read,), (*range(len(columns)),), batch.seq_dim, seq or 0)
    baseline.report._maps["steps"] = found, rule  # noqa: SLF001 - it draws them
    if baseline.report.found("causal"):
        return
    rows, places = matrix.nonzero().unbind(1)
    off = places - steps[rows]
    earliest, latest = int(off.min()), int(off.max())
    words = "earlier and later steps" if earliest < 0 else "its own and later steps"
    if matrix.all():
        words = "all steps"
    elif latest <= 0:
        words = "its own and earlier steps" if earliest < 0 else "its own step only"
    elif bool((off[places < len(columns) - 1] == latest).any()):
        words = f"up to {count(latest, 'later step', 'later steps')}"
    yield f"a step of {baseline.name(baseline.first or 0)} depends on {words}"
