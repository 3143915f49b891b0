"""A model that returns only a loss: a sample may scale another one's gradient, and not turn it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, sample_at
from rnnkit._diagnostics.judge import judge, near
from rnnkit._diagnostics.outputs import along, is_number, largest, tensors_of
from rnnkit._diagnostics.report import fail, skip
from rnnkit._diagnostics.slopes import Gradients

#: How far a gradient may turn, 1 - |cos|, in float64: a mean, weights or a root turn it by 4e-16.
TURNED = 1e-6
#: A gradient below this part of the largest has no direction, and a smaller change is none.
NOTHING = 1e-12
#: How many times as far apart targets are put, to see whose they are.
SPREAD = 100

#: What a module is called, what it returned, and the gradient of that; first the inputs.
Made = list[tuple[str, Tensor, Tensor]]


def judge_loss(narrow: Baseline) -> str:
    """Fail if a change of a sample turns another one's gradient, and a module mixes them."""
    baseline = judge(narrow)
    batch, base = baseline.batch, _run(baseline, baseline.batch.leaves)
    start = next((k for k, (_, _, slope) in enumerate(base) if bool(slope.any())), None)
    if start is None:
        skip("a loss without a gradient: pass inputs with fractions, or tokens and their Embedding")
    given = [other_leaves(batch, sample_at(k), pad=False) for k in range(batch.size)]
    runs = {k: run for k, leaves in enumerate(given) if (run := _run(baseline, leaves, base))}
    _, place, slope = base[start]
    axes = [
        axis
        for axis, size in enumerate(place.shape)
        if size == batch.size
        and all(_moved(place, run[start][1], axis) == [k] for k, run in runs.items())
    ]
    if not runs or not axes:
        skip("a loss, and no module follows the samples: verify what returns the scores")
    turned = [
        (sample, other)
        for sample, run in runs.items()
        for other in _turned(slope, run[start][2], axes[0])
        if other != sample
    ]
    if not turned:
        if start == 0:
            _find_broadcast(baseline, base)
        return "a loss: no sample turns the gradient of another one"
    one, other = (batch.numbers[sample] for sample in turned[0])
    what = f"the loss's gradient for sample {other} changes direction when sample {one} changes"
    for at, (name, before, _) in enumerate(base):
        fitting = [axis for axis, size in enumerate(before.shape) if size == batch.size]
        after = [run[at][1] for run in runs.values()]
        if fitting and any(all(len(_moved(before, x, k)) > 1 for k in fitting) for x in after):
            means = "samples are mixed there, unless the loss compares them, as InfoNCE does"
            module = name.partition(" (")[0]
            fail("batch", what, [("first", f"{name}, output"), ("means", means)], module)
    # Other targets of a sample turn a row each: its own ones, or those that they are paired with.
    (sample, run), (_, rows, old) = next(iter(runs.items())), base[-1]
    own = {*_moved(rows.flatten(0, -2), run[-1][1].flatten(0, -2), 0)}
    text = "y.t().reshape(-1) for logits (seq, batch, ...): flatten both in one order"
    cause = ("cause", "steps of a sample meet the targets of other samples")
    for k, target in enumerate(batch.leaves):
        is_target = k != batch.first and batch.has_steps(k) and not is_number(target)
        if is_target and target.dim() == 2 and rows[..., 0].numel() == target.numel():
            axis, leaves = batch.axes[k] or 0, list(batch.leaves)
            mask = along(target, axis, torch.arange(batch.size, device=target.device) == sample)
            leaves[k] = torch.where(mask, target.roll(1, axis), target)
            for *_, new in _run(baseline, leaves, base)[-1:]:
                paired = _turned(old.flatten(0, -2), new.flatten(0, -2), 0)
                # Fewer, where some targets are ignored.
                if len(paired) <= int((leaves[k] != target).sum()) and not {*paired} <= own:
                    fail("batch", what, [cause, ("fix", text)])
    narrow.report.notes.append(f"{what}: the loss compares samples")
    return "a loss that compares samples; no module mixes them"


