"""What is wrong with an input: its shape, its dtype or device, or that it is not a tensor."""

import math
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    LayoutError,
    LengthsError,
    ShapeError,
)
from rnnkit._base.message import Cause, Row, brief, count, refusal, wanted
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec, agree, described, sizes, spell
from rnnkit._checks.odd_tensors import is_odd, not_dense


def input_row(spec: CallSpec) -> Row:
    """Write the expected shape beside the one that came."""
    return "input", wanted(spell(spec.input_axes), f"{spec.actual}")


def rows_of(evidence: str, fixes: Iterable[str]) -> list[Row]:
    """Lay out evidence, the fix and its alternatives; what is empty is left out."""
    given = [fix for fix in fixes if fix]
    rows = [("evidence", evidence)] if evidence else []
    return rows + [("" if k else "fix", fix) for k, fix in enumerate(given)]


def diagnose_input(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause | None:
    """Find what is wrong with an input: its layout or shape, else its dtype or device."""
    if is_odd(input):
        return not_dense(spec.module, input)
    return diagnose_shape(spec, input, weight) or diagnose_dtype_and_device(spec, input, weight)


def diagnose_shape(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause | None:
    """Find what is wrong with an input's axes, or that it holds no floating-point numbers."""
    shape, width, rank = spec.actual, spec.input_size, len(spec.actual)
    if not input.is_floating_point() and not agree(input.dtype, weight.dtype):
        return _no_numbers(spec, input, weight)
    if rank not in spec.ranks():
        tensor = " tensor" if spec.name == "RNN" else ""
        sentence = {
            "packed": f"input must have 2 dimensions, got {rank}",
            "cell": f"{spec.name}: Expected input to be 1D or 2D, got {rank}D instead",
        }.get(spec.kind, f"{spec.name}: Expected input to be 2D or 3D, got {rank}D{tensor} instead")
        headline = f"the input has {count(rank, 'axis', 'axes')}"
        return _cause(spec, "input-rank", sentence, headline, _fixes_of_rank(spec))
    if shape[-1] != width:
        return _other_width(spec)
    if spec.seq == 0:
        sentence = "Expected sequence length to be larger than 0 in RNN"
        fix = "leave empty sequences out, or pad to one step"
        return _cause(spec, "input-empty", sentence, "the input has no steps", [fix])
    return None


def _cause(
    spec: CallSpec, code: str, sentence: str, headline: str, fixes: list[str], evidence: str = ""
) -> Cause:
    error = LayoutError if code.startswith("layout") else ShapeError
    rows = (input_row(spec), *rows_of(evidence, fixes))
    facts = (sizes(spec.input_axes), spec.actual)
    return spec.cause(code, error, "input", sentence, headline, *rows, facts=facts)


def _fixes_of_rank(spec: CallSpec) -> list[str]:
    """Write what brings an input to the rank: which axes are features, and which are samples?"""
    shape, width, rank = spec.actual, spec.input_size, len(spec.actual)
    wants = f"a tensor {spell(spec.input_axes)}"
    if rank == 0:
        return [wants]
    if spec.kind == "packed":
        return [f"pack a padded tensor (batch, seq, {width}), a feature axis at its end"]
    if spec.kind == "cell":
        layer = spec.module.__rnnkit__.torch_class.__name__.removesuffix("Cell")
        many = "for x_t in input: hx = cell(x_t, hx)" if rank == 3 else "input.flatten(0, -2)"
        return [f"a cell takes one step: {many}, or a layer: {layer}({width}, ...)"]
    if rank == 1:
        axis = {shape[0]: 0, 1: -1}.get(width)
        return [wants if axis is None else f"input.unsqueeze({axis}), one unbatched sequence"]
    if math.prod(shape[2:]) == width and 1 not in shape:
        return ["input.flatten(2), if the axes from 2 on are features"]
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    if rank == 4 and ones and (shape[-1] == width or (ones == [3] and shape[2] == width)):
        return [f"input.squeeze({ones[-1] if shape[-1] != width else ones[0]})"]
    if rank == 4 and shape[1] * shape[3] == width:
        order = "0, 2, 1, 3" if spec.batch_first else "2, 0, 1, 3"
        return [f"input.permute({order}).flatten(2), if it is (batch, channel, seq, height)"]
    if rank == 4 and shape[3] == width:
        axes = "0, 1" if spec.batch_first else "1, 2"
        return [f"input.flatten({axes}), if axes {axes.replace(', ', ' and ')} are both samples"]
    wider = f"{constructor_of(spec.module)}({math.prod(shape[2:])}, ...)"
    return [f"{wider} and input.flatten(2), if the axes from 2 on are features"]


def _other_width(spec: CallSpec) -> Cause:
    shape, width = spec.actual, spec.input_size
    sentence = f"input.size(-1) must be equal to input_size. Expected {width}, got {shape[-1]}"
    if spec.kind == "cell":
        sentence = f"input has inconsistent input_size: got {shape[-1]} expected {width}"
    fitting = [axis for axis, size in enumerate(shape[:-1]) if size == width]
    # An axis of one fits anywhere: no evidence, though moving it may still be the fix.
    if fitting and width > 1 and spec.kind != "packed":
        axis = fitting[-1]
        headline = f"the features are on axis {axis}"
        evidence = f"input_size={width} is axis {axis} of the input"
        return _cause(
            spec, "layout-features", sentence, headline, [_move_feature(spec, axis)], evidence
        )
    features = count(width, "feature", "features")
    fixes = [f"{constructor_of(spec.module)}({shape[-1]}, ...), or an input with {features}"]
    twice = f"{shape[-1]} is twice {width}: a bidirectional layer's output"
    if width == 1 and len(shape) == (1 if spec.kind == "cell" else 2):
        fixes = ["input.unsqueeze(-1), if each step is one number", *fixes]
    elif fitting and len(shape) == 3:
        fixes = [_move_feature(spec, fitting[-1]), *fixes]
    headline = f"the input is {shape[-1]} wide, the weights are for {width}"
    evidence = twice if shape[-1] == 2 * width else ""
    return _cause(spec, "input-width", sentence, headline, fixes, evidence)


def _move_feature(spec: CallSpec, axis: int) -> str:
    if len(spec.actual) == 2:
        return "input.t()"
    if axis == 0:
        return "input.movedim(0, -1), then check the order of seq and batch"
    move = "transpose(1, 2)" if spec.batch_first else "permute(2, 0, 1)"
    return f"input.{move}, if it is (batch, feature, seq)"


def diagnose_packed(spec: CallSpec, input: PackedSequence) -> Cause:
    """Explain that the lengths of a packed input promise more steps than its data have."""
    came, counts = len(input.data), input.batch_sizes.tolist()
    steps = zip(accumulate(counts), counts, strict=True)
    end, last = next(step for step in steps if step[0] > came)
    evidence = f"batch_sizes add up to {sum(counts)} steps, the data have {came}"
    fix = "check how the lengths were counted; to cut them: lengths.clamp(max=steps)"
    return spec.cause(
        "lengths-packed-range", LengthsError, "input",
        f"start ({end - last}) + length ({last}) exceeds dimension size ({came}).",
        "a length was larger than the number of steps that were packed",
        input_row(spec), *rows_of(evidence, [fix]),
        facts=((sum(counts), spec.input_size), spec.actual),
    )  # fmt: skip


def diagnose_dtype_and_device(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause | None:
    """Find what is wrong with an input's dtype or device."""
    if not agree(input.dtype, weight.dtype):
        evidence, one, other = "", f"input.to({weight.dtype})", f"model.to({input.dtype})"
        if input.dtype == torch.float64:
            evidence = "float64 is what NumPy makes of Python's numbers"
        elif input.dtype in (torch.float16, torch.bfloat16):
            evidence = f"{input.dtype} is what autocast leaves; it is off here"
        return spec.cause(
            "input-dtype", DtypeError, "input",
            f"{_dtype_sentence(input, weight)} Convert input: {one}, or convert model: {other}",
            "input and weights differ in dtype",
            ("input", wanted(f"{weight.dtype}", f"{input.dtype}")),
            *rows_of(evidence, [f"{one}, or {other}"]),
        )  # fmt: skip
    if input.device == weight.device:
        return None
    fix = f"input.to({str(weight.device)!r}), or move the model to the input"
    if weight.is_meta:
        name = "layer" if spec.has_rows else "cell"
        fix = f"{name}.to_empty(device={str(input.device)!r}), then load its weights"
    elif input.is_meta:
        fix = f"an input on {str(weight.device)!r}: a tensor on meta has no numbers"
    return spec.cause(
        "input-device", DeviceError, "input",
        "Input and parameter tensors are not at the same device, found input tensor at "
        f"{input.device} and parameter tensor at {weight.device}",
        "input and weights are on different devices",
        ("input", wanted(f"on {weight.device}", f"{input.device}")), ("fix", fix),
    )  # fmt: skip


def _dtype_sentence(input: Tensor, weight: Tensor) -> str:
    return f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype})."


def _no_numbers(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause:
    """Explain that an input holds integers or booleans, and advise an embedding if it may."""
    number = "input.float()" if weight.dtype == torch.float32 else f"input.to({weight.dtype})"
    fixes, ids = [f"numbers: {number}"], "input.data" if spec.kind == "packed" else "input"
    if input.dim() + 1 not in spec.ranks():
        ids += ".squeeze(-1)" if input.dim() in spec.ranks() and input.shape[-1] == 1 else "?"
    if "?" not in ids and input.dtype is not torch.bool:
        ids += "" if input.dtype in (torch.int32, torch.int64) else ".long()"
        embedded = f"torch.nn.Embedding(vocabulary, {spec.input_size})({ids})"
        packed = f"input._replace(data={embedded})"
        fixes.append(f"token ids: {packed if spec.kind == 'packed' else embedded}")
    # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
    return spec.cause(
        "input-numbers", DtypeError, "input", _dtype_sentence(input, weight),
        "the input holds no real floating-point numbers",
        ("input", wanted(f"{weight.dtype}", f"{input.dtype}")), *rows_of("", fixes),
    )  # fmt: skip


def refuse_type(
    module: Any, input: Any, *, unrolled: bool = False, batch_first: bool = False
) -> NoReturn:
    """Refuse an input that is not a tensor; of one step, or unrolled over many."""
    is_layer = isinstance(module, RNNBase)
    fixes = _fixes_of_type(module, input, batch_first, is_step=not (is_layer or unrolled))
    refusal(
        ArgumentError, "input", f"input must be a Tensor, got {brief(input)}", described(module),
        ("input", wanted(f"a Tensor{' or a PackedSequence' * is_layer}", brief(input))),
        *rows_of("", fixes), code="input-type",
    )  # fmt: skip


def _fixes_of_type(module: Any, input: Any, batch_first: bool, *, is_step: bool) -> list[str]:
    """Write what makes an input of this: of packed or listed sequences, steps, or numbers."""
    option = ", batch_first=True" if batch_first else ""
    if isinstance(input, PackedSequence):
        padded = f"torch.nn.utils.rnn.pad_packed_sequence(input{option})"
        if is_step:
            return ["a cell takes one step: loop over a padded sequence, or use a layer"]
        return [f"input, lengths = {padded}, and lengths=lengths"]
    if input is None:
        return ["see what the line before returns"]
    parts = list(input) if isinstance(input, tuple | list) else []
    if not (parts and isinstance(parts[0], Tensor | PackedSequence)):
        if tensor_or_none(input) is None:
            return ["a floating-point tensor"]
        dtypes = [weight.dtype for weight in getattr(module, "parameters", list)()]
        return [f"torch.as_tensor(input, dtype={next(iter(dtypes), torch.float32)})"]
    result = "input[0]: a recurrent layer returns (output, state), nn.Sequential passes both"
    fixes = [result] * (isinstance(input, tuple) and len(parts) == 2)
    shapes: set[tuple[int, ...]]
    shapes = {tuple(part.shape) if isinstance(part, Tensor) else () for part in parts}
    width = getattr(module, "input_size", None)
    if shapes == {(width,)}:
        return [*fixes, "torch.stack(input)"]
    padded, ranks = f"torch.nn.utils.rnn.pad_sequence(input{option})", {len(s) for s in shapes}
    if ranks == {1} and width == 1:
        padded += ".unsqueeze(-1)"
    elif ranks != {2} or len({shape[-1] for shape in shapes}) > 1:
        return fixes or ["one tensor, made of these by torch.stack or torch.cat"]
    sequences = f"{padded} and lengths=[len(x) for x in input]"
    steps = f"torch.stack(input{', 1' if option else ''})"
    if is_step:
        sequences = f"rnnkit.unroll(cell, {padded}, lengths=[len(x) for x in input])"
        steps = "for x_t in input: hx = cell(x_t, hx)"
    fixes.append(f"{sequences}, if each is a sequence")
    return fixes if len(shapes) > 1 or ranks == {1} else [*fixes, f"{steps}, if each is a step"]
