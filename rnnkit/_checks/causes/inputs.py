"""What is wrong with an input: its shape, its dtype or device, or that it is not a tensor."""

import math
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, DeviceError, DtypeError, LayoutError, ShapeError
from rnnkit._base.message import brief, count, refusal, wanted
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec, agree, check_dense, described, rows_of, sizes, spell

DTYPES = "RNN input dtype ({}) does not match weight dtype ({})."


def check_input(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Refuse an input for its layout or shape, else for its dtype or device."""
    check_dense(spec.module, input)
    check_shape(spec, input, weight)
    check_dtype(spec, input, weight)


def check_shape(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Refuse an input for its axes, or since it holds no floating-point numbers."""
    shape = spec.actual
    rank = len(spec.actual)
    kind = spec.kind
    name = spec.name
    width = spec.input_axes[-1].size
    evidence = ""
    ranks = {"packed": (2,), "step": (1, 2), "cell": (1, 2)}.get(kind, (2, 3))
    if not input.is_floating_point() and not agree(input.dtype, weight.dtype):
        fixes = [f"numbers: input.to({weight.dtype})"]
        if rank + 1 in ranks and input.dtype is not torch.bool and kind != "packed":
            ids = "input" if input.dtype in (torch.int32, torch.int64) else "input.long()"
            fixes.append(f"token ids: torch.nn.Embedding(vocabulary, {width})({ids})")
        # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
        spec.refuse(
            "input-numbers", DtypeError, "input", DTYPES.format(input.dtype, weight.dtype),
            "the input holds no real floating-point numbers",
            ("input", wanted(f"{weight.dtype}", f"{input.dtype}")), *rows_of("", fixes),
        )  # fmt: skip
    if rank not in ranks:
        dims = f"{'1D or 2D' if kind == 'cell' else '2D or 3D'}, got {rank}D"
        sentence = f"{name}: Expected input to be {dims}{' tensor' * (name == 'RNN')} instead"
        sentence = f"input must have 2 dimensions, got {rank}" if kind == "packed" else sentence
        code = "input-rank"
        headline = f"the input has {count(rank, 'axis', 'axes')}"
        fixes = [_fix_of_rank(spec, width or 1)]
    elif width is not None and shape[-1] != width:
        sentence = f"input.size(-1) must be equal to input_size. Expected {width}, got {shape[-1]}"
        if kind == "cell":
            sentence = f"input has inconsistent input_size: got {shape[-1]} expected {width}"
        axis = max([k for k, size in enumerate(shape[:-1]) if size == width], default=None)
        code = "input-width"
        headline = f"the input is {shape[-1]} wide, the weights for {width}"
        if axis is not None and width > 1 and kind != "packed":  # an axis of one fits anywhere
            code = "layout-features"
            headline = f"the features are on axis {axis}"
            evidence = f"input_size={width} is axis {axis} of the input"
            order = "transpose(1, 2)" if spec.batch_first else "permute(2, 0, 1)"
            move = f"input.{order}, if it is (batch, feature, seq)"
            move = move if axis else "input.movedim(0, -1), then check the order of seq and batch"
            fixes = [move if rank > 2 else "input.t()"]
            if rank == 2 and shape[-1] == 1:
                fixes.append(
                    "squeeze(dim) of the axis that is meant, if that of a batch of one is lost"
                )
        else:
            if shape[-1] == 2 * width:
                evidence = f"{shape[-1]} is twice {width}: a bidirectional layer's output"
            made = f"{constructor_of(spec.module)}({shape[-1]}, ...)"
            fixes = [f"{made}, or an input with {count(width, 'feature', 'features')}"]
            if width == 1 and rank + 1 in ranks:
                fixes.insert(0, "input.unsqueeze(-1), if each step is one number")
    elif spec.seq == 0:
        sentence = "Expected sequence length to be larger than 0 in RNN"
        code = "input-empty"
        headline = "the input has no steps"
        fixes = ["leave empty sequences out, or pad to one step"]
    else:
        return
    error = LayoutError if code.startswith("layout") else ShapeError
    rows = rows_of(evidence, fixes)
    facts = (sizes(spec.input_axes), shape)
    spec.refuse(code, error, "input", sentence, headline, spec.input_row, *rows, facts=facts)


def _fix_of_rank(spec: CallSpec, width: int) -> str:
    """Write what brings an input to the rank: which axes are features, and which are samples?"""
    shape = spec.actual
    rank = len(spec.actual)
    first = spec.batch_first
    name = constructor_of(spec.module)
    many = math.prod(shape[2:])
    if spec.kind == "packed":
        return f"pack a padded tensor (batch, seq, {width}), a feature axis at its end"
    if spec.kind == "cell" and rank:
        step = "for x_t in input: hx = cell(x_t, hx)" if rank == 3 else "input.flatten(0, -2)"
        return (
            f"a cell takes one step: {step}, or a layer: {name.removesuffix('Cell')}({width}, ...)"
        )
    if rank == 1 and width in (1, shape[0]):
        return f"input.unsqueeze({-1 if width == 1 else 0}), one unbatched sequence"
    if rank < 3:
        return f"a tensor {spell(spec.input_axes)}"
    if many == width:
        return "input.flatten(2), if the axes from 2 on are features"
    if rank == 4 and shape[1] * shape[3] == width:
        order = "0, 2, 1, 3" if first else "2, 0, 1, 3"
        return f"input.permute({order}).flatten(2), if it is (batch, channel, seq, height)"
    if rank == 4 and shape[3] == width:
        a, b = (0, 1) if first else (1, 2)
        return f"input.flatten({a}, {b}), if axes {a} and {b} are both samples"
    return f"{name}({many}, ...) and input.flatten(2), if the axes from 2 on are features"


def check_dtype(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Refuse an input for its dtype or device."""
    is_dtype = not agree(input.dtype, weight.dtype)
    evidence = ""
    code, error = ("input-dtype", DtypeError) if is_dtype else ("input-device", DeviceError)
    kind = code.removeprefix("input-")
    wants = getattr(weight, kind)
    came = getattr(input, kind)
    fix = f"input.to({str(wants)!r}), or move the model to the input"
    sentence = "Input and parameter tensors are not at the same device, found input tensor at "
    sentence += f"{came} and parameter tensor at {wants}"
    if is_dtype:
        one = f"input.to({wants})"
        other = f"model.to({came})"
        sentence = DTYPES.format(input.dtype, weight.dtype)
        fix = f"{one}, or {other}"
        sentence += f" Convert input: {one}, or convert model: {other}"
        evidence = "float64 is what NumPy makes of Python's numbers" * (came is torch.float64)
    elif came == wants:
        return
    elif weight.is_meta:
        name = "layer" if spec.has_rows else "cell"
        fix = f"{name}.to_empty(device={str(came)!r}), then load its weights"
    elif input.is_meta:
        fix = f"an input on {str(wants)!r}: a tensor on meta has no numbers"
    headline = f"input and weights have different {kind}s"
    row = wanted(f"{wants}", f"{came}")
    rows = [("input", row), *rows_of(evidence, [fix])]
    spec.refuse(code, error, "input", sentence, headline, *rows)


def refuse_type(module: Any, input: Any, *, first: bool, many: bool) -> NoReturn:
    """Refuse an input that is not a tensor of one step, or of ``many``, and write what makes it."""
    name = "torch.nn.utils.rnn."
    option = ", batch_first=True" if first else ""
    lengths = "lengths=[len(x) for x in input]"
    parts = list(input) if isinstance(input, tuple | list) else []
    shapes = {tuple(part.shape) if isinstance(part, Tensor) else () for part in parts}
    are_sequences = {*map(len, shapes)} == {2}
    is_packed = isinstance(input, PackedSequence)
    dtype = next((w.dtype for w in getattr(module, "parameters", list)()), torch.float32)
    # fmt: off
    cases: tuple[tuple[Any, ...], ...] = (
        (is_packed and many,
         f"input, lengths = {name}pad_packed_sequence(input{option}), and lengths=lengths"),
        (is_packed, "a cell takes one step: loop over a padded sequence, or use a layer"),
        (isinstance(input, tuple) and len(parts) == 2 and isinstance(parts[0], Tensor),
         "input[0]: a recurrent layer returns (output, state), nn.Sequential passes both"),
        (are_sequences and many,
         f"{name}pad_sequence(input{option}) and {lengths}, if each is a sequence",
         f"torch.stack(input{', 1' * first}), if each is a step" if len(shapes) == 1 else ""),
        (are_sequences, "for x_t in input: hx = cell(x_t, hx)"),
        (parts and () not in shapes, "one tensor, made of these by torch.stack or torch.cat"),
        (input is None, "see what the line before returns"),
        (shapes <= {()} and tensor_or_none(input) is not None,
         f"torch.as_tensor(input, dtype={dtype})"),
        (True, "a floating-point tensor"),
    )
    # fmt: on
    fixes = next(texts for holds, *texts in cases if holds)
    wants = f"a Tensor{' or a PackedSequence' * isinstance(module, RNNBase)}"
    rows = rows_of("", fixes)
    came = brief(input)
    sentence = f"input must be a Tensor, got {came}"
    row = ("input", wanted(wants, came))
    refusal(ArgumentError, "input", sentence, described(module), row, *rows, code="input-type")
