"""Float64 is the judge: where bits differ, it says whether that is more than rounding."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rnnkit._diagnostics.measure.baseline import Baseline, once
from rnnkit._diagnostics.run.outputs import (
    difference,
    in_wider_dtype,
    is_number,
    shape_of,
    shapes_of,
    wider_dtype,
)
from rnnkit._diagnostics.tell.outcome import Skipped

#: By how much of its size a feature may move, by the dtype that the model is judged in.
JUDGED = {torch.float64: 1e-9, torch.float32: 1000 * torch.finfo(torch.float32).eps}
#: A tolerance beyond this sees nothing.
COARSE = 0.01
#: Above this many weights a wider copy takes too much memory.
MOST_WEIGHTS = 2**25
#: How many times as far apart as by a change of the last bit two kernels may be.
KERNELS = 50

QUANTIZED = "a quantized layer rounds by the largest number of the batch: verify the float model"
AMPLIFIED = "the model amplifies rounding errors too much"


def beyond_rounding(baseline: Baseline, before: Tensor, after: Tensor, size: Any) -> Tensor:
    """Return a mask of where two tensors differ by more than rounding.

    ``size`` is how large the numbers are: a judge, which runs in float64, has a tolerance relative
    to it. A baseline that is no judge has none: every bit counts.
    """
    is_exact = baseline.tolerance is None or not is_number(before)
    return difference(before, after) > (0.0 if is_exact else baseline.tolerance * size)


@once
def judge_of(baseline: Baseline) -> Baseline | Skipped:
    """Return the judge of a baseline (a model, a batch, and its output): the same in float64.

    If the model does not run in that, it is the same in float32, or in its own dtype if that is
    fine enough. The judge says whether a difference is more than rounding. If nothing can judge,
    return why, as a probe's answer. Dtypes are tried in turn, unless a wider copy of the weights
    takes too much memory.
    """
    if baseline.is_judge:
        return baseline
    if baseline.parent is not None:  # it sees the same inputs differently
        judge = judge_of(baseline.parent)
        if isinstance(judge, Skipped):
            return judge
        return judge.seeing(baseline.batch.with_leaves(judge.batch.leaves))
    unsure = rounds_by_all(baseline)
    if unsure is not None:
        return unsure
    model = baseline.session.model
    weights = [*model.parameters(), *model.buffers()]
    fits = sum(weight.numel() for weight in weights) <= MOST_WEIGHTS
    tried = JUDGED if fits else {}
    for dtype, tolerance in tried.items():
        wide = _judge_in(baseline, dtype, tolerance)
        if wide is not None:
            return wide
    return _judge_in_own_dtype(baseline, weights)


def note_of_judge(baseline: Baseline) -> list[str]:
    """Return a line that says in which dtype a model was judged, if that is not float64."""
    judge = baseline.made.get(judge_of)
    if not isinstance(judge, Baseline) or judge.dtype is torch.float64:
        return []
    return [f"compared in {str(judge.dtype)[6:]}: the model does not run in float64"]


def rounds_by_all(baseline: Baseline) -> Skipped | None:
    """Return a probe's answer if a quantized layer may move any output by rounding; else None."""
    modules = nn.Module.modules(baseline.session.model)
    is_quantized = any(".quantized.dynamic." in type(one).__module__ for one in modules)
    return Skipped(QUANTIZED) if is_quantized else None


def _judge_in_own_dtype(baseline: Baseline, weights: Sequence[Tensor]) -> Baseline | Skipped:
    """Return the same as a judge in the coarsest dtype of its numbers; skip if that is too coarse.

    ``weights`` are the parameters and buffers of the model.
    """
    numbers = filter(is_number, (*weights, *baseline.batch.leaves, *baseline.normal))
    coarsest = max({x.dtype for x in numbers}, key=lambda dtype: torch.finfo(dtype).eps)
    tolerance = 1000 * torch.finfo(coarsest).eps
    if tolerance > COARSE:
        name = str(coarsest)[6:]
        return Skipped(f"{name} rounds too much, and the model does not run in a wider dtype")
    return baseline.judging(baseline.batch, coarsest, tolerance)


def _judge_in(baseline: Baseline, dtype: torch.dtype, tolerance: float) -> Baseline | None:
    """Return the judge that runs in a dtype; None if the model insists on its own."""
    with suppress(Exception):  # it may refuse as it likes, and its device has no float64
        batch = baseline.batch.with_leaves(
            [in_wider_dtype(x, dtype) for x in baseline.batch.leaves]
        )
        session = baseline.session.wider(dtype, Widened(dtype))
        judging = baseline.judging(batch, dtype, tolerance)
        judge = replace(judging, session=session, normal=session.run(batch.tree()))
        is_wide = all(in_wider_dtype(x, dtype) is x for x in judge.normal)
        if is_wide and shapes_of(judge.normal) == shapes_of(baseline.normal):
            return judge
    return None


class Widened(TorchFunctionMode):
    """A mode of torch in which nothing is computed in less than a dtype.

    Casts and autocast are off.
    """

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
        named = {key: wider_dtype(given, least) for key, given in (kwargs or {}).items()}
        with torch._C._DisableAutocast():  # noqa: SLF001
            return in_wider_dtype(
                func(*(wider_dtype(given, least) for given in args), **named), least
            )


@once
def effect_of_last_bit(judge: Baseline) -> float:
    """Return how far outputs move, for their size, when each number moves by its last bit.

    ``judge`` is the model in float64, with a batch and its output. A difference no larger than that
    may be rounding. Infinity if nothing can be compared.
    """
    session = judge.session
    model = session.fresh()
    for tensor in model.parameters():
        tensor.data = _moved_by_a_bit(tensor.data)
    inputs = judge.batch.tree([*map(_moved_by_a_bit, judge.batch.leaves)])
    output = session.attempt(inputs, on=model) or ()
    moved = [
        (difference(one, other) / judge.scale_of(k)).max().item()
        for k, (one, other) in enumerate(zip(judge.normal, output, strict=False))
        if is_number(one) and shape_of(one) == shape_of(other)
    ]
    return max(moved, default=torch.inf)


def _moved_by_a_bit(x: Any) -> Any:
    """Return numbers changed by about the last bit; whole ones stay, since 1.0 may be a flag."""
    if not is_number(x):
        return x
    moved = x * (1 + 4.5 * torch.finfo(x.dtype).eps)
    return torch.where(x == x.round(), x, moved)
