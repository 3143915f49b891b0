"""``lengths``: one count of valid steps for each sample, or a refusal."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import LengthsError
from rnnkit._base.message import Row, brief, refusal, wanted
from rnnkit._base.torch_tools import are_all, is_fake, is_jit_traced
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec
from rnnkit._checks.causes.inputs import input_row
from rnnkit._checks.odd_tensors import is_odd
from rnnkit._checks.rules import LARGEST
from rnnkit._kernels.lengths import Lengths

#: Integers that torch neither compares nor clamps.
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def check_lengths(spec: CallSpec, lengths: Any, input: Any) -> Lengths:
    """Hold lengths, a list of ints or an integer tensor, to one from 0 to seq for each sample."""
    if spec.kind == "packed":
        _refuse_lengths(
            spec,
            lengths,
            "the input is packed and brings its lengths along",
            "leave lengths out",
            "lengths-packed",
        )
    if spec.batch is None or spec.seq is None:
        fix = f"input.unsqueeze({0 if spec.batch_first else 1}), a batch of one"
        _refuse_lengths(spec, lengths, "the input has no batch axis", fix, "lengths-unbatched")
    each = _as_integers(spec, lengths)
    if each.dim() != 1:
        fix = _fix_axes(spec, each)
        _refuse_lengths(
            spec, lengths, f"lengths have {each.dim()} axes, one is wanted", fix, "lengths-axes"
        )
    if each.shape[0] != spec.batch:
        _refuse_count(spec, lengths, each.shape[0])
    # What a trace looked at would be part of it.
    unknown = is_compiling() or is_jit_traced() or is_fake(each)
    values: list[int] | None = None if unknown else each.tolist()
    # What stands in a list a trace may look at: it is part of the graph.
    written = lengths if unknown and isinstance(lengths, Sequence) else values
    for place, value in enumerate(written or ()):
        if not 0 <= value <= spec.seq:
            _refuse_range(spec, lengths, place, value, clamps=each.dtype not in UNSIGNED)
    each = each.to(input.device, torch.int64)
    if unknown:
        in_range = (each >= 0) & (each <= spec.seq)
        are_all(in_range, "lengths must be integers from 0 to seq, one for each sample")
    return Lengths(each, values, spec.seq)


def _refuse_range(
    spec: CallSpec, lengths: Any, place: int, value: int, *, clamps: bool
) -> NoReturn:
    side = "negative" if value < 0 else "more steps than the input has"
    cut = f"torch.as_tensor(lengths).clamp({'min=0' if value < 0 else f'max={spec.seq}'})"
    if not clamps:
        listed = "lengths.tolist()" if hasattr(lengths, "tolist") else "lengths"
        cut = f"[max(0, min(n, {spec.seq})) for n in {listed}]"
    fix = f"check how the lengths were counted; to cut them: {cut}"
    headline = f"lengths[{place}] is {brief(value)}: {side}"
    _refuse_lengths(spec, lengths, headline, fix, "lengths-range")


def _fix_axes(spec: CallSpec, each: Tensor) -> str:
    if each.dim() == 0:
        return f"[{each.item()}] * {spec.batch}"
    if each.numel() == spec.batch:
        return "torch.as_tensor(lengths).flatten()"
    return _fix_mask(spec, each)


def _fix_mask(spec: CallSpec, mask: Tensor) -> str:
    """Write what makes lengths of a mask, in whichever layout it is."""
    batch_first = spec.batch_first
    if mask.dim() == 2 and spec.seq != spec.batch:
        batch_first = mask.shape[0] == spec.batch
    whole = ".long()" if mask.is_floating_point() else ""
    return f"of a mask: mask.sum({1 if batch_first else 0}){whole}"


def _as_integers(spec: CallSpec, lengths: Any) -> Tensor:
    if isinstance(lengths, Tensor):
        if is_odd(lengths) or lengths.is_meta:
            _refuse_lengths(spec, lengths, "lengths hold no values to look at", "a list of ints")
        each = lengths
    elif isinstance(lengths, str | type) or not (
        isinstance(lengths, Sequence) or hasattr(lengths, "__array__")
    ):
        one = isinstance(lengths, int) and abs(lengths) < LARGEST
        fix = f"[{lengths}] * {spec.batch}" if one else "a list of ints"
        _refuse_lengths(spec, lengths, "lengths are neither list nor tensor", fix)
    elif not isinstance(lengths, Sequence) and getattr(lengths, "ndim", 1) == 0:
        fix = f"[{lengths}] * {spec.batch}"
        _refuse_lengths(spec, lengths, "lengths are one number, not one for each sample", fix)
    else:
        each = _of_list(spec, lengths)
    if each.dtype is torch.bool:
        fix = _fix_mask(spec, each)
        _refuse_lengths(spec, lengths, "lengths are booleans, as a mask is", fix)
    # Of no sample there are no fractions: torch.tensor([]) is one of floats.
    if (each.is_floating_point() or each.is_complex()) and each.numel():
        fix = "[int(n) for n in lengths]"
        if each.dim() == 2:
            fix = _fix_mask(spec, each)
        elif isinstance(lengths, Tensor):
            fix = "lengths.long(); of fractions of the input (lengths * seq).round().long()"
        _refuse_lengths(spec, lengths, f"lengths are {each.dtype}, no counts", fix)
    return each


def _of_list(spec: CallSpec, lengths: Any) -> Tensor:
    if isinstance(lengths, range) and len(lengths) != spec.batch:
        # It may have more numbers than there is memory for.
        _refuse_count(spec, lengths, len(lengths))
    odd = next(((k, n) for k, n in enumerate(lengths) if n is None or isinstance(n, bool)), None)
    if odd is not None:
        _refuse_lengths(spec, lengths, "lengths[{}] is {}".format(*odd), "a list of ints")
    if any(isinstance(length, str) for length in lengths):
        _refuse_lengths(spec, lengths, "lengths hold strings", "[int(n) for n in lengths]")
    each = tensor_or_none(lengths)
    if each is None:
        # An int of more bits than a tensor has.
        large = (isinstance(n, int) and not -LARGEST <= n < LARGEST for n in lengths)
        place = next((place for place, is_large in enumerate(large) if is_large), None)
        if place is not None:
            _refuse_range(spec, lengths, place, int(lengths[place]), clamps=False)
        _refuse_lengths(spec, lengths, "lengths are not a plain list of ints", "a list of ints")
    return each


def _refuse_count(spec: CallSpec, lengths: Any, count: int) -> NoReturn:
    sentence = (
        f"Expected `len(lengths)` to be equal to batch_size, but got {count} "
        f"(batch_size={spec.batch})"
    )
    code = "lengths-count"
    rows = [("fix", f"one length for each of the {spec.batch} samples")]
    headline = f"there are {count} lengths for {spec.batch} samples"
    if count == spec.seq:
        evidence = f"there are {count} lengths, and axis {{axis}} of the input has that size"
        code = spec.layout_code
        headline, rows = spec.other_layout(evidence)
    _raise_lengths(code, spec, lengths, sentence, headline, *rows)


def _refuse_lengths(
    spec: CallSpec, lengths: Any, headline: str, fix: str, code: str = "lengths-kind"
) -> NoReturn:
    sentence = f"lengths must be integers from 0 to {spec.seq}, one for each sample"
    _raise_lengths(code, spec, lengths, sentence, headline, ("fix", fix))


def _raise_lengths(
    code: str, spec: CallSpec, lengths: Any, sentence: str, headline: str, *rows: Row
) -> NoReturn:
    has_shape = isinstance(lengths, Tensor) and not is_odd(lengths)
    shape = tuple(lengths.shape) if has_shape else ()
    came = f"{lengths.dtype} {shape}" if has_shape else brief(lengths)
    if isinstance(lengths, list | tuple) and lengths:
        came += f" of {len(lengths)}"
    expected = "(batch,)" if spec.batch is None else f"(batch={spec.batch},)"
    refusal(
        LengthsError,
        "lengths",
        sentence,
        f"{spec.described}: {headline}",
        input_row(spec),
        ("lengths", wanted(f"{expected}, integers", came)),
        *rows,
        code=code,
        facts=((spec.batch,), shape),
    )
