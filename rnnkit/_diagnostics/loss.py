"""A model that returns only a loss: a sample may scale another one's gradient, and not turn it.

A mean, a mask, class weights and a root scale the gradients of all samples alike.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import other_leaves, sample_at
from rnnkit._diagnostics.judge import judge
from rnnkit._diagnostics.outputs import is_number, tensors_of
from rnnkit._diagnostics.report import fail, note, skip
from rnnkit._diagnostics.slopes import Gradients

#: How far a gradient may turn, 1 - |cos|, in float64: by 4e-16 in correct losses.
TURNED = 1e-6
#: A smaller gradient, of the largest, has no direction, and a smaller change is none.
NOTHING = 1e-12
#: So many targets are changed, one by one.
TARGETS = 4


class Run(NamedTuple):
    """Where samples come in, and what modules returned: tensors, and their gradients."""

    place: Tensor
    slope: Tensor
    names: list[tuple[str, str]]
    returned: list[Tensor]
    slopes: list[Tensor]


def judge_loss(narrow: Baseline) -> str:
    """Fail if a change of a sample turns another one's gradient, and a module mixes them."""
    baseline = judge(narrow)
    batch, base = baseline.batch, _run(baseline, baseline.batch.leaves)
    if base is None:
        skip("a loss without a gradient: pass inputs with fractions, or tokens and their Embedding")
    given = {k: other_leaves(batch, sample_at(k), pad=False) for k in range(batch.size)}
    tried = {k: _run(baseline, leaves, base) for k, leaves in given.items()}
    runs = {k: run for k, run in tried.items() if run is not None}
    axes = (k for k, size in enumerate(base.place.shape) if size == batch.size)
    axis = next((k for k in axes if _follows(base, runs, k)), None)
    if axis is None:
        skip("a loss, and no place in the model follows the samples")
    turned = [
        (batch.numbers[sample], batch.numbers[other])
        for sample, run in runs.items()
        for other in _turned(base.slope, run.slope, axis)
        if other != sample
    ]
    if not turned:
        return "a loss: no sample turns the gradient of another one"
    one, other = turned[0]
    what = f"the gradient of the loss for sample {other} changes direction with sample {one}"
    for at, (name, kind) in enumerate(base.names):
        before = base.returned[at]
        fitting = [k for k, size in enumerate(before.shape) if size == batch.size]
        after = [run.returned[at] for run in runs.values()]
        if fitting and any(all(len(_moved(before, x, k)) > 1 for k in fitting) for x in after):
            means = "samples are mixed there, unless the loss compares them, as InfoNCE does"
            fail("batch", what, [("first", f"{name} ({kind}), output"), ("means", means)], name)
    if _are_mispaired(baseline, base, runs):
        text = "y.t().reshape(-1) for logits (seq, batch, ...): flatten both in one order"
        cause = ("cause", "each step of a sample meets the target of a different sample")
        fail("batch", what, [cause, ("fix", text)])
    note(narrow.report, f"{what}: the loss compares samples")
    return "a loss that compares samples; no module mixes them"


def _run(baseline: Baseline, leaves: Sequence[Any], like: Run | None = None) -> Run | None:
    """Run with gradients, and return the first place with fractions that gets one."""
    names, returned, embedded = list[tuple[str, str]](), list[Tensor](), list[Tensor]()

    def after(name: str, module: Any, result: Any) -> None:
        for x in tensors_of(result):
            if x.dim() > 1 and x.requires_grad:
                names.append((name or "the model", type(module).__name__))
                returned.append(x)
                embedded.extend([x] * isinstance(module, torch.nn.Embedding))

    def watch(copy: torch.nn.Module) -> list[Any]:
        return [
            module.register_forward_hook(lambda m, _, y, name=name: after(name, m, y))
            for name, module in copy.named_modules()
            if not isinstance(module, torch.jit.ScriptModule)
        ]

    run = Gradients(baseline.batch.with_leaves([*leaves]), baseline.session, watch=watch)
    places = [x for x in (*(x for x, _ in run.sources.values()), *embedded) if x.dim() > 1]
    every = run.slopes([*places, *returned], run.output)
    place = next(((x, s) for x, s in zip(places, every, strict=False) if s is not None), None)
    if place is None or (like and (names, place[0].shape) != (like.names, like.place.shape)):
        return None
    found = zip(returned, every[len(places) :], strict=True)
    slopes = [torch.zeros_like(x) if slope is None else slope for x, slope in found]
    return Run(*place, names, returned, slopes)


def _follows(base: Run, runs: dict[int, Run], axis: int) -> bool:
    """Return whether a change of a sample stays at its place of an axis."""
    found = (_moved(base.place, run.place, axis) == [sample] for sample, run in runs.items())
    return bool(runs) and all(found)


def _moved(before: Tensor, after: Tensor, axis: int) -> list[int]:
    if before.shape != after.shape:
        return []
    rows = (before - after).detach().abs().movedim(axis, 0).flatten(1).amax(1)
    return (rows > NOTHING).nonzero().flatten().tolist()


def _turned(before: Tensor, after: Tensor, axis: int) -> list[int]:
    """Return which rows of a gradient have another direction."""
    size = max(float(before.abs().max()), float(after.abs().max()))
    one, other = (x.movedim(axis, 0).flatten(1) / size for x in (before, after))
    sizes = one.norm(dim=1), other.norm(dim=1)
    turn = 1 - (one * other).sum(1).abs() / (sizes[0] * sizes[1]).clamp(min=NOTHING**2)
    found: Tensor = (turn > TURNED) & (torch.minimum(*sizes) > NOTHING)
    return [int(row) for row in found.nonzero()]


def _are_mispaired(baseline: Baseline, base: Run, runs: dict[int, Run]) -> bool:
    """Return whether single targets turn the gradient of one row each, another sample's."""
    batch = baseline.batch
    targets = [
        k
        for k, x in enumerate(batch.leaves)
        if k != batch.first and batch.has_steps(k) and x.dim() == 2 and not is_number(x)
    ]
    rows = base.returned[-1].flatten(0, -2) if base.returned else base.place[:0]
    if not targets or len(rows) != batch.leaves[targets[-1]].numel():
        return False
    index, owners = targets[-1], torch.full((len(rows),), -1, device="cpu")
    for sample, run in runs.items():
        owners[_moved(rows, run.returned[-1].flatten(0, -2), 0)] = sample
    is_other = False
    for number in range(TARGETS):
        leaves, sample = list(batch.leaves), number % batch.size
        leaves[index] = leaves[index].clone()
        row = leaves[index].select(batch.axes[index] or 0, sample)
        step = number * len(row) // TARGETS
        values = batch.leaves[index].unique()
        row[step] = values[values != row[step]][0] if len(values) > 1 else row[step]
        other = _run(baseline, leaves, base)
        slopes = [x.slopes[-1].flatten(0, -2) for x in (base, other) if x]
        turned = _turned(slopes[0], slopes[1], 0) if other else []
        if len(turned) != 1:
            return False
        is_other |= owners[turned[0]].item() not in (-1, sample)
    return is_other
