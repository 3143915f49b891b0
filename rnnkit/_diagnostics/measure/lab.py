"""The lower bound: a change of the inputs, and the restriction: a part of them by itself."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._base.errors import LeakError
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import Where, changed, other_leaves, steps_from
from rnnkit._diagnostics.inputs.dense import is_dense
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.judge import differences, differs, is_shown, judge
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.isolation import EscapedError
from rnnkit._diagnostics.run.outputs import Given, Leaves, is_number, largest, shape_of, tensors_of
from rnnkit._diagnostics.run.uncopied import UncopiedError
from rnnkit._diagnostics.tell.report import TOGETHER, UNCHANGED, UnjudgedError, fail, in_short, skip


def run_perturbed(baseline: Baseline, where: Where, **options: Any) -> "PerturbedRun | None":
    """Run the model on inputs that :func:`changed` makes; None if all of them stay as they were."""
    inputs = changed(baseline.batch, where, **options)
    return None if inputs is None else PerturbedRun(baseline, inputs)


class PerturbedRun:
    """The model on changed inputs, next to the model on the inputs as they are."""

    def __init__(self, baseline: Baseline, inputs: Given) -> None:
        """Run; a model may refuse what it was not given."""
        self.baseline = baseline
        self.inputs = inputs
        try:
            self.output: Leaves = baseline.session.run(inputs)
        except (EscapedError, UncopiedError):
            raise
        except Exception as error:
            message = f"the model refuses changed inputs ({in_short(error)}); {TOGETHER}"
            raise UnjudgedError(message) from error

    def has(self, index: int) -> bool:
        """Return whether an output has the same shape as without the change."""
        normal = self.baseline.normal
        output = self.output
        return len(output) == len(normal) and shape_of(output[index]) == shape_of(normal[index])

    def moved(self, index: int) -> Tensor:
        """Return at which valid ``(samples, steps)`` an output of the same shape is different."""
        baseline = self.baseline
        before, after = (baseline.arranged(one)[index] for one in (baseline.normal, self.output))
        off = differences(baseline, before, after, baseline.scale_of(index))
        return baseline.places(index, off).cpu()

    def shown(self, indices: Iterable[int], wrong: Tensor) -> tuple[int, list[list[int]]] | None:
        """Return the first output that moved where it must not, and at which (sample, step)s."""
        for index in filter(self.has, indices):
            moved = self.moved(index)
            moved &= wrong[:, : moved.shape[1]]
            if is_shown(self.baseline, moved):
                return index, moved.nonzero().tolist()
        return None


def comparable(runs: Iterable[PerturbedRun | None], indices: Collection[int]) -> list[PerturbedRun]:
    """Return the runs on changed inputs; skip a probe if some output has its shape in none."""
    made = [run for run in runs if run is not None]
    if not any(run.has(index) for run in made for index in indices):
        skip(f"changed inputs give outputs of other shapes; {TOGETHER}" if made else UNCHANGED)
    return made


def is_absent_again(baseline: Baseline, probe: Callable[[Baseline], str], what: str) -> bool:
    """Return whether a probe finds the same absence with other values and at a different size."""
    # A unit may be dead for some values, a flag be off, and what saturates reads nothing.
    batch = baseline.batch
    ranks = [len(shape_of(leaf) or ()) for leaf in baseline.normal]
    drawn = batch.with_leaves(other_leaves(batch, steps_from(0), 1, pad=False))
    drawn.second = batch.second and batch.leaves
    others = [drawn, drawn.with_leaves([_tamed(batch, k, x) for k, x in enumerate(batch.leaves)])]
    picking = _picking(drawn)
    if picking is not None:
        others.append(picking)
    longest = batch.longest or 0
    if longest > 3 and batch.has_steps(batch.paced):
        others.append(drawn.cut(longest - 1, front=baseline.post))
    elif batch.size > 2:
        others.append(drawn.samples(range(batch.size - 1)))
    for one in others:
        other = baseline.on(one)
        output = baseline.attempt(one)
        if output is None or [len(shape_of(leaf) or ()) for leaf in output] != ranks:
            continue
        other.normal = output
        other.report = replace(baseline.report, notes=[])
        try:
            probe(other)
        except UnjudgedError:
            continue
        except LeakError as error:
            # Other numbers belong to another size.
            is_smaller = (one.size, one.steps) != (batch.size, batch.steps)
            if is_smaller or str(error).partition("\n")[0] == what:
                continue
        return False
    return True


def _picking(batch: Batch) -> Batch | None:
    """Return the batch with other numbers for samples that may pick a step; None if none may.

    Numbers that are all the number of steps may be lengths: then the model reads the last step.
    """
    leaves = list(batch.leaves)
    for k, leaf in enumerate(leaves):
        is_number = is_dense(leaf) and leaf.dtype in (torch.int64, torch.int32)
        if not is_number or leaf.numel() != batch.size or batch.tells_lengths(k):
            continue
        if not bool((leaf == (batch.steps or 0)).all()):
            steps = torch.arange(batch.size, device=leaf.device) % max(batch.steps or 1, 1)
            leaves[k] = steps.to(leaf.dtype).view(leaf.shape)
    changed = any(one is not other for one, other in zip(batch.leaves, leaves, strict=True))
    return batch.with_leaves(leaves) if changed else None


def _tamed(batch: Batch, index: int, leaf: Any) -> Any:
    """Return numbers divided by their largest, labels all the same, and flags as most of them."""
    if index != batch.paced and isinstance(leaf, Tensor) and leaf.numel():
        if is_binary(leaf) and batch.length(index) and not batch.tells_lengths(index):
            return torch.full_like(leaf, float(0.5 < leaf.double().mean() < 1))  # no episode ends
        if batch.is_content(index) and not leaf.is_floating_point():
            return torch.full_like(leaf, leaf.double().median().item())
    size = largest(leaf) if is_number(leaf) and batch.is_content(index) else 0.0
    return leaf / size if size > 1 else leaf


class Part(NamedTuple):
    """A sample of an output, in a run of all and in one of some."""

    output: int
    sample: int
    before: Tensor
    after: Tensor


def restricted(
    baseline: Baseline, output: Leaves, samples: Sequence[int], only: int | None = None
) -> tuple[list[Part], Part | None]:
    """Compare a run of some samples with that of all: return the parts, and one that differs."""
    compared: list[Part] = []
    if len(output) != len(baseline.normal):
        return compared, None
    if len(samples) == baseline.batch.size:
        output = baseline.arranged(output)
    whole = baseline.arranged(baseline.normal)
    for index, axis in baseline.judged():
        if only not in (None, index) or not is_number(whole[index]):
            continue
        made = _with_batch_axis(output[index], whole[index], axis, len(samples))
        if made is None:
            continue
        for place, sample in enumerate(samples):
            part, scale = _part(baseline, index, sample, made, place)
            if part.before.shape != part.after.shape:
                continue
            compared.append(part)
            if differs(baseline, part.before, part.after, scale):
                return compared, part
    return compared, None


def _with_batch_axis(made: Any, whole: Tensor, axis: int, count: int) -> Tensor | None:
    """Return an output with its batch axis, which a batch of one may lose; None if it differs."""
    if not isinstance(made, Tensor):
        return None
    if count == 1 and made.dim() == whole.dim() - 1:
        made = made.unsqueeze(axis)
    fits = made.dim() == whole.dim() and made.shape[axis] == count
    return made if fits else None


def _part(
    baseline: Baseline, index: int, sample: int, made: Tensor, place: int
) -> tuple[Part, Tensor]:
    """Return a sample of an output in both runs, and how large its features are."""
    axis = baseline.axes[index] or 0
    whole = baseline.arranged(baseline.normal)[index]
    after = made.select(axis, place)
    if after.shape == whole.select(axis, sample).shape:
        after = baseline.row(made, index, sample, place)
    # Of an output with other steps, as with a stride, a sample returns the first ones.
    kept = tuple(map(slice, after.shape if baseline.post else ()))
    before = baseline.row(whole, index, sample)[kept]
    scale = baseline.row(baseline.scale_of(index), index, sample)[kept]
    return Part(index, sample, before, after), scale


def check_orders(baseline: Baseline) -> None:
    """Run the samples in two different orders; fail if one returns something else."""
    counts = baseline.batch.valid_steps()
    for falling in (True, False) if len(set(counts)) > 1 else ():
        # Sorted by length and moved on by one, so that no model's sorting undoes itself.
        first, *rest = sorted(range(len(counts)), key=counts.__getitem__, reverse=falling)
        output = baseline.attempt(baseline.batch.samples([*rest, first])) or []
        part = restricted(baseline, output, [*rest, first])[1]
        # A model may count on a batch with the longest first.
        if part is not None and counts != sorted(counts, reverse=True):
            numbers = ", ".join(str(baseline.batch.numbers[k]) for k in (*rest, first))
            of = baseline.of_sample(part.output, part.sample)
            fix = "output[order.argsort()] instead of output[order], where order sorts the samples"
            what = f"with the samples in the order {numbers}, {of} is not what it was"
            fail("alone", what, [("fix", fix)])


def trained_otherwise(baseline: Baseline) -> Iterator[Gradients]:
    """Run with other values of the parameters and the inputs, as far as the model takes them."""
    wide = judge(baseline)  # in float32, much is zero that is only small
    batch = wide.batch
    generator = torch.Generator("cpu").manual_seed(0)
    tried = [(1, list(batch.leaves))]
    tried += [(sign, _redrawn(batch, seed, generator)) for seed, sign in enumerate((-1, 1))]
    tried += [(1, leaves) for leaves in _doubled(batch)]
    for sign, leaves in tried:
        copy = wide.session.fresh().train()
        for weight in copy.parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator, device="cpu").to(weight)
                size = 0.1 + weight.data.abs().mean().nan_to_num()
                weight.data = sign * weight.data + noise * size
        run = Gradients(batch.with_leaves(leaves), wide.session, copy)
        if any(x.requires_grad for x in tensors_of(run.output)):
            yield run


def _redrawn(batch: Batch, seed: int, generator: torch.Generator) -> list[Any]:
    """Return other inputs, with numbers also where one input has the same number everywhere."""
    leaves = other_leaves(batch, steps_from(0), seed, pad=False)
    for index, leaf in enumerate(leaves):
        is_table = is_dense(leaf) and leaf.dim() > 1
        if is_table and bool((leaf == leaf.flatten()[:1]).all()):  # as flags that are never set
            drawn = torch.rand(leaf.shape, generator=generator, device="cpu")
            leaves[index] = drawn.round().to(leaf)
    return leaves


def _doubled(batch: Batch) -> Iterator[list[Any]]:
    """Yield inputs with an axis of one doubled: one sentence says nothing of joining several."""
    for axis in (0, 1):
        single = {
            k for k, x in enumerate(batch.leaves) if is_dense(x) and x.shape[axis:][:1] == (1,)
        }
        if single:
            yield [
                torch.cat([leaf, leaf.roll(1)], axis) if index in single else leaf
                for index, leaf in enumerate(batch.leaves)
            ]
