"""Float64 is the judge: where bits differ, it says whether that is more than rounding."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.compare import apart, eps_of, is_number, largest
from rnnkit._diagnostics.outputs import same, shape_of
from rnnkit._diagnostics.report import AMPLIFIES, UnjudgedError, note, skip
from rnnkit._diagnostics.widened import open_wide, widest

T = TypeVar("T")

#: By how much of its size a feature may move in float64.
JUDGED = 1e-9
#: A tolerance beyond this sees nothing.
COARSE = 0.01
#: How many times the measured effect of rounding two kernels may differ.
AMPLIFIED = 50


class DoubtError(Exception):
    """Bits differ: the judge, in float64, has to say whether that is rounding."""


def agree(baseline: Baseline, index: int, before: Tensor, after: Tensor, take: Take) -> bool:
    """Return whether a part of an output is the same."""
    if same(before, after):
        return True
    if before.shape != after.shape or before.dtype is not after.dtype:
        return False
    return not is_shown(baseline, differences(baseline, index, before, after, take))


def differences(
    baseline: Baseline,
    index: int,
    before: Tensor,
    after: Tensor,
    take: Take = lambda leaf: leaf,
    *,
    exact: bool = False,
) -> Tensor:
    """Return where a part of an output differs by more than rounding, number by number."""
    if exact or baseline.tolerance is None or not is_number(before):
        return ~((before == after) | ((before != before) & (after != after)))  # noqa: PLR0124
    return apart(before, after) > baseline.tolerance * take(baseline.scale_of(index))


def is_shown(baseline: Baseline, mask: Tensor) -> bool:
    """Return whether a difference is anywhere; bits that differ are left to the judge."""
    if baseline.tolerance is None and bool(mask.any()):
        raise DoubtError
    return bool(mask.any())


def _off(baseline: Baseline, index: int, before: Tensor, after: Tensor, take: Take) -> float:
    """Return by how much of its size a feature has moved at most."""
    if not is_number(before):
        return torch.inf
    return (apart(before, after) / take(baseline.scale_of(index))).max().item()


def near(baseline: Baseline, before: Tensor, after: Tensor) -> bool:
    """Return whether two tensors are the same, that are no part of an output; as `agree`."""
    if same(before, after):
        return True
    if baseline.tolerance is None:
        raise DoubtError
    if not is_number(before) or before.shape != after.shape:
        return False
    return bool(apart(before, after).max() <= baseline.tolerance * largest(before))


def judge(baseline: Baseline) -> Baseline:
    """Return the same where rounding is small: in float64, or in float32, if the model runs."""
    if baseline.judge is not None:
        return baseline.judge
    for least in (torch.float64, torch.float32):
        if (wide := _widened(baseline, least)) is not None:
            break
    else:
        wide = baseline.on(baseline.batch)
        tensors = [*baseline.session.model.parameters(), *baseline.batch.leaves, *baseline.normal]
        coarsest = max(filter(is_number, tensors), key=eps_of)
        least, wide.tolerance = coarsest.dtype, 1000 * eps_of(coarsest)
        if wide.tolerance > COARSE:
            skip(f"{str(least)[6:]} rounds too much, and the model runs in nothing wider")
    wide.again, baseline.judge = None, wide
    if least is not torch.float64:
        text = f"judged in {str(least)[6:]}: the model does not run in float64"
        note(baseline.report, text)
    return wide


def decide(baseline: Baseline, probe: Callable[[Baseline], T]) -> T:
    """Run a probe; the judge decides where bits differ."""
    try:
        return probe(baseline)
    except DoubtError:
        pass  # the next error has a different cause
    return probe(judge(baseline))


def for_other_sizes(baseline: Baseline) -> Baseline:
    """Return the judge, since runs of other sizes nearly always differ in their last bits."""
    try:
        return judge(baseline)
    except UnjudgedError:
        return baseline  # bits may be equal


def _widened(baseline: Baseline, least: torch.dtype) -> Baseline | None:
    """Return the same in a wider dtype; None if the model does not run in it."""
    leaves = [widest(x, least) if isinstance(x, Tensor) else x for x in baseline.batch.leaves]
    wide = baseline.on(baseline.batch.with_leaves(leaves))
    try:
        wide.session = open_wide(baseline.session, least)
        wide.normal = wide.session.run(wide.batch.tree())
    except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
        return None
    wide.tolerance = JUDGED if least is torch.float64 else 1000 * torch.finfo(least).eps
    narrow = (is_number(x) and widest(x, least) is not x for x in wide.normal)
    shapes = list(map(shape_of, wide.normal)), list(map(shape_of, baseline.normal))
    return None if any(narrow) or shapes[0] != shapes[1] else wide


def refuse_chance(
    baseline: Baseline, index: int, before: Tensor, after: Tensor, take: Take
) -> None:
    """Skip a probe that compares runs of different sizes if rounding may do as much."""
    if _off(baseline, index, before, after, take) <= AMPLIFIED * _amplified(baseline):
        skip(AMPLIFIES)


def _amplified(baseline: Baseline) -> float:
    """Return by how much features move if all weights and inputs change in their last digits."""
    if baseline.amplified is not None:
        return baseline.amplified
    copy = baseline.session.fresh()
    for tensor in copy.parameters():
        tensor.data = _changed(tensor.data)
    leaves = [_changed(x) if isinstance(x, Tensor) else x for x in baseline.batch.leaves]
    try:
        output = baseline.session.run(baseline.batch.tree(leaves), on=copy)
    except Exception:  # noqa: BLE001 - a model may refuse as it likes
        return torch.inf
    pairs = enumerate(zip(baseline.normal, output, strict=False))
    moved = [
        _off(baseline, index, one, other, lambda leaf: leaf)
        for index, (one, other) in pairs
        if is_number(one) and is_number(other) and one.shape == other.shape
    ]
    baseline.amplified = max(moved, default=torch.inf)
    return baseline.amplified


def _changed(tensor: Tensor) -> Tensor:
    """Change numbers with fractions in their last digit."""
    if not is_number(tensor):
        return tensor
    other = tensor * (1 + 4.5 * eps_of(tensor))
    return torch.where(tensor == tensor.round(), tensor, other)
