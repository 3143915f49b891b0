"""Guards of positions on a batch, and of masks of samples and steps; how numbers are read."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, LayoutError, ShapeError
from rnnkit._base.message import Row, brief, refusal, wanted
from rnnkit._base.torch_tools import are_all, lacks_numbers
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import SEQUENCES, CallSpec
from rnnkit._checks.causes.inputs import input_row
from rnnkit._checks.odd_tensors import is_odd


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask."""
    positions = tensor_or_none(index)
    if positions is None:
        _refuse_index(batch, brief(index))
    if positions.numel() == 0 and positions.dim() == 1:
        positions = positions.long()
    if positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1).to(device)
    kinds = (positions.is_floating_point(), positions.is_complex(), positions.dtype is torch.bool)
    if any(kinds) or positions.dim() != 1:
        _refuse_index(batch, f"{positions.dtype} {tuple(positions.shape)}")
    positions = positions.long()  # of those without a sign, -batch would be a large number
    inside = (positions >= -batch) & (positions < batch)
    if not are_all(inside, "index must be positions of samples"):
        place = int((~inside).nonzero()[0])
        came = f"index[{place}] is {int(positions[place])}"
        sentence = f"{came}, but the state has {batch} samples"
        fix = ("fix", f"positions from 0 to {batch - 1}" if batch else "a state of a batch")
        refusal(ArgumentError, "index", sentence, "", fix, code="index-range")
    return (positions % max(batch, 1)).to(device)


# Sentences are written where they are raised: one that names the batch would fix it in an export.
def _refuse_index(batch: int, came: str) -> NoReturn:
    sentence = f"index must be integers (new_batch,) or booleans (batch={batch},), got {came}"
    refusal(ArgumentError, "index", sentence, code="index-kind")


def refuse_slice(index: slice, batch: int, source: Exception) -> NoReturn:
    """Refuse a slice that torch does not take, and write the positions of one that Python takes."""
    parts = (index.start, index.stop, index.step)
    written = ":".join("" if part is None else brief(part) for part in parts)
    rows = []
    if isinstance(index.step, int) and index.step < 0:
        rows = [("fix", f"range({batch})[{written}] as the index")]
    sentence = f"index must be a slice that torch takes, with a step from 1; got [{written}]"
    refusal(ArgumentError, "index", sentence, "", *rows, code="index-kind", source=source)


def as_mask(mask: Any, batch: int, device: torch.device) -> Tensor:
    """Return a boolean mask over a batch, of booleans or of 0 and 1, in memory of its own.

    A caller may have made the mask in inference mode, which no backward pass may save, or write
    into it before a backward pass reads it.
    """
    flags = tensor_or_none(mask)
    if flags is None:
        sentence = f"mask must be booleans, or 0 and 1, of shape {(batch,)}; got {brief(mask)}"
        refusal(ArgumentError, "mask", sentence, code="mask-kind")
    if flags.shape != (batch,):
        sentence = f"mask must have shape {(batch,)}, got {tuple(flags.shape)}"
        if flags.shape == (batch, 1):
            headline, fix = "the mask has a feature axis", ("fix", "mask.squeeze(-1)")
            refusal(ArgumentError, "mask", sentence, headline, fix, code="mask-shape")
        _refuse_positions(batch, sentence, "mask-shape")
    if flags.dtype is torch.bool:
        return flags.to(device, copy=True)
    if _has_others(flags, "mask"):
        sentence = "mask must be booleans, or 0 and 1; got other values"
        _refuse_positions(batch, sentence, "mask-values")
    return (flags != 0).to(device)


def _refuse_positions(batch: int, sentence: str, code: str) -> NoReturn:
    headline = "one flag for each sample: positions are not a mask"
    positions = f"torch.zeros({batch}, dtype=torch.bool).index_fill(0, positions, True)"
    fix = ("fix", f"of positions: {positions}")
    refusal(ArgumentError, "mask", sentence, headline, fix, code=code)


def check_reset(spec: CallSpec, reset: Any, input: Any) -> Tensor:
    """Hold a mask of resets, in the layout of the input, to 0 or 1 at each step of each sample.

    Returns:
        Booleans ``(seq, batch)``, whatever the layout of the input, or ``(seq,)`` unbatched; on
        the device of the mask, in one piece of memory of their own: a caller may write into the
        mask before a backward pass reads it.
    """
    if spec.kind == "packed":
        option = ", batch_first=True" if spec.batch_first else ""
        fix = f"pad_packed_sequence(input{option}), then its two results as input and lengths="
        _refuse_shape(spec, "the input is packed, and a mask has no place in it", fix, reset)
    flags = tensor_or_none(reset)
    if flags is None:
        _refuse_values(spec, "reset is not a mask", "a boolean tensor of that shape", reset)
    if lacks_numbers(flags) and not lacks_numbers(input):
        _refuse_values(
            spec,
            "reset holds no values to look at",
            "a boolean tensor with values, on the device of the input",
            flags,
        )
    shape = _shape(spec)
    if flags.shape != shape:
        _refuse_shape(spec, *_shape_cause(spec, flags, shape, _name(reset)), flags)
    if flags.dtype is not torch.bool:
        if _has_others(flags, "reset"):
            _refuse_values(spec, *_value_cause(spec, flags, _name(reset)), flags)
        flags = flags != 0
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _shape(spec: CallSpec) -> tuple[Any, ...]:
    seq = spec.seq
    if spec.batch is None:
        return (seq,)
    return (spec.batch, seq) if spec.batch_first else (seq, spec.batch)


def _name(reset: Any) -> str:
    """Write a mask as what has a tensor's methods."""
    return "reset" if isinstance(reset, Tensor) else "torch.as_tensor(reset)"


def _shape_cause(
    spec: CallSpec, flags: Tensor, shape: tuple[int, ...], name: str
) -> tuple[str, str]:
    """Say what is wrong with a mask of another shape, and what to type."""
    actual = tuple(flags.shape)
    if actual == shape[::-1]:
        looks, option = ("seq-first", True) if spec.batch_first else ("batch-first", False)
        return f"the mask looks {looks}, but batch_first={option}", f"{name}.t()"
    if actual == (*shape, 1):
        return "the mask has one axis too many", f"{name}.squeeze(-1)"
    if actual == (*shape[::-1], 1):
        return "the mask has its axes in another order", f"{name}.squeeze(-1).t()"
    if actual == (spec.batch,) and spec.batch is not None:
        return (
            "there is one flag for each sample, and none for its steps",
            "to start them again before the call: rnnkit.states.reset(hx, mask)",
        )
    return "there must be one flag for each step of each sample", f"a boolean tensor {shape}"


def _value_cause(spec: CallSpec, flags: Tensor, reset: str) -> tuple[str, str]:
    if flags.is_floating_point():
        return "reset holds numbers other than 0 and 1", f"{reset} > 0.5"
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
    error = LayoutError if fix.endswith(".t()") else ShapeError
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


def _has_others(flags: Tensor, name: str) -> bool:
    """Return whether a mask holds anything but 0 and 1, as far as its values can be read."""
    return not are_all((flags == 0) | (flags == 1), f"{name} must be booleans, or 0 and 1")
