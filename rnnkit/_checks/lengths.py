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
from rnnkit._kernels.lengths import Lengths


def check_lengths(spec: CallSpec, lengths: Any, input: Any) -> Lengths:
    """Check that lengths are integers from 0 to seq, one for each sample."""
    if spec.kind == "packed":
        headline = "the input is packed and brings its lengths along"
        _refuse(spec, lengths, "lengths-packed", headline, "leave lengths out")
    if spec.batch is None or spec.seq is None:
        fix = f"input.unsqueeze({0 if spec.batch_first else 1}), a batch of one"
        _refuse(spec, lengths, "lengths-unbatched", "the input has no batch axis", fix)
    each = tensor_or_none(lengths)
    listed = lengths if isinstance(lengths, list | tuple) else ()
    values: list[int] | None = None
    if bool in map(type, listed) and each is not None and each.dtype is not torch.bool:
        each = None  # flags among counts, which torch reads as 0 and 1
    if each is None or each.is_meta or each.dim() != 1 or not is_whole(each):
        values = [value for value in listed if isinstance(value, int)]  # of more than 64 bits
        _check_range(spec, lengths, values if each is None else ())
        _refuse(spec, lengths, *_cause_of_kind(spec, lengths, each))
    if each.shape[0] != spec.batch:
        code, count, rows = "lengths-count", each.shape[0], list[Row]()
        headline = f"there are {count} lengths for {spec.batch} samples"
        if count == spec.seq:
            evidence = f"there are {count} lengths, and axis {{axis}} of the input has that size"
            code, (headline, rows) = spec.layout_code, spec.other_layout(evidence)
        came = f"but got {count} (batch_size={spec.batch})"
        sentence = f"Expected `len(lengths)` to be equal to batch_size, {came}"
        fix = f"one length for each of the {spec.batch} samples"
        _refuse(spec, lengths, code, headline, fix, sentence=sentence, rows=rows)
    each = each.to(torch.int64)
    # A trace must not read values, except those of a list, which is part of the graph.
    unknown = is_compiling() or is_jit_traced() or is_fake(each)
    values = None if unknown else each.tolist()
    _check_range(spec, lengths, values or listed)
    each = each.to(input.device)
    if unknown:
        in_range = (each >= 0) & (each <= spec.seq)
        are_all(in_range, "lengths must be integers from 0 to seq, one for each sample")
    return Lengths(each, values, spec.seq)


def _check_range(spec: CallSpec, lengths: Any, values: Sequence[int]) -> None:
    steps: Any = spec.seq
    for place, value in enumerate(values):
        if not 0 <= value <= steps:
            cut = f"[max(0, min(n, {steps})) for n in lengths]"
            if not isinstance(lengths, list | tuple):
                limit = "min=0" if value < 0 else f"max={steps}"
                cut = f"torch.as_tensor(lengths).clamp({limit})"
            headline = f"lengths[{place}] is {brief(value)} and the input has {steps} steps"
            fix = f"check how the lengths were counted; to cut them: {cut}"
            _refuse(spec, lengths, "lengths-range", headline, fix)


def _cause_of_kind(spec: CallSpec, lengths: Any, each: Tensor | None) -> tuple[str, str, str]:
    """Return why lengths are refused that are a mask, fractions, or have too many axes."""
    if each is None or each.is_meta:
        return "lengths-kind", "lengths are not integers that can be read", "a list of ints"
    code, whole = "lengths-kind", ".long()" if each.is_floating_point() else ""
    if each.dim() == 0 and is_whole(each):
        headline = "lengths are one number, not one for each sample"
        return code, headline, f"[{lengths}] * {spec.batch}"
    code = "lengths-axes" if is_whole(each) else code
    if each.numel() == spec.batch and is_whole(each):
        headline = f"lengths have {each.dim()} axes, one is wanted"
        return code, headline, "torch.as_tensor(lengths).flatten()"
    if each.dtype is torch.bool or each.dim() > 1:
        known = each.dim() == 2 and spec.seq != spec.batch
        axis = 1 if (each.shape[0] == spec.batch if known else spec.batch_first) else 0
        return code, "lengths are a mask, not counts", f"of a mask: mask.sum({axis}){whole}"
    fix = "[int(n) for n in lengths]"
    if isinstance(lengths, Tensor):
        fix = "lengths.long(); of fractions of the input (lengths * seq).round().long()"
    return code, f"lengths are {each.dtype}, not counts", fix


