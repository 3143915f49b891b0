"""The lengths of a call: one count of valid steps for each sample, or why they are not."""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import LengthsError
from rnnkit._base.message import wanted
from rnnkit._base.torch_tools import (
    are_all,
    is_batched,
    is_jit_traced,
    lacks_values,
    moved,
    of_every_example,
)
from rnnkit._checks.arrays import outlined_array, tensor_or_none
from rnnkit._checks.call_spec import CallSpec, RefusalCause
from rnnkit._kernels.lengths import Lengths


def checked_lengths(spec: CallSpec, lengths: Any, input: Any) -> Lengths:
    """Check that lengths are integers from 0 to seq, one for each sample, and return them.

    ``lengths`` may be a list, an array or a tensor; ``input`` tells the device on which they are
    needed, and ``spec`` how many samples and steps it has. Values that a tracer hides are checked
    as it runs.
    """
    read = tensor_or_none(lengths)
    cause = _why_not(spec, read)
    if cause is not None:
        _refuse_lengths(spec, lengths, read, cause)
    given: Any = read
    seq: Any = spec.seq
    counts = given.to(torch.int64)
    # A trace must not read values, except those of a list, which is part of the graph.
    is_abstract = is_compiling() or is_jit_traced() or lacks_values(counts)
    values = None if is_abstract else of_every_example(counts).flatten().tolist()
    listed = lengths if isinstance(lengths, (list, tuple)) else ()  # torch 2.8 traces no union
    for place, value in enumerate(values or listed):
        if not 0 <= value <= seq:
            sample = place % len(counts)
            cut = f"torch.as_tensor(lengths).clamp(0, {seq})"
            cause = RefusalCause(
                "lengths-range",
                f"lengths[{sample}] is {value}, but the input has {seq} steps",
                f"check how the lengths were counted; to cut them: {cut}",
            )
            _refuse_lengths(spec, lengths, counts, cause)
    if values is not None and is_batched(counts):
        values = None  # each example of a vmap has its own
    counts = moved(counts, input.device)
    if is_abstract:
        in_range = (counts >= 0) & (counts <= seq)
        are_all(in_range, "lengths must be integers from 0 to seq, one for each sample")
    return Lengths(counts, values, seq)


def _why_not(spec: CallSpec, counts: Tensor | None) -> RefusalCause | None:
    """Return why these are not one integer for each sample, or None; it reads no value.

    ``counts`` are the lengths as a tensor, or None if they could not be read as one.
    """
    batch = spec.batch
    if spec.kind == "packed":
        return RefusalCause(
            "lengths-packed",
            "the input is a PackedSequence",
            "leave lengths out",
        )
    if batch is None:
        return RefusalCause(
            "lengths-unbatched",
            "the input has no batch axis",
            f"input.unsqueeze({int(not spec.batch_first)}), which makes a batch of one",
        )
    if counts is not None and counts.shape == (batch,) and _are_counts(counts):
        return None  # before a size is written: a graph of any batch would be of that one only
    each = f"pass one integer for each of the {batch} samples"
    if counts is None:
        return RefusalCause("lengths-kind", "lengths cannot be read as integers", each)
    shape = tuple(counts.shape)
    if len(shape) == 2 and sorted(shape) == sorted((batch, spec.seq or 0)):
        is_batch_first = spec.batch_first if spec.seq == batch else shape[0] == batch
        fix = f"lengths=torch.as_tensor(lengths).bool().sum({int(is_batch_first)})"
        return RefusalCause(
            "lengths-axes", "lengths look like a mask, not one count per sample", fix
        )
    if len(shape) != 1:
        return RefusalCause("lengths-axes", f"lengths have {len(shape)} axes instead of 1", each)
    if counts.is_floating_point() and len(counts):
        fix = "lengths=[int(n) for n in lengths]"
        return RefusalCause("lengths-kind", "lengths are floats, not integers", fix)
    if not _are_counts(counts):
        return RefusalCause("lengths-kind", "lengths are booleans, not integers", each)
    headline = f"there are {len(counts)} lengths for {batch} samples"
    return RefusalCause("lengths-count", headline, each)


def _are_counts(counts: Tensor) -> bool:
    """Return whether numbers are integers, or there are none: torch.tensor([]) is of floats."""
    if counts.is_floating_point():
        return len(counts) == 0
    return counts.dtype is not torch.bool and not counts.is_complex()


def _refuse_lengths(
    spec: CallSpec, lengths: Any, counts: Tensor | None, cause: RefusalCause
) -> NoReturn:
    """Refuse lengths for a cause, in torch's words where their number is wrong.

    ``lengths`` are as they came, and ``counts`` the same as a tensor, or None if that is not
    possible. As many lengths as the input has steps are a sign that seq and batch have changed
    places.
    """
    sentence = f"lengths must be integers from 0 to {spec.seq}, one for each sample"
    axes = "(batch,)" if spec.batch is None else f"(batch={spec.batch},)"
    wants = f"{axes}, integers"
    if spec.kind == "packed":
        sentence = "lengths= is for padded input: a PackedSequence has its own lengths"
        wants = "None"
    if cause.code == "lengths-count" and counts is not None:
        came = f"but got {len(counts)} (batch_size={spec.batch})"
        sentence = f"Expected `len(lengths)` to be equal to batch_size, {came}"
        if len(counts) == spec.seq and spec.kind != "masked":
            cause = spec.other_layout(f"there are {spec.seq} lengths")
    spec.refuse(
        LengthsError,
        "lengths",
        sentence,
        cause,
        spec.input_row,
        ("lengths", wanted(wants, outlined_array(lengths))),
        expected=(spec.batch,),
        actual=tuple(lengths.shape) if isinstance(lengths, Tensor) else (),
    )
