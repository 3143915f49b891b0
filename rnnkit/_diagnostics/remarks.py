"""What a report says of a model without any alarm: what its outputs read, and what they do not."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, changed, steps_at, valid_mask
from rnnkit._diagnostics.outputs import alike, is_number
from rnnkit._diagnostics.picture import DependencyMap, Rule
from rnnkit._diagnostics.slopes import Gradients, gradients_of
from rnnkit._diagnostics.streams import ways_to_carry


def remarks(baseline: Baseline, *, streaming: bool) -> Iterator[str]:
    """Yield a line for each thing that was measured, in words."""
    gradients = gradients_of(baseline)
    if gradients.are_whole and len(gradients.output) == len(baseline.normal):
        rows = steps_read(baseline, gradients)
        _draw(baseline, rows)
        if rows and not baseline.report.found("causal"):
            yield f"a step of {baseline.name(baseline.first or 0)} depends on {_in_words(rows)}"
        yield from _unread(baseline, gradients)
    if not streaming and next(ways_to_carry(baseline), None):
        yield "takes and returns a state: streaming=True checks that chunks match the whole"


def steps_read(baseline: Baseline, gradients: Gradients) -> dict[int, Tensor]:
    """Return which steps of the input the first, a middle and the last step of the output read."""
    batch, first, seq = baseline.batch, baseline.first, baseline.out_seq_dim
    if first is None or seq is None or not baseline.has_steps(first) or baseline.missing(first):
        return {}
    longest = [k for k, n in enumerate(baseline.counts or []) if n == batch.longest] or [0]
    output: Any = gradients.output[first]
    if not is_number(output) or not output.requires_grad:
        return {}
    found = {}
    for step in sorted({0, output.shape[seq] // 2, output.shape[seq] - 1}):
        at = gradients.places([output.select(seq, step)])
        if at is None or not bool(at[longest].any()):
            return {}
        found[step] = at[longest].any(0)
    return found


def _draw(baseline: Baseline, rows: dict[int, Tensor]) -> None:
    """Keep which steps of the output read which of the input, for a picture."""
    if rows:
        matrix, steps = torch.stack([*rows.values()]), tuple(range(baseline.batch.steps or 0))
        axes = baseline.batch.seq_dim, baseline.out_seq_dim or 0
        rule: Rule | None = None
        if baseline.causal in (True, "strict") and not baseline.lookahead:
            rule = "causal"
        found = DependencyMap(matrix, (*rows,), steps, *axes)
        baseline.report._maps["steps"] = found, rule  # noqa: SLF001 - it draws them


def _in_words(rows: dict[int, Tensor]) -> str:
    ends = [
        (step, *(read.nonzero().flatten()[[0, -1]] - step).tolist()) for step, read in rows.items()
    ]
    first, last = min(start for _, start, _ in ends), max(end for *_, end in ends)
    if all(bool(read.all()) for read in rows.values()):
        return "all steps"
    if last <= 0:
        return "its own and earlier steps" if first < 0 else "its own step only"
    middle = [end for step, _, end in ends if step + end < len(rows[step]) - 1]
    if middle and max(middle) == last:
        return f"up to {count(last, 'later step', 'later steps')}"
    return "earlier and later steps" if first < 0 else "its own and later steps"


def _unread(baseline: Baseline, gradients: Gradients) -> Iterator[str]:
    """Yield which inputs, and which steps at the end, no output reads."""
    batch = baseline.batch
    tensors = (k for k, x in enumerate(batch.leaves) if isinstance(x, Tensor) and x.dim())
    names = dict(zip(tensors, baseline.report.axes, strict=False))

    def is_idle(index: int, where: Where) -> bool:
        """Return whether no output changes: a flag, or what is rounded, has no gradient."""
        inputs = changed(batch, where, only=index)
        output = None if inputs is None else baseline.session.attempt(inputs)
        return output is not None and alike(baseline.normal, output)

    for index, source in gradients.sources.items():
        slope = source if index == batch.paced else gradients.whole[id(source)]
        unread = slope is None or not bool(slope.any())
        if unread and is_idle(index, lambda one, k: torch.ones_like(one.leaves[k]).bool()):
            yield f"{names[index]} reaches no output"
    read = gradients.places()
    if read is None or not batch.has_steps(batch.paced) or not bool(read.any()):
        return
    valid = valid_mask(batch, post=baseline.post)
    left = valid.flip(1).cumsum(1).flip(1)  # valid steps from each on
    most = left.amax(1, keepdim=True) + 1
    last = int(left.where(read & valid, most).amin(1).min()) - 1
    if last > 0 and is_idle(batch.paced, steps_at(valid & (left <= last))):
        steps = "valid step" if last == 1 else f"{last} valid steps"
        yield f"no output reads the last {steps} of {names[batch.paced]}"
