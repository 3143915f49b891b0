"""Float64 is the judge: where bits differ, it says whether that is more than rounding."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.outputs import apart, is_number, largest, shape_of, wider, widest
from rnnkit._diagnostics.tell.report import skip

#: By how much of its size a feature may move, by the dtype that the model is judged in.
JUDGED = {torch.float64: 1e-9, torch.float32: 1000 * torch.finfo(torch.float32).eps}
#: A tolerance beyond this sees nothing.
COARSE = 0.01


class DoubtError(Exception):
    """Bits differ: the judge, in float64, has to say whether that is rounding."""


def differences(baseline: Baseline, before: Tensor, after: Tensor, size: Any) -> Tensor:
    """Return where tensors differ by more than rounding, for features of some size."""
    is_exact = baseline.tolerance is None or not is_number(before)
    return apart(before, after) > (0.0 if is_exact else baseline.tolerance * size)


def is_shown(baseline: Baseline, mask: Tensor) -> bool:
    """Return whether a difference is anywhere; bits that differ are left to the judge."""
    if baseline.tolerance is None and bool(mask.any()):
        raise DoubtError
    return bool(mask.any())


def near(baseline: Baseline, before: Tensor, after: Tensor) -> bool:
    """Return whether two tensors are the same, also where they are no part of an output."""
    if before.shape != after.shape:
        return False
    return not is_shown(baseline, differences(baseline, before, after, largest(before)))


def decide(baseline: Baseline, probe: Callable[[Baseline], str]) -> str:
    """Run a probe; the judge decides where bits differ."""
    with suppress(DoubtError):
        return probe(baseline)
    return probe(judge(baseline))


def judge(baseline: Baseline) -> Baseline:
    """Return the same in float64, else in float32, else in its own dtype if that is fine enough."""
    if baseline.is_judge:
        return baseline
    if baseline.judge is not None:
        return baseline.judge
    if any(".quantized.dynamic." in type(m).__module__ for m in baseline.session.model.modules()):
        skip("a quantized layer rounds by the largest number: verify the model without it")
    session = baseline.session
    leaves = baseline.batch.leaves
    weights = [*session.model.parameters(), *session.model.buffers()]
    fits = sum(weight.numel() for weight in weights) <= 2**25  # else a copy takes too much memory
    for kind, tolerance in JUDGED.items() if fits else ():
        wide = baseline.on(baseline.batch.with_leaves([widest(x, kind) for x in leaves]))
        wide.tolerance = tolerance
        with suppress(Exception):  # a model may insist on its own precision as it likes
            wide.session = session.wider(kind, Widened(kind))
            wide.normal = wide.session.run(wide.batch.tree())
            is_wide = all(widest(x, kind) is x for x in wide.normal)
            if is_wide and [*map(shape_of, wide.normal)] == [*map(shape_of, baseline.normal)]:
                break
    else:
        wide = baseline.on(baseline.batch)
        kinds = {x.dtype for x in (*weights, *leaves, *baseline.normal) if is_number(x)}
        kind = max(kinds, key=lambda one: torch.finfo(one).eps)
        wide.tolerance = 1000 * torch.finfo(kind).eps
        if wide.tolerance > COARSE:
            skip(f"{str(kind)[6:]} rounds too much, and the model runs in nothing wider")
    wide.again = None
    wide.is_judge = True
    baseline.judge = wide
    if kind is not torch.float64:
        text = f"judged in {str(kind)[6:]}: the model does not run in float64"
        baseline.report.notes.append(text)
    return wide


class Widened(TorchFunctionMode):
    """Computes in float64, or float32, what is asked for in less, and turns autocast off."""

    def __init__(self, least: torch.dtype) -> None:
        """Take the narrowest dtype that may occur."""
        super().__init__()
        self._least = least

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function with a wider dtype where it is asked for less."""
        name = getattr(func, "__name__", "")
        least = self._least
        if name in ("half", "bfloat16", "float") and args and isinstance(args[0], Tensor):
            return args[0].to(least)
        named = {key: wider(given, least) for key, given in (kwargs or {}).items()}
        with torch._C._DisableAutocast():  # noqa: SLF001
            return widest(func(*(wider(given, least) for given in args), **named), least)


def differs(baseline: Baseline, before: Tensor, after: Tensor, size: Tensor) -> bool:
    """Return whether a run of another size returns something else; skip if that may be rounding."""

    def changed(x: Any) -> Any:
        if not is_number(x):
            return x
        moved = x * (1 + 4.5 * torch.finfo(x.dtype).eps)
        return torch.where(x == x.round(), x, moved)  # 1.0 may be a flag

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

    if not is_shown(baseline, differences(baseline, before, after, size)):
        return False
    off = (apart(before, after) / size).max().item()
    # Two kernels may differ by some times as much.
    if is_number(before) and off <= 50 * baseline.once("amplified", amplified):
        skip("the model amplifies rounding: nothing can be judged")
    return True
