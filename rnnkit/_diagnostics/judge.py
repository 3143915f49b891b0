"""Float64 is the judge: where bits differ, it says whether that is more than rounding."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.copies import Pristine
from rnnkit._diagnostics.outputs import apart, eps_of, is_number, largest, shape_of, wider, widest
from rnnkit._diagnostics.report import note, skip

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
    baseline: Baseline, index: int, before: Tensor, after: Tensor, take: Take = lambda leaf: leaf
) -> Tensor:
    """Return where a part of an output differs by more than rounding, number by number."""
    if baseline.tolerance is None or not is_number(before):
        return apart(before, after) > 0
    return apart(before, after) > baseline.tolerance * take(baseline.scale_of(index))


def is_shown(baseline: Baseline, mask: Tensor) -> bool:
    """Return whether a difference is anywhere; bits that differ are left to the judge."""
    if baseline.tolerance is None and bool(mask.any()):
        raise DoubtError
    return bool(mask.any())


def near(baseline: Baseline, before: Tensor, after: Tensor) -> bool:
    """Return whether two tensors are the same, also where they are no part of an output."""
    most = (baseline.tolerance or 0.0) * largest(before)
    return before.shape == after.shape and not is_shown(baseline, apart(before, after) > most)


def decide(baseline: Baseline, probe: Callable[[Baseline], str]) -> str:
    """Run a probe; the judge decides where bits differ."""
    with suppress(DoubtError):
        return probe(baseline)
    return probe(judge(baseline))


def judge(baseline: Baseline) -> Baseline:
    """Return the same where rounding is small: in float64, or in float32, if the model runs.

    Else in its own dtype, if that tells anything. Runs of other sizes start here, since they nearly
    always differ in their last bits.
    """
    if baseline.judge is not None:
        return baseline.judge
    session, leaves = baseline.session, baseline.batch.leaves
    weights = [*session.model.parameters(), *session.model.buffers()]
    is_large = sum(weight.numel() for weight in weights) > WEIGHTS
    for kind in () if is_large else (torch.float64, torch.float32):
        wide = baseline.on(baseline.batch.with_leaves([widest(x, kind) for x in leaves]))
        wide.session, wide.tolerance = copy.copy(session), JUDGED
        if kind is not torch.float64:
            wide.tolerance = 1000 * torch.finfo(kind).eps
        with suppress(Exception):  # a model may insist on its own precision as it likes
            wide.session.pristine = Pristine(session.pristine.copy(kind))
            wide.session.is_first, wide.session.mode = True, Widened(kind)
            wide.normal = wide.session.run(wide.batch.tree())
            is_wide = all(widest(x, kind) is x for x in wide.normal)
            if is_wide and [*map(shape_of, wide.normal)] == [*map(shape_of, baseline.normal)]:
                break
    else:
        wide = baseline.on(baseline.batch)
        coarsest = max(filter(is_number, [*weights, *leaves, *baseline.normal]), key=eps_of)
        kind, wide.tolerance = coarsest.dtype, 1000 * eps_of(coarsest)
        if wide.tolerance > COARSE:
            skip(f"{str(kind)[6:]} rounds too much, and the model runs in nothing wider")
    wide.again, baseline.judge = None, wide
    if kind is not torch.float64:
        note(baseline.report, f"judged in {str(kind)[6:]}: the model does not run in float64")
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


def differs(
    baseline: Baseline, index: int, before: Tensor, after: Tensor, take: Take = lambda leaf: leaf
) -> bool:
    """Return whether a run of another size returns a different part of an output.

    Skip the probe if rounding may do as much: if features move as far when all weights and inputs
    change in their last digits.
    """

    def changed(x: Any) -> Any:
        if not is_number(x):
            return x
        return torch.where(x == x.round(), x, x * (1 + 4.5 * eps_of(x)))  # 1.0 may be a flag

    def amplified() -> float:
        model = baseline.session.fresh()
        for tensor in model.parameters():
            tensor.data = changed(tensor.data)
        inputs = baseline.batch.tree([*map(changed, baseline.batch.leaves)])
        pairs = zip(baseline.normal, baseline.session.attempt(inputs, on=model) or (), strict=False)
        moved = [
            (apart(one, other) / baseline.scale_of(k)).max().item()
            for k, (one, other) in enumerate(pairs)
            if is_number(one) and shape_of(one) == shape_of(other)
        ]
        return max(moved, default=torch.inf)

    if not is_shown(baseline, differences(baseline, index, before, after, take)):
        return False
    if is_number(before):
        off = (apart(before, after) / take(baseline.scale_of(index))).max().item()
        if off <= AMPLIFIED * baseline.once("amplified", amplified):
            skip("the model amplifies rounding: nothing can be judged")
    return True
