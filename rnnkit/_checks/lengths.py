"""The arguments ``lengths`` and ``reset`` of a call over a sequence."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import ArgumentError, LayoutError, LengthsError, ShapeError
from rnnkit._base.message import Row, brief, wanted
from rnnkit._base.torch_tools import are_all, is_fake, is_jit_traced, is_meta_or_fake
from rnnkit._checks.arrays import has_others, is_whole, outlined_array, tensor_or_none
from rnnkit._checks.call_spec import CallSpec
from rnnkit._checks.causes.inputs import input_row
from rnnkit._kernels.lengths import Lengths


def check_lengths(spec: CallSpec, lengths: Any, input: Any) -> Lengths:
    """Check that lengths are integers from 0 to seq, one for each sample."""
    if spec.kind == "packed":
        headline = "the input is packed and brings its lengths along"
        _refuse(spec, lengths, headline, "leave lengths out", "lengths-packed")
    if spec.batch is None or spec.seq is None:
        fix = f"input.unsqueeze({0 if spec.batch_first else 1}), a batch of one"
        _refuse(spec, lengths, "the input has no batch axis", fix, "lengths-unbatched")
    if isinstance(lengths, range) and len(lengths) != spec.batch:
        _refuse_count(spec, lengths, len(lengths))  # it may not fit into memory
    each = tensor_or_none(lengths)
    listed = lengths if isinstance(lengths, list | tuple) else ()
    for place, value in enumerate(listed if each is None else ()):
        if isinstance(value, int) and not 0 <= value <= spec.seq:  # beyond 64 bits, too
            _refuse_range(spec, lengths, place, value)
    mixed = each is not None and each.dtype is not torch.bool and bool in map(type, listed)
    if each is None or each.is_meta or mixed:
        _refuse(spec, lengths, "lengths are not integers that can be read", "a list of ints")
    if each.dim() == 0 and is_whole(each):
        fix = f"[{lengths}] * {spec.batch}"
        _refuse(spec, lengths, "lengths are one number, not one for each sample", fix)
    if each.dim() != 1 or not is_whole(each):
        _refuse_kind(spec, lengths, each)
    if each.shape[0] != spec.batch:
        _refuse_count(spec, lengths, each.shape[0])
    each = each.to(torch.int64)
    # A trace must not read values, except those of a list, which is part of the graph.
    unknown = is_compiling() or is_jit_traced() or is_fake(each)
    values: list[int] | None = None if unknown else each.tolist()
    for place, value in enumerate(values or (lengths if isinstance(lengths, Sequence) else ())):
        if not 0 <= value <= spec.seq:
            _refuse_range(spec, lengths, place, value)
    each = each.to(input.device)
    if unknown:
        in_range = (each >= 0) & (each <= spec.seq)
        are_all(in_range, "lengths must be integers from 0 to seq, one for each sample")
    return Lengths(each, values, spec.seq)


def _refuse_range(spec: CallSpec, lengths: Any, place: int, value: int) -> NoReturn:
    cut = f"[max(0, min(n, {spec.seq})) for n in lengths]"
    if not isinstance(lengths, list | tuple):
        cut = f"torch.as_tensor(lengths).clamp({'min=0' if value < 0 else f'max={spec.seq}'})"
    headline = f"lengths[{place}] is {brief(value)} and the input has {spec.seq} steps"
    fix = f"check how the lengths were counted; to cut them: {cut}"
    _refuse(spec, lengths, headline, fix, "lengths-range")


def _refuse_kind(spec: CallSpec, lengths: Any, each: Tensor) -> NoReturn:
    """Refuse a mask, fractions, or counts with one axis too many."""
    headline, code = f"lengths are {each.dtype}, not counts", "lengths-kind"
    fix = "[int(n) for n in lengths]"
    if isinstance(lengths, Tensor):
        fix = "lengths.long(); of fractions of the input (lengths * seq).round().long()"
    if each.dtype is torch.bool or each.dim() > 1:
        is_first = spec.batch_first
        if each.dim() == 2 and spec.seq != spec.batch:
            is_first = each.shape[0] == spec.batch
        whole = ".long()" if each.is_floating_point() else ""
        headline = "lengths are a mask, not counts"
        fix = f"of a mask: mask.sum({1 if is_first else 0}){whole}"
    if each.numel() == spec.batch and is_whole(each):
        headline, code = f"lengths have {each.dim()} axes, one is wanted", "lengths-axes"
        fix = "torch.as_tensor(lengths).flatten()"
    _refuse(spec, lengths, headline, fix, "lengths-axes" if is_whole(each) else code)


def _refuse_count(spec: CallSpec, lengths: Any, count: int) -> NoReturn:
    came = f"but got {count} (batch_size={spec.batch})"
    code, rows = "lengths-count", [("fix", f"one length for each of the {spec.batch} samples")]
    headline = f"there are {count} lengths for {spec.batch} samples"
    if count == spec.seq:
        evidence = f"there are {count} lengths, and axis {{axis}} of the input has that size"
        code, (headline, rows) = spec.layout_code, spec.other_layout(evidence)
    sentence = f"Expected `len(lengths)` to be equal to batch_size, {came}"
    _refuse(spec, lengths, headline, "", code, sentence, *rows)


def _refuse(
    spec: CallSpec, lengths: Any, headline: str, fix: str, code: str = "lengths-kind",
    sentence: str = "", *rows: Row,
) -> NoReturn:  # fmt: skip
    expected = "(batch,)" if spec.batch is None else f"(batch={spec.batch},)"
    shape = tuple(lengths.shape) if isinstance(lengths, Tensor) and not lengths.is_nested else ()
    spec.refuse(
        code, LengthsError, "lengths",
        sentence or f"lengths must be integers from 0 to {spec.seq}, one for each sample",
        headline, input_row(spec),
        ("lengths", wanted(f"{expected}, integers", outlined_array(lengths))),
        *(rows or (("fix", fix),)), facts=((spec.batch,), shape),
    )  # fmt: skip


def check_reset(spec: CallSpec, reset: Any, input: Any) -> Tensor:
    """Check that a mask of resets, in the layout of the input, has 0 or 1 at each step.

    Returns:
        Booleans ``(seq, batch)``, or ``(seq,)`` unbatched, on the device of the mask, in memory of
        their own: a caller may write into the mask before a backward pass reads it.
    """
    flags = tensor_or_none(reset)
    if spec.kind == "packed":
        option = ", batch_first=True" if spec.batch_first else ""
        fix = f"pad_packed_sequence(input{option}), then its two results as input and lengths="
        headline = "the input is packed, and a mask of its steps is not possible"
        _refuse_mask(spec, reset, "mask-packed", headline, fix)
    if flags is None or (is_meta_or_fake(flags) and not is_meta_or_fake(input)):
        code = "mask-values" if isinstance(reset, Tensor) else "mask-kind"
        headline = "reset holds no values that can be read"
        _refuse_mask(spec, reset, code, headline, "a boolean tensor, on the device of the input")
    shape: tuple[Any, ...] = (spec.seq, spec.batch)
    shape = shape[:1] if spec.batch is None else shape[:: -1 if spec.batch_first else 1]
    if flags.shape != shape:
        _refuse_mask(spec, flags, "mask-shape", *_cause_of_shape(spec, reset, flags, shape))
    if flags.dtype is not torch.bool:
        if has_others(flags, "reset"):
            first = ":, :1" if spec.batch_first and flags.dim() > 1 else ":1"
            name, changes = _name(reset), f"dim={first.count(',')}, prepend={_name(reset)}[{first}]"
            fix = f"{name}.diff({changes}) != 0, if these are numbers of documents"
            fix = f"{name} > 0.5" if flags.is_floating_point() else fix
            headline = "reset holds numbers other than 0 and 1"
            if flags.dim() == 1 and is_whole(flags):
                fix = f"torch.zeros{shape}.bool().index_fill(0, {_name(reset)}, True)"
                headline += ": positions are not a mask"
            _refuse_mask(spec, flags, "mask-values", headline, fix)
        flags = flags != 0
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _name(reset: Any) -> str:
    """Write a mask as what has a tensor's methods."""
    return "reset" if isinstance(reset, Tensor) else "torch.as_tensor(reset)"


