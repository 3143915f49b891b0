"""What a report says of a model without any alarm: what its outputs read, and what they do not."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import changed
from rnnkit._diagnostics.outputs import alike, is_number
from rnnkit._diagnostics.picture import DependencyMap, Rule
from rnnkit._diagnostics.slopes import Gradients, gradients_of
from rnnkit._diagnostics.streams import ways_to_carry


def remarks(baseline: Baseline, *, streaming: bool) -> Iterator[str]:
    """Yield a line for each thing that was measured, in words."""
    batch, gradients = baseline.batch, gradients_of(baseline)
    if gradients.are_whole and len(gradients.output) == len(baseline.normal):
        yield from _steps_read(baseline, gradients)
        tensors = (k for k, x in enumerate(batch.leaves) if isinstance(x, Tensor) and x.dim())
        names = dict(zip(tensors, baseline.report.axes, strict=False))
        for index, source in gradients.sources.items():
            slope = gradients.whole[id(source)]
            if slope is not None and bool(slope.any()):
                continue
            # A flag, or what is rounded, has no gradient.
            inputs = changed(batch, lambda b, k: torch.ones_like(b.leaves[k]).bool(), only=index)
            output = None if inputs is None else baseline.session.attempt(inputs)
            if output is not None and alike(baseline.normal, output):
                yield f"{names[index]} reaches no output"
    if not streaming and next(ways_to_carry(baseline), None):
        yield "takes and returns a state: streaming=True checks that chunks match the whole"


def _steps_read(baseline: Baseline, gradients: Gradients) -> Iterator[str]:
    """Yield which steps of the input the first, a middle and the last step of the output read."""
    batch, first, seq = baseline.batch, baseline.first, baseline.out_seq_dim
    if first is None or seq is None or not baseline.has_steps(first) or baseline.missing(first):
        return
    output, axis = baseline.arranged(gradients.output)[first], baseline.axes[first]
    if not is_number(output) or not output.requires_grad:
        return
    counts, last = batch.counts or [batch.longest or 0] * batch.size, output.shape[seq] - 1
    steps, read = sorted({0, (last + 1) // 2, last}), dict[int, Tensor]()
    longest = [sample for sample, n in enumerate(counts) if n == max(counts)]
    longest[1:] = [] if axis is None or baseline.report.found("batch") else longest[1:]
    output = output.unsqueeze(0) if axis is None else output.movedim((axis, seq), (0, 1))
    # One backward asks for a step of each sample, since they do not mix.
    for start in range(0, len(steps), len(longest)):
        pairs = [*zip(longest, steps[start:], strict=False)]
        told = [output[sample, step] for sample, step in pairs]
        at = gradients.places(told)
        read |= {} if at is None else {step: at[sample] for sample, step in pairs}
    if len(read) < len(steps) or not all(bool(row.any()) for row in read.values()):
        return
    rule: Rule | None = "causal" if baseline.causal in (True, "strict") else None
    matrix, columns = torch.stack([*read.values()]), tuple(range(batch.steps or 0))
    found = DependencyMap(matrix, (*read,), columns, batch.seq_dim, seq)
    baseline.report._maps["steps"] = found, None if baseline.lookahead else rule  # noqa: SLF001
    if baseline.report.found("causal"):
        return
    off = [(row.nonzero().flatten() - step).tolist() for step, row in read.items()]
    earliest, latest = min(map(min, off)), max(map(max, off))
    inner = [x[-1] for step, x in zip(steps, off, strict=True) if step + x[-1] < len(columns) - 1]
    words = "earlier and later steps" if earliest < 0 else "its own and later steps"
    if matrix.all():
        words = "all steps"
    elif latest <= 0:
        words = "its own and earlier steps" if earliest < 0 else "its own step only"
    elif inner and max(inner) == latest:
        words = f"up to {count(latest, 'later step', 'later steps')}"
    yield f"a step of {baseline.name(first)} depends on {words}"