def _find_broadcast(baseline: Baseline, like: Made) -> None:
    """Fail if each prediction meets all targets: which of them is its own then changes nothing.

    A loss that adds a term for each target has the same gradient if all samples get one target,
    and is right; that of a loss that broadcasts changes.
    """
    size = baseline.batch.size
    ignores_which_target = set[bool]()
    for leaves in (baseline.batch.leaves, _spread_targets(baseline.batch)):
        batch = baseline.batch.with_leaves(leaves)
        each = _Targets(baseline, like, batch, range(size))
        moved = _Targets(baseline, like, batch, [*range(1, size), 0])
        one = _Targets(baseline, like, batch, [0] * size)
        if not (each.is_known and moved.is_known and one.is_known):
            return
        if not each.has_gradient_of(moved) or not each.has_loss_of(moved):
            return
        ignores_which_target.add(each.has_gradient_of(one))
    if False not in ignores_which_target:
        return
    what = "the loss stays the same when each sample gets the target of another one"
    ways = "prediction.squeeze(-1), or target.unsqueeze(-1)"
    fail("batch", what, [("fix", f"{ways}: (batch,) broadcasts against (batch, 1)")])


class _Targets:
    """A loss, and its gradient in the first input, with the targets of some samples."""

    def __init__(self, baseline: Baseline, like: Made, batch: Batch, kept: Sequence[int]) -> None:
        """Run the model, twice: the loss is judged as any output is."""
        moved = batch.samples(kept)
        moved.leaves[batch.first] = batch.leaves[batch.first]
        self.baseline = baseline
        self.losses = baseline.session.attempt(moved.tree()) or []
        self.made = _run(baseline, moved.leaves, like)
        self.is_known = bool(self.made) and len(self.losses) == len(baseline.normal)

    def has_gradient_of(self, other: "_Targets") -> bool:
        """Return whether the gradient has the same direction and the same shares."""
        one, two = self.made[0][2], other.made[0][2]
        return near(self.baseline, one / largest(one), two / largest(two))

    def has_loss_of(self, other: "_Targets") -> bool:
        """Return whether the loss is the same."""
        pairs = zip(self.losses, other.losses, strict=True)
        return all(near(self.baseline, *pair) for pair in pairs if is_number(pair[0]))


def _spread_targets(batch: Batch) -> list[Any]:
    """Return the inputs with targets far apart, above and below all predictions.

    An absolute error of predictions that are all on one side of the targets is a difference of
    means, which no other order changes. Whole numbers stay: they may be classes.
    """
    leaves = list(batch.leaves)
    for k, leaf in enumerate(leaves):
        is_target = k != batch.first and batch.axes[k] is not None and is_number(leaf)
        if is_target and leaf.isfinite().all() and not bool((leaf == leaf.round()).all()):
            leaves[k] = leaf.mean() + SPREAD * (leaf - leaf.mean())
    return leaves


def _run(baseline: Baseline, leaves: Sequence[Any], like: Made | None = None) -> Made:
    """Run with gradients, and return what has one, in the order of time; if alike."""
    run = Gradients(baseline.batch.with_leaves([*leaves]), baseline.session)
    every = [("the input", source) for source in run.sources.values()]
    for (name, _), result in run.returned.items():
        label = f"{name or 'the model'} ({type(run.model.get_submodule(name)).__name__})"
        every += [(label, x) for x in tensors_of(result)]
    made = [(label, x) for label, x in every if x.dim() > 1 and x.requires_grad]
    if like is not None and [(n, x.shape) for n, x in made] != [(n, x.shape) for n, x, _ in like]:
        return []
    slopes = zip(made, run.slopes([x for _, x in made], run.output), strict=True)
    return [(*one, torch.zeros_like(one[1]) if slope is None else slope) for one, slope in slopes]


def _moved(before: Tensor, after: Tensor, axis: int) -> list[int]:
    """Return which rows differ."""
    rows = (before - after).detach().abs().movedim(axis, 0).flatten(1).amax(1)
    return (rows > NOTHING).nonzero().flatten().tolist()


def _turned(before: Tensor, after: Tensor, axis: int) -> list[int]:
    """Return which rows of a gradient have another direction."""
    size = max(float(before.abs().max()), float(after.abs().max()))
    one, other = (x.movedim(axis, 0).flatten(1) / size for x in (before, after))
    sizes = one.norm(dim=1), other.norm(dim=1)
    turn = 1 - (one * other).sum(1).abs() / (sizes[0] * sizes[1]).clamp(min=NOTHING**2)
    return [int(row) for row in ((turn > TURNED) & (torch.minimum(*sizes) > NOTHING)).nonzero()]
