"""The lengths of a call: one count of valid steps for each sample, or why they are not."""

import math
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import LengthsError
from rnnkit._base.message import wanted
from rnnkit._base.torch_tools import are_all, is_batched, is_fake, is_jit_traced, of_every_example
from rnnkit._checks.arrays import holds_integers, outlined_array, tensor_or_none
from rnnkit._checks.call_spec import CallSpec, RefusalCause
from rnnkit._kernels.lengths import Lengths


def checked_lengths(spec: CallSpec, lengths: Any, input: Any) -> Lengths:
    """Check that lengths are integers from 0 to seq, one for each sample."""
    read = tensor_or_none(lengths)
    listed = lengths if isinstance(lengths, (list, tuple)) else ()  # torch 2.8 traces no union
    if read is not None and read.dtype is not torch.bool and bool in [type(n) for n in listed]:
        read = None  # flags among counts, which torch reads as 0 and 1
    cause = _why_not(spec, lengths, read)
    if cause is not None:
        _refuse_lengths(spec, lengths, read, cause)
    given: Any = read
    seq: Any = spec.seq
    counts = given.to(torch.int64)
    # A trace must not read values, except those of a list, which is part of the graph.
    is_abstract = is_compiling() or is_jit_traced() or is_fake(counts)
    values = None if is_abstract else of_every_example(counts).flatten().tolist()
    for place, value in enumerate(values or listed):
        if not 0 <= value <= seq:
            sample = place % len(counts)
            _refuse_lengths(spec, lengths, counts, _out_of_range(seq, lengths, sample, value))
    if values is not None and is_batched(counts):
        values = None  # each example of a vmap has its own
    if is_abstract:
        counts = counts.to(input.device)
        in_range = (counts >= 0) & (counts <= seq)
        are_all(in_range, "lengths must be integers from 0 to seq, one for each sample")
    return Lengths(counts, values, seq, None if counts.device == input.device else input.device)


def _why_not(spec: CallSpec, lengths: Any, counts: Tensor | None) -> RefusalCause | None:
    """Return why these are not one integer for each sample, or None; it reads no value."""
    batch = spec.batch
    if spec.kind == "packed":
        return RefusalCause(
            "lengths-packed",
            "the input is packed and brings its lengths along",
            "leave lengths out",
        )
    if batch is None:
        return RefusalCause(
            "lengths-unbatched",
            "the input has no batch axis",
            f"input.unsqueeze({int(not spec.batch_first)}), a batch of one",
        )
    if counts is None:
        return RefusalCause(
            "lengths-kind", "lengths are not integers that can be read", "a list of integers"
        )
    if not holds_integers(counts):
        return _why_not_counts(spec, lengths, counts)
    if counts.shape == (batch,):
        return None
    shape = tuple(counts.shape)
    if not shape:
        return RefusalCause(
            "lengths-kind",
            "lengths are one number, not one for each sample",
            f"[int(lengths)] * {batch}",
        )
    if len(shape) == 1:
        return RefusalCause(
            "lengths-count",
            f"there are {len(counts)} lengths for {batch} samples",
            f"one for each of the {batch} samples",
        )
    if math.prod(shape) == batch:
        return RefusalCause(
            "lengths-axes",
            f"lengths have {len(shape)} axes, one is wanted",
            "torch.as_tensor(lengths).flatten()",
        )
    return _why_of_axes(spec, counts, "lengths-axes")


def _why_not_counts(spec: CallSpec, lengths: Any, numbers: Tensor) -> RefusalCause:
    """Return why booleans or floats are no lengths."""
    if numbers.dim() > 1:
        return _why_of_axes(spec, numbers, "lengths-kind")
    if numbers.dtype is torch.bool:
        return RefusalCause(
            "lengths-kind",
            "lengths are booleans, not counts",
            f"the number of valid steps of each of the {spec.batch} samples",
        )
    kind = "floats" if isinstance(lengths, list | tuple) else numbers.dtype
    return RefusalCause(
        "lengths-kind", f"lengths are {kind}, not counts", "[int(n) for n in lengths]"
    )


def _why_of_axes(spec: CallSpec, numbers: Tensor, code: str) -> RefusalCause:
    """Return why numbers of several axes are no lengths: they may be a mask."""
    batch = spec.batch
    seq = spec.seq
    shape = tuple(numbers.shape)
    if shape not in {(batch, seq), (seq, batch)}:
        return RefusalCause(
            code,
            f"lengths have {len(shape)} axes, one is wanted",
            f"one for each of the {batch} samples",
        )
    is_batch_first = spec.batch_first if seq == batch else shape[0] == batch
    total = f"mask.sum({int(is_batch_first)})"
    if numbers.is_floating_point():
        total += ".long()"
    return RefusalCause(code, "lengths are a mask, not counts", f"{total}, if this is a mask")


def _out_of_range(seq: int, lengths: Any, sample: int, value: int) -> RefusalCause:
    """Return that a length is not from 0 to the number of steps."""
    bound = "min=0" if value < 0 else f"max={seq}"
    cut = f"torch.as_tensor(lengths).clamp({bound})"
    if isinstance(lengths, list | tuple):
        cut = f"[max(0, min(n, {seq})) for n in lengths]"
    return RefusalCause(
        "lengths-range",
        f"lengths[{sample}] is {value} and the input has {seq} steps",
        f"check how the lengths were counted; to cut them: {cut}",
    )


def _refuse_lengths(
    spec: CallSpec, lengths: Any, counts: Tensor | None, cause: RefusalCause
) -> NoReturn:
    """Refuse lengths, in torch's words where their number is wrong."""
    sentence = f"lengths must be integers from 0 to {spec.seq}, one for each sample"
    shape: tuple[int, ...] = ()
    if isinstance(lengths, Tensor) and counts is not None:
        shape = tuple(counts.shape)
    if cause.code == "lengths-count" and counts is not None:
        came = f"but got {len(counts)} (batch_size={spec.batch})"
        sentence = f"Expected `len(lengths)` to be equal to batch_size, {came}"
        if len(counts) == spec.seq:
            cause = spec.other_layout(f"there are {spec.seq} lengths")
    axes = "(batch,)" if spec.batch is None else f"(batch={spec.batch},)"
    spec.refuse(
        LengthsError,
        "lengths",
        sentence,
        cause,
        spec.input_row,
        ("lengths", wanted(f"{axes}, integers", outlined_array(lengths))),
        expected=(spec.batch,),
        actual=shape,
    )
