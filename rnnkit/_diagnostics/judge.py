"""Float64 is the judge: where bits differ, it says whether that is more than rounding."""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.copies import Pristine
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import (
    apart,
    eps_of,
    is_number,
    largest,
    same,
    shape_of,
    wider,
    widest,
)
from rnnkit._diagnostics.report import AMPLIFIES, UnjudgedError, note, skip

#: By how much of its size a feature may move in float64.
JUDGED = 1e-9
#: A tolerance beyond this sees nothing.
COARSE = 0.01
#: How many times the measured effect of rounding two kernels may differ.
AMPLIFIED = 50
#: Of more weights than this, a copy in float64 would be too large.
WEIGHTS = 2**25
#: Casts to a narrower dtype, by the names of methods.
CASTS = {"half", "bfloat16", "float"}


class DoubtError(Exception):
    """Bits differ: the judge, in float64, has to say whether that is rounding."""


def differences(
    baseline: Baseline,
    index: int,
    before: Tensor,
    after: Tensor,
    take: Take = lambda leaf: leaf,
) -> Tensor:
    """Return where a part of an output differs by more than rounding, number by number."""
    if baseline.tolerance is None or not is_number(before):
        return ~((before == after) | ((before != before) & (after != after)))  # noqa: PLR0124
    return apart(before, after) > baseline.tolerance * take(baseline.scale_of(index))


def is_shown(baseline: Baseline, mask: Tensor) -> bool:
    """Return whether a difference is anywhere; bits that differ are left to the judge."""
    if baseline.tolerance is None and bool(mask.any()):
        raise DoubtError
    return bool(mask.any())


def agree(baseline: Baseline, index: int, before: Tensor, after: Tensor, take: Take) -> bool:
    """Return whether a part of an output is the same."""
    if before.shape != after.shape or before.dtype is not after.dtype:
        return False
    return not is_shown(baseline, differences(baseline, index, before, after, take))


def near(baseline: Baseline, before: Tensor, after: Tensor) -> bool:
    """Return whether two tensors are the same, that are no part of an output; as `agree`."""
    if same(before, after):
        return True
    if baseline.tolerance is None:
        raise DoubtError
    if not is_number(before) or before.shape != after.shape:
        return False
    return bool(apart(before, after).max() <= baseline.tolerance * largest(before))


def decide(baseline: Baseline, probe: Callable[[Baseline], str]) -> str:
    """Run a probe; the judge decides where bits differ."""
    with contextlib.suppress(DoubtError):
        return probe(baseline)
    return probe(judge(baseline))


def for_other_sizes(baseline: Baseline) -> Baseline:
    """Return the judge, since runs of other sizes nearly always differ in their last bits."""
    with contextlib.suppress(UnjudgedError):
        return judge(baseline)
    return baseline  # bits may be equal


def judge(baseline: Baseline) -> Baseline:
    """Return the same where rounding is small: in float64, or in float32, if the model runs."""
    if baseline.judge is not None:
        return baseline.judge
    kinds = {"float64": torch.float64, "float32": torch.float32}
    tried = ((_widened(baseline, least), kind) for kind, least in kinds.items())
    wide, kind = next((pair for pair in tried if pair[0] is not None), (None, ""))
    if wide is None:
        wide = baseline.on(baseline.batch)
        tensors = [*baseline.session.model.parameters(), *baseline.batch.leaves, *baseline.normal]
        coarsest = max(filter(is_number, tensors), key=eps_of)
        wide.tolerance, kind = 1000 * eps_of(coarsest), str(coarsest.dtype)[6:]
        if wide.tolerance > COARSE:
            skip(f"{kind} rounds too much, and the model runs in nothing wider")
    wide.again, baseline.judge = None, wide
    if kind != "float64":
        note(baseline.report, f"judged in {kind}: the model does not run in float64")
    return wide


def _widened(baseline: Baseline, least: torch.dtype) -> Baseline | None:
    """Return the same in a wider dtype; None if the model does not run in it."""
    leaves = [widest(x, least) for x in baseline.batch.leaves]
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


def open_wide(opened: Session, least: torch.dtype) -> Session:
    """Return the same session on copies in a wider dtype; the first one counts their runs."""
    weights = [*opened.model.parameters(), *opened.model.buffers()]
    if sum(weight.numel() for weight in weights) > WEIGHTS:
        message = "too large for a wider copy"
        raise MemoryError(message)
    wide = copy.copy(opened)
    wide.pristine, wide.is_first = Pristine(opened.pristine.copy(least)), True
    wide.mode = Widened(least)
    return wide


class Widened(TorchFunctionMode):
    """Computes in float64, or float32, what is asked for in less, and turns autocast off."""

    def __init__(self, least: torch.dtype) -> None:
        """Take the narrowest dtype that may occur."""
        super().__init__()
        self._least = least

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function with a wider dtype where it is asked for less."""
        name, least = getattr(func, "__name__", ""), self._least
        if name in CASTS and args and isinstance(args[0], Tensor):
            return args[0].to(least)
        named = {key: wider(given, least) for key, given in (kwargs or {}).items()}
        with torch._C._DisableAutocast():  # noqa: SLF001
            return widest(func(*(wider(given, least) for given in args), **named), least)


def refuse_chance(
    baseline: Baseline, index: int, before: Tensor, after: Tensor, take: Take
) -> None:
    """Skip a probe that compares runs of different sizes if rounding may do as much."""
    amplified, off = baseline.once("amplified", lambda: _amplified(baseline)), torch.inf
    if is_number(before):
        off = (apart(before, after) / take(baseline.scale_of(index))).max().item()
    if off <= AMPLIFIED * amplified:
        skip(AMPLIFIES)


def _amplified(baseline: Baseline) -> float:
    """Return by how much features move if all weights and inputs change in their last digits."""

    def changed(x: Any) -> Any:
        if not is_number(x):
            return x
        return torch.where(x == x.round(), x, x * (1 + 4.5 * eps_of(x)))  # 1.0 may be a flag

    copy = baseline.session.fresh()
    for tensor in copy.parameters():
        tensor.data = changed(tensor.data)
    try:
        leaves = list(map(changed, baseline.batch.leaves))
        output = baseline.session.run(baseline.batch.tree(leaves), on=copy)
    except Exception:  # noqa: BLE001 - a model may refuse as it likes
        return torch.inf
    moved = [
        (apart(one, other) / baseline.scale_of(index)).max().item()
        for index, (one, other) in enumerate(zip(baseline.normal, output, strict=False))
        if is_number(one) and is_number(other) and one.shape == other.shape
    ]
    return max(moved, default=torch.inf)
