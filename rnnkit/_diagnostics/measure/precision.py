"""Float64 from the start: the dtype that a model is run in, and what counts as rounding there."""

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

#: By how much of its size a feature may move, by the dtype that the model is run in.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1000 * torch.finfo(torch.float32).eps}
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

    ``size`` is how large the numbers are, to which the tolerance of the baseline's dtype is
    relative. Tensors that are no numbers have none.
    """
    has_tolerance = baseline.tolerance > 0 and is_number(before)
    limit = baseline.tolerance * size if has_tolerance else 0.0
    moved: Tensor = difference(before, after) > limit
    return moved


def in_widest_dtype(baseline: Baseline) -> Baseline:
    """Return a baseline (a model, a batch, and its output) in float64, from which all runs follow.

    If the model does not run in that, it is in float32, or in its own dtype. If that is too coarse
    to tell a difference from rounding, the baseline says so in ``doubt``, and only equal bits
    settle a question. Dtypes are tried in turn, unless a wider copy of the weights takes too much
    memory.
    """
    model = baseline.session.model
    if any(".quantized.dynamic." in type(one).__module__ for one in nn.Module.modules(model)):
        return replace(baseline, doubt=QUANTIZED)
    weights = [*model.parameters(), *model.buffers()]
    fits = sum(weight.numel() for weight in weights) <= MOST_WEIGHTS
    tried = TOLERANCES if fits else {}
    for dtype, tolerance in tried.items():
        wide = _in_dtype(baseline, dtype, tolerance)
        if wide is not None:
            return wide
    return _in_own_dtype(baseline, weights)


def note_of_dtype(baseline: Baseline) -> list[str]:
    """Return a line that says in which dtype a model was run, if that is not float64."""
    if baseline.dtype in (None, torch.float64):
        return []
    return [f"compared in {str(baseline.dtype)[6:]}: the model does not run in float64"]


def _in_own_dtype(baseline: Baseline, weights: Sequence[Tensor]) -> Baseline:
    """Return the same with a tolerance for the coarsest dtype of its numbers, or with a doubt.

    ``weights`` are the parameters and buffers of the model.
    """
    numbers = filter(is_number, (*weights, *baseline.batch.leaves, *baseline.normal))
    coarsest = max({x.dtype for x in numbers}, key=lambda dtype: torch.finfo(dtype).eps)
    tolerance = 1000 * torch.finfo(coarsest).eps
    if tolerance > COARSE:
        name = str(coarsest)[6:]
        why = f"{name} rounds too much, and the model does not run in a wider dtype"
        return replace(baseline, doubt=why)
    return replace(baseline, dtype=coarsest, tolerance=tolerance)


def _in_dtype(baseline: Baseline, dtype: torch.dtype, tolerance: float) -> Baseline | None:
    """Return the same in a wider dtype; None if the model insists on its own."""
    with suppress(Exception):  # it may refuse as it likes, and its device has no float64
        batch = baseline.batch.with_leaves(
            [in_wider_dtype(x, dtype) for x in baseline.batch.leaves]
        )
        session = baseline.session.wider(dtype, Widened(dtype))
        normal = session.run(batch.tree())
        is_wide = all(in_wider_dtype(x, dtype) is x for x in normal)
        if is_wide and shapes_of(normal) == shapes_of(baseline.normal):
            wide = replace(baseline.on(batch, normal), session=session)
            return replace(wide, dtype=dtype, tolerance=tolerance)
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
def effect_of_last_bit(baseline: Baseline) -> float:
    """Return how far outputs move, for their size, when each number moves by its last bit.

    ``baseline`` is the model, a batch, and its output. A difference no larger than that
    may be rounding. Infinity if nothing can be compared.
    """
    session = baseline.session
    model = session.fresh()
    for tensor in model.parameters():
        tensor.data = _moved_by_a_bit(tensor.data)
    inputs = baseline.batch.tree([*map(_moved_by_a_bit, baseline.batch.leaves)])
    output = session.attempt(inputs, on=model) or ()
    moved = [
        (difference(one, other) / baseline.scale_of(k)).max().item()
        for k, (one, other) in enumerate(zip(baseline.normal, output, strict=False))
        if is_number(one) and shape_of(one) == shape_of(other)
    ]
    return max(moved, default=torch.inf)


def _moved_by_a_bit(x: Any) -> Any:
    """Return numbers changed by about the last bit; whole ones stay, since 1.0 may be a flag."""
    if not is_number(x):
        return x
    moved = x * (1 + 4.5 * torch.finfo(x.dtype).eps)
    return torch.where(x == x.round(), x, moved)