def _cause_of_shape(
    spec: CallSpec, reset: Any, flags: Tensor, shape: tuple[int, ...]
) -> tuple[str, str]:
    """Return what is wrong with a mask of a different shape, and what to type."""
    seq_axis = 1 if spec.batch_first and spec.batch is not None else 0
    actual = tuple(flags.shape)
    name = _name(reset)
    if actual in (shape[::-1], (*shape[::-1], 1)):
        looks = "seq-first" if spec.batch_first else "batch-first"
        squeezed = ".squeeze(-1)" if len(actual) > len(shape) else ""
        return (
            f"the mask looks {looks}, but batch_first={spec.batch_first}",
            f"{name}{squeezed}.t()",
        )
    if actual == (*shape, 1):
        return "the mask has one axis too many", f"{name}.squeeze(-1)"
    if actual == (spec.batch,):
        headline = "there is one flag for each sample, and none for its steps"
        return headline, "to start them again before the call: rnnkit.states.reset(hx, mask)"
    if len(actual) == 1 and is_whole(flags):
        steps = f"torch.zeros{shape}.bool().index_fill({seq_axis}, {name}, True)"
        return "positions are not a mask", f"{steps}, if these are steps of each sample"
    wrong = [k for k in range(len(shape)) if len(actual) == len(shape) and actual[k] != shape[k]]
    if len(wrong) != 1:
        return "there must be one flag for each step of each sample", f"a boolean tensor {shape}"
    axis = wrong[0]
    noun = "steps" if axis == seq_axis else "samples"
    headline = f"axis {axis} of the mask has {actual[axis]} {noun}, the input {shape[axis]}"
    if actual[axis] < shape[axis]:
        return headline, f"a boolean tensor {shape}"
    part = f"{':, ' * axis}:{shape[axis]}"
    return headline, f"{name}[{part}], if the input is the first part of what the mask is for"


def _refuse_mask(spec: CallSpec, reset: Any, code: str, headline: str, fix: str) -> NoReturn:
    names = ("batch", "seq") if spec.batch_first else ("seq", "batch")
    axes: tuple[str, ...] = ("seq",) if spec.batch is None else names
    wants = () if spec.kind == "packed" else tuple(getattr(spec, name) for name in axes)
    shape = tuple(reset.shape) if isinstance(reset, Tensor) and not reset.is_nested else ()
    sentence = {
        "mask-packed": "reset is a mask over the steps of a padded input",
        "mask-shape": f"reset must have shape {wants}, got {shape}",
    }.get(code, "reset must be booleans, or 0 and 1")
    error: Any = ArgumentError
    if code in ("mask-packed", "mask-shape"):
        error = LayoutError if fix.endswith(".t()") else ShapeError
    spelled = f"({', '.join(axes)}{',' * (len(axes) == 1)})"
    spec.refuse(
        code, error, "reset", sentence, headline, input_row(spec),
        ("reset", wanted(f"{spelled}, booleans", outlined_array(reset))), ("fix", fix),
        facts=() if error is ArgumentError else (wants, shape),
    )  # fmt: skip
