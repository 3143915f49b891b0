"""Lengths, masks and positions, of a list, an array or a tensor: one reader, and what is wrong."""

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import ArgumentError, LayoutError, LengthsError, ShapeError
from rnnkit._base.message import brief, refusal, wanted
from rnnkit._base.torch_tools import (
    are_all,
    is_batched,
    is_fake,
    is_jit_traced,
    is_meta_or_fake,
    of_every_example,
)
from rnnkit._checks.call_spec import CallSpec, first_of, is_odd, rows_of, spell
from rnnkit._kernels.lengths import Lengths


def tensor_or_none(value: Any) -> Tensor | None:
    """Return a dense tensor where it is, a list or an array on the CPU, None of anything else."""
    if isinstance(value, Tensor):
        return None if is_odd(value) else value
    is_array = not isinstance(value, Sequence) and hasattr(value, "__array__")
    try:
        if is_array and not is_compiling():  # to a compiler an array is a tensor
            given: Any = value
            array = given.__array__()
            native = array.dtype.newbyteorder("=")
            value = array.tolist() if array.dtype.hasobject else array.astype(native)
        return torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return None


def is_whole(numbers: Tensor) -> bool:
    """Return whether a tensor holds integers, or nothing: ``torch.tensor([])`` is of floats."""
    real = numbers.dtype is torch.bool or numbers.is_floating_point() or numbers.is_complex()
    return not real or (numbers.numel() == 0 and numbers.dim() == 1)


def outlined_array(value: Any) -> str:
    """Name an array with its dtype, shape and device, a list with its length."""
    if isinstance(value, Tensor) and not is_odd(value):
        where = "" if value.is_cpu else f" on {value.device}"
        return f"{value.dtype} {tuple(value.shape)}{where}"
    length = f" of {len(value)}" if isinstance(value, list | tuple) and value else ""
    return brief(value) + length