def _refuse(
    spec: CallSpec, lengths: Any, code: str, headline: str, fix: str = "", *, sentence: str = "",
    rows: Sequence[Row] = (),
) -> NoReturn:  # fmt: skip
    expected = "(batch,)" if spec.batch is None else f"(batch={spec.batch},)"
    shape = tuple(lengths.shape) if isinstance(lengths, Tensor) and not lengths.is_nested else ()
    spec.refuse(
        code, LengthsError, "lengths",
        sentence or f"lengths must be integers from 0 to {spec.seq}, one for each sample",
        headline, spec.input_row,
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
    shape: tuple[Any, ...] = (spec.seq, spec.batch)
    shape = shape[:1] if spec.batch is None else shape[:: -1 if spec.batch_first else 1]
    unread = flags is None or (is_meta_or_fake(flags) and not is_meta_or_fake(input))
    if spec.kind == "packed" or flags is None or unread or flags.shape != shape:
        _refuse_mask(spec, reset, shape, flags, unread=unread)
    if flags.dtype is not torch.bool:
        if has_others(flags, "reset"):
            _refuse_mask(spec, reset, shape, flags)
        flags = flags != 0
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _refuse_mask(
    spec: CallSpec, reset: Any, shape: tuple[Any, ...], flags: Any, *, unread: bool = False
) -> NoReturn:
    """Explain what is wrong with a mask of resets, and what to type."""
    name = "reset" if isinstance(reset, Tensor) else "torch.as_tensor(reset)"
    came = tuple(flags.shape) if isinstance(flags, Tensor) else ()
    axis = 1 if spec.batch_first and spec.batch is not None else 0  # of the steps
    made = f"torch.zeros{shape}.bool().index_fill({axis}, {name}, True)"
    wrong = [k for k in range(len(shape)) if len(came) == len(shape) and came[k] != shape[k]]
    code, error, fix = "mask-shape", ShapeError, f"a boolean tensor {shape}"
    if spec.kind == "packed":
        code = "mask-packed"
        headline = "the input is packed, and a mask of its steps is not possible"
        option = ", batch_first=True" if spec.batch_first else ""
        fix = f"pad_packed_sequence(input{option}), then its two results as input and lengths="
    elif unread:
        code, headline = "mask-values", "reset holds no values that can be read"
        code = code if isinstance(reset, Tensor) else "mask-kind"
        fix = "a boolean tensor, on the device of the input"
    elif came == shape and flags.dim() == 1 and is_whole(flags):
        code, fix = "mask-values", made
        headline = "reset holds numbers other than 0 and 1: positions are not a mask"
    elif came == shape:
        code, headline = "mask-values", "reset holds numbers other than 0 and 1"
        first = ":, :1" if axis else ":1"
        changes = f"dim={axis}, prepend={name}[{first}]"
        fix = f"{name}.diff({changes}) != 0, if these are numbers of documents"
        fix = f"{name} > 0.5" if flags.is_floating_point() else fix
    elif came in (shape[::-1], (*shape[::-1], 1)):
        looks, error = "seq-first" if spec.batch_first else "batch-first", LayoutError
        headline = f"the mask looks {looks}, but batch_first={spec.batch_first}"
        fix = f"{name}.t()" if len(came) == len(shape) else f"{name}.squeeze(-1).t()"
    elif came == (*shape, 1):
        headline, fix = "the mask has one axis too many", f"{name}.squeeze(-1)"
    elif came == (spec.batch,):
        headline = "there is one flag for each sample, and none for its steps"
        fix = "to start them again before the call: rnnkit.states.reset(hx, mask)"
    elif len(came) == 1 and is_whole(flags):
        headline, fix = "positions are not a mask", f"{made}, if these are steps of each sample"
    elif len(wrong) == 1:
        noun, size = "steps" if wrong[0] == axis else "samples", shape[wrong[0]]
        headline = f"axis {wrong[0]} of the mask has {came[wrong[0]]} {noun}, the input {size}"
        if came[wrong[0]] > size:
            part = f"{name}[{':, ' * wrong[0]}:{size}]"
            fix = f"{part}, if the input is the first part of what the mask is for"
    else:
        headline = "there must be one flag for each step of each sample"
    spelled = "(batch, seq)" if spec.batch_first else "(seq, batch)"
    spelled = "(seq,)" if spec.batch is None else spelled
    sentence = {
        "mask-packed": "reset is a mask over the steps of a padded input",
        "mask-shape": f"reset must have shape {shape}, got {came}",
    }.get(code, "reset must be booleans, or 0 and 1")
    is_shape = code in ("mask-packed", "mask-shape")
    spec.refuse(
        code, error if is_shape else ArgumentError, "reset", sentence, headline, spec.input_row,
        ("reset", wanted(f"{spelled}, booleans", outlined_array(reset if unread else flags))),
        ("fix", fix), facts=(() if code == "mask-packed" else shape, came) if is_shape else (),
    )  # fmt: skip
