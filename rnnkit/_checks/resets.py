"""``reset``: one flag for each step of each sample, or a refusal."""

from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, LayoutError, ShapeError
from rnnkit._base.message import Row, brief, refusal, wanted
from rnnkit._base.torch_tools import hides_values
from rnnkit._checks.call_spec import SEQUENCES, CallSpec
from rnnkit._checks.input_errors import input_row
from rnnkit._checks.masks import as_tensor
from rnnkit._checks.odd_tensors import is_odd


def check_reset(spec: CallSpec, reset: Any) -> Tensor:
    """Hold a mask of resets to one flag, true or false, for each step of each sample.

    Args:
        spec: the call it belongs to.
        reset: what the caller gave: booleans, or 0 and 1, in the layout of the input.

    Returns:
        Booleans ``(seq, batch)``, whatever the layout of the input, or ``(seq,)`` unbatched; on
        the device of the mask, in one piece of memory of their own: a caller may write into the
        mask before a backward pass reads it.

    Raises:
        LayoutError: if the mask is laid out the other way.
        ShapeError: if it has another shape, or the input is packed.
        ArgumentError: if it holds anything but true and false.
    """
    if spec.kind == "packed":
        fix = "pad_packed_sequence(input), then its two results as input and lengths="
        _refuse_shape(spec, "the input is packed, and a mask has no place in it", fix, reset)
    try:
        flags = as_tensor(reset)
    except (TypeError, ValueError, RuntimeError):
        _refuse_values(spec, "reset is not a mask", "a boolean tensor of that shape", reset)
    if is_odd(flags):
        _refuse_values(spec, "reset is not a plain tensor", "a boolean tensor, dense", flags)
    shape = _shape(spec)
    if flags.shape != shape:
        _refuse_shape(spec, *_shape_cause(spec, flags, shape), flags)
    if flags.dtype is not torch.bool:
        if not hides_values() and not bool(((flags == 0) | (flags == 1)).all()):
            _refuse_values(spec, *_value_cause(spec, flags), flags)
        flags = flags != 0
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _shape(spec: CallSpec) -> tuple[Any, ...]:
    seq = spec.seq
    if spec.batch is None:
        return (seq,)
    return (spec.batch, seq) if spec.batch_first else (seq, spec.batch)


def _shape_cause(spec: CallSpec, flags: Tensor, shape: tuple[int, ...]) -> tuple[str, str]:
    """Say what is wrong with a mask of another shape, and what to type."""
    actual = tuple(flags.shape)
    if actual == shape[::-1]:
        looks, option = ("seq-first", True) if spec.batch_first else ("batch-first", False)
        return f"the mask looks {looks}, but batch_first={option}", "reset.t()"
    if actual == (*shape, 1):
        return "the mask has one axis too many", "reset.squeeze(-1)"
    if actual == (*shape[::-1], 1):
        return "the mask has its axes in another order", "reset.squeeze(-1).t()"
    if actual == (spec.batch,) and spec.batch is not None:
        return (
            "there is one flag for each sample, and none for its steps",
            "to start them again before the call: rnnkit.states.reset(hx, mask)",
        )
    return "there must be one flag for each step of each sample", f"a boolean tensor {shape}"


def _value_cause(spec: CallSpec, flags: Tensor) -> tuple[str, str]:
    if flags.is_floating_point():
        return "reset holds numbers other than 0 and 1", "reset > 0.5"
    name = "input.shape[:2]" if len(spec.actual) == SEQUENCES else "len(input)"
    return (
        "reset holds numbers other than 0 and 1: positions are not a mask",
        f"mask = torch.zeros({name}, dtype=torch.bool), and True at each of the positions",
    )


def _refuse_shape(spec: CallSpec, headline: str, fix: str, reset: Any) -> NoReturn:
    actual = tuple(reset.shape) if isinstance(reset, Tensor) else ()
    expected: tuple[int, ...] = ()
    sentence = "reset is a mask over the steps of a padded input"
    if spec.kind != "packed":
        expected = _shape(spec)
        sentence = f"reset must have shape {expected}, got {actual}"
    error = LayoutError if fix.startswith("reset") and fix.endswith(".t()") else ShapeError
    refusal(
        error, "reset", sentence, f"{spec.described}: {headline}", *_rows(spec, fix, reset),
        code="mask-packed" if spec.kind == "packed" else "mask-shape", facts=(expected, actual),
    )  # fmt: skip


def _refuse_values(spec: CallSpec, headline: str, fix: str, reset: Any) -> NoReturn:
    sentence = "reset must be booleans, or 0 and 1"
    headline = f"{spec.described}: {headline}"
    code = "mask-values" if isinstance(reset, Tensor) else "mask-kind"
    refusal(ArgumentError, "reset", sentence, headline, *_rows(spec, fix, reset), code=code)


def _rows(spec: CallSpec, fix: str, reset: Any) -> list[Row]:
    names = ("batch", "seq") if spec.batch_first else ("seq", "batch")
    axes = "(seq,)" if spec.batch is None else f"({', '.join(names)})"
    is_plain = isinstance(reset, Tensor) and not is_odd(reset)
    came = f"{reset.dtype} {tuple(reset.shape)}" if is_plain else brief(reset)
    return [
        input_row(spec),
        ("reset", wanted(f"{axes}, booleans", came)),
        ("fix", fix),
    ]