def sliced(tensor: Tensor, axis: int, index: slice) -> Tensor:
    """Return a slice of an axis; torch takes no step backward."""
    try:
        return tensor[(slice(None),) * axis + (index,)]
    except (TypeError, ValueError) as error:
        parts = (index.start, index.stop, index.step)
        came = ":".join("" if part is None else brief(part) for part in parts)
        sentence = f"index must be a slice that torch takes, with a step from 1; got [{came}]"
        fix = ("fix", f"range({tensor.shape[axis]})[{came}] as the index, if all are integers")
        refusal(ArgumentError, "index", sentence, "", fix, code="index-kind", source=error)


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask."""
    positions = tensor_or_none(index)
    if positions is not None and positions.is_meta and device.type != "meta":
        positions = None  # it holds no positions for a state that has numbers
    if positions is not None and positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1).to(device)
    # Sentences are written where they are raised: one that names the batch fixes it in an export.
    if positions is None or positions.dim() != 1 or not is_whole(positions):
        came = outlined_array(index if positions is None else positions)
        sentence = f"index must be integers (new_batch,) or booleans (batch={batch},), got {came}"
        refusal(ArgumentError, "index", sentence, code="index-kind")
    positions = positions.long()  # in an unsigned dtype, -batch would be a large number
    inside = (positions >= -batch) & (positions < batch)
    if not are_all(inside, "index must be positions of samples"):
        place = int((~inside).nonzero()[0])
        sentence = f"index[{place}] is {int(positions[place])}, but the state has {batch} samples"
        fix = ("fix", f"positions from 0 to {batch - 1}" if batch else "a state of a batch")
        refusal(ArgumentError, "index", sentence, "", fix, code="index-range")
    return (positions % max(batch, 1)).to(device)


def check_lengths(spec: CallSpec, lengths: Any, input: Any) -> Lengths:
    """Check that lengths are integers from 0 to seq, one for each sample."""
    each = tensor_or_none(lengths)
    seq = spec.seq
    listed = lengths if isinstance(lengths, (list, tuple)) else ()  # torch 2.8 traces no union
    if each is not None and bool in [type(n) for n in listed] and each.dtype is not torch.bool:
        each = None  # flags among counts, which torch reads as 0 and 1
    if (
        spec.kind == "packed" or spec.batch is None or seq is None or each is None
        or each.is_meta or each.shape != (spec.batch,) or not is_whole(each)
    ):  # fmt: skip
        _refuse_lengths(spec, lengths, each)
    each = each.to(torch.int64)
    # A trace must not read values, except those of a list, which is part of the graph.
    unknown = is_compiling() or is_jit_traced() or is_fake(each)
    values = None if unknown else of_every_example(each).flatten().tolist()
    for place, value in enumerate(values or listed):
        if not 0 <= value <= seq:
            _refuse_lengths(spec, lengths, each, place % spec.batch, value)
    if values is not None and is_batched(each):
        values = None  # each example of a vmap has its own
    each = each.to(input.device)
    if unknown:
        in_range = (each >= 0) & (each <= seq)
        are_all(in_range, "lengths must be integers from 0 to seq, one for each sample")
    return Lengths(each, values, seq)


def _refuse_lengths(
    spec: CallSpec, lengths: Any, each: Tensor | None, place: int = 0, value: int = 0
) -> NoReturn:
    """Explain why lengths are not one integer for each sample, and what to type."""
    batch = spec.batch
    seq = spec.seq
    evidence = ""
    whole = each is not None and is_whole(each)
    shape = () if each is None else tuple(each.shape)
    dtype = None if each is None else each.dtype
    number = shape[0] if shape else 0
    cut = f"torch.as_tensor(lengths).clamp({'min=0' if value < 0 else f'max={seq}'})"
    if isinstance(lengths, list | tuple):
        cut = f"[max(0, min(n, {seq})) for n in lengths]"
    axis = int(number == batch if len(shape) == 2 and seq != batch else spec.batch_first)
    floats = ".long()" if dtype is not None and dtype.is_floating_point else ""
    kind = "floats" if isinstance(lengths, list | tuple) else dtype
    is_mask = shape in {(batch, seq), (seq, batch)}
    are_ints = isinstance(lengths, list | tuple) and {*map(type, lengths)} == {int}
    # fmt: off
    code, headline, fix = first_of((
        (spec.kind == "packed", "lengths-packed",
         "the input is packed and brings its lengths along", "leave lengths out"),
        (batch is None, "lengths-unbatched", "the input has no batch axis",
         f"input.unsqueeze({int(not spec.batch_first)}), a batch of one"),
        (each is None and are_ints, "lengths-range", f"a length is far beyond the {seq} steps",
         f"check how the lengths were counted; to cut them: {cut}"),
        (each is None or each.is_meta, "lengths-kind", "lengths are not integers that can be read",
         "a list of ints"),
        (whole and not shape, "lengths-kind", "lengths are one number, not one for each sample",
         f"[int(lengths)] * {batch}"),
        (whole and shape == (batch,), "lengths-range",
         f"lengths[{place}] is {value} and the input has {seq} steps",
         f"check how the lengths were counted; to cut them: {cut}"),
        (whole and len(shape) == 1, "lengths-count",
         f"there are {number} lengths for {batch} samples", f"one for each of the {batch} samples"),
        (whole and math.prod(shape) == batch, "lengths-axes",
         f"lengths have {len(shape)} axes, one is wanted", "torch.as_tensor(lengths).flatten()"),
        (is_mask, "lengths-axes" if whole else "lengths-kind",
         "lengths are a mask, not counts", f"of a mask: mask.sum({axis}){floats}"),
        (len(shape) > 1, "lengths-axes" if whole else "lengths-kind",
         f"lengths have {len(shape)} axes, one is wanted", f"one for each of the {batch} samples"),
        (dtype is torch.bool, "lengths-kind", "lengths are booleans, not counts",
         f"the number of valid steps of each of the {batch} samples"),
        (True, "lengths-kind", f"lengths are {kind}, not counts", "[int(n) for n in lengths]"),
    ))
    # fmt: on
    sentence = f"lengths must be integers from 0 to {seq}, one for each sample"
    if code == "lengths-count":
        came = f"but got {number} (batch_size={batch})"
        sentence = f"Expected `len(lengths)` to be equal to batch_size, {came}"
        if number == seq:
            code, headline, evidence, fix = spec.other_layout(f"there are {seq} lengths")
    expected = "(batch,)" if batch is None else f"(batch={batch},)"
    spec.refuse(
        code, LengthsError, "lengths", sentence, headline, spec.input_row,
        ("lengths", wanted(f"{expected}, integers", outlined_array(lengths))),
        *rows_of(evidence, [fix]), facts=((batch,), shape if isinstance(lengths, Tensor) else ()),
    )  # fmt: skip


def read_mask(name: str, mask: Any, shape: tuple[Any, ...]) -> tuple[Tensor | None, str]:
    """Return a mask of booleans, or of 0 and 1, as booleans, or the code of what is wrong."""
    flags = tensor_or_none(mask)
    if flags is None or flags.shape != shape:
        return flags, "mask-kind" if flags is None else "mask-shape"
    if flags.dtype is torch.bool:
        return flags, ""
    if flags.is_complex():
        return flags, "mask-values"
    marked = flags != 0
    fits = are_all(flags == marked, f"{name} must be booleans, or 0 and 1")
    return (marked, "") if fits else (flags, "mask-values")


def as_mask(mask: Any, batch: int, device: torch.device) -> Tensor:
    """Return a boolean mask over a batch, in memory of its own: a backward pass may read it."""
    flags, code = read_mask("mask", mask, (batch,))
    if flags is not None and flags.is_meta and device.type != "meta":
        code = "mask-values"
    if code or flags is None:
        _refuse_mask(None, "mask", mask, (batch,), flags, code)
    return flags.to(device, copy=flags is mask)


def check_reset(spec: CallSpec, reset: Any, input: Any) -> Tensor:
    """Return a mask of resets as booleans ``(seq, batch)``, in memory of their own."""
    shape: tuple[Any, ...] = (spec.seq, spec.batch)
    shape = shape[:1] if spec.batch is None else shape[:: -1 if spec.batch_first else 1]
    flags, code = read_mask("reset", reset, () if spec.kind == "packed" else shape)
    if spec.kind == "packed":
        code = "mask-packed"
    elif flags is not None and is_meta_or_fake(flags) and not is_meta_or_fake(input):
        code = "mask-values"
    if code or flags is None:
        _refuse_mask(spec, "reset", reset, shape, flags, code)
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _refuse_mask(
    spec: CallSpec | None, argument: str, mask: Any, shape: Any, flags: Any, code: str
) -> NoReturn:
    """Explain what is wrong with a mask of steps or, without a spec, of samples."""
    name = argument if isinstance(mask, Tensor) else f"torch.as_tensor({argument})"
    came = tuple(flags.shape) if isinstance(flags, Tensor) else ()
    first = spec is not None and spec.batch_first
    whole = flags is not None and is_whole(flags)
    option, axis = ("", 0) if not first else (", batch_first=True", len(shape) - 1)  # of the steps
    made = f"torch.zeros{shape}.bool().index_fill({axis}, {name}, True)"
    changes = f"dim={axis}, prepend={name}[{':, :1' if axis else ':1'}]"
    wrong = [k for k in range(len(shape)) if len(came) == len(shape) and came[k] != shape[k]]
    of = "state" if spec is None else "input"
    right = f"a boolean tensor {shape}"
    cut = (False, "", "")
    if len(wrong) == 1:
        (at,) = wrong
        noun = "steps" if spec and wrong == [axis] else "samples"
        part = f"{name}[{':, ' * at}:{shape[at]}]"
        part = f"{part}, if the {of} is the first part of what the mask is for"
        headline = f"axis {at} of the mask has {came[at]} {noun}, the {of} {shape[at]}"
        cut = (True, headline, part if came[at] > shape[at] else right)
    others = f"{argument} holds numbers other than 0 and 1"
    looks = "seq" if first else "batch"
    turned = code == "mask-shape" and came[:2] == shape[::-1] != shape and came[2:] in ((), (1,))
    # fmt: off
    headline, fix = first_of((
        (code == "mask-packed", "the input is packed, and a mask of its steps is not possible",
         f"pad_packed_sequence(input{option}), then its two results as input and lengths="),
        (flags is None or flags.is_meta, f"{argument} holds no values that can be read",
         f"a boolean tensor, on the device of the {of}"),
        (code == "mask-values" and whole and len(came) == 1,
         f"{others}: positions are not a mask", made),
        (code == "mask-values" and whole, others,
         f"{name}.diff({changes}) != 0, if these are numbers of documents"),
        (code == "mask-values" and flags is not None and flags.is_complex(),
         f"{argument} holds complex numbers", f"{name}.real > 0.5"),
        (code == "mask-values", others, f"{name} > 0.5"),
        (came == (*shape, 1), "the mask has one axis too many", f"{name}.squeeze(-1)"),
        (turned, f"the mask looks {looks}-first, but batch_first={first}",
         f"{name}{'.squeeze(-1)' * (len(came) == 3)}.t()"),
        (spec and came == (spec.batch,),
         "there is one flag for each sample, and none for its steps",
         "to start them again before the call: rnnkit.states.reset(hx, mask)"),
        (len(came) == 1 and whole, "positions are not a mask",
         f"{made}{', if these are steps of each sample' * (spec is not None)}"),
        cut,
        (True, "there must be one flag for each step of each sample", right),
    ))
    # fmt: on
    sentence = {
        "mask-packed": "reset is a mask over the steps of a padded input",
        "mask-shape": f"{argument} must have shape {shape}, got {came}",
    }.get(code, f"{argument} must be booleans, or 0 and 1")
    wants = ["batch"] if spec is None else ["seq", "batch"][: len(shape)][:: -1 if first else 1]
    row = wanted(f"{spell(wants)}, booleans", outlined_array(mask if flags is None else flags))
    rows = [(argument, row), ("fix", fix)]
    if spec is None:
        refusal(ArgumentError, argument, sentence, headline, *rows, code=code)
    error: Any = ShapeError if code in ("mask-shape", "mask-packed") else ArgumentError
    error, facts = LayoutError if turned else error, (shape, came) if code == "mask-shape" else ()
    spec.refuse(code, error, argument, sentence, headline, spec.input_row, *rows, facts=facts)
