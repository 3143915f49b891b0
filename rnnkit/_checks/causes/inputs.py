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


def check_input(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Refuse an input for its layout or shape, else for its dtype or device."""
    check_dense(spec.module, input)
    check_shape(spec, input, weight)
    check_dtype(spec, input, weight)


def check_shape(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Refuse an input for its axes, or since it holds no floating-point numbers."""
    shape, rank, kind, name = spec.actual, len(spec.actual), spec.kind, spec.name
    width, evidence = spec.input_axes[-1].size, ""
    ranks = {"packed": (2,), "step": (1, 2), "cell": (1, 2)}.get(kind, (2, 3))
    if not input.is_floating_point() and not agree(input.dtype, weight.dtype):
        number = "float()" if weight.dtype is torch.float32 else f"to({weight.dtype})"
        fixes = [f"numbers: input.{number}"]
        if rank + 1 in ranks and input.dtype is not torch.bool and kind != "packed":
            ids = "input" if input.dtype in (torch.int32, torch.int64) else "input.long()"
            fixes.append(f"token ids: torch.nn.Embedding(vocabulary, {width})({ids})")
        # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
        spec.refuse(
            "input-numbers", DtypeError, "input", _dtype_sentence(input, weight),
            "the input holds no real floating-point numbers",
            ("input", wanted(f"{weight.dtype}", f"{input.dtype}")), *rows_of("", fixes),
        )  # fmt: skip
    if rank not in ranks:
        dims = f"{'1D or 2D' if kind == 'cell' else '2D or 3D'}, got {rank}D"
        sentence = f"{name}: Expected input to be {dims}{' tensor' * (name == 'RNN')} instead"
        sentence = f"input must have 2 dimensions, got {rank}" if kind == "packed" else sentence
        code, headline = "input-rank", f"the input has {count(rank, 'axis', 'axes')}"
        fixes = [_fix_of_rank(spec, width or 1)]
    elif width is not None and shape[-1] != width:
        sentence = f"input.size(-1) must be equal to input_size. Expected {width}, got {shape[-1]}"
        if kind == "cell":
            sentence = f"input has inconsistent input_size: got {shape[-1]} expected {width}"
        axis = max([k for k, size in enumerate(shape[:-1]) if size == width], default=None)
        code, headline = "input-width", f"the input is {shape[-1]} wide, the weights for {width}"
        if axis is not None and width > 1 and kind != "packed":  # an axis of one fits anywhere
            code, headline = "layout-features", f"the features are on axis {axis}"
            evidence = f"input_size={width} is axis {axis} of the input"
            order = "transpose(1, 2)" if spec.batch_first else "permute(2, 0, 1)"
            move = f"input.{order}, if it is (batch, feature, seq)"
            move = move if axis else "input.movedim(0, -1), then check the order of seq and batch"
            fixes = [move if rank > 2 else "input.t()"]
        else:
            twice = f"{shape[-1]} is twice {width}: a bidirectional layer's output"
            evidence = twice if shape[-1] == 2 * width else ""
            is_flat = width == 1 and rank == (1 if kind == "cell" else 2)
            made = f"{constructor_of(spec.module)}({shape[-1]}, ...)"
            fixes = ["input.unsqueeze(-1), if each step is one number" if is_flat else "",
                     f"{made}, or an input with {count(width, 'feature', 'features')}"]  # fmt: skip
    elif spec.seq == 0:
        sentence = "Expected sequence length to be larger than 0 in RNN"
        code, headline = "input-empty", "the input has no steps"
        fixes = ["leave empty sequences out, or pad to one step"]
    else:
        return
    error = LayoutError if code.startswith("layout") else ShapeError
    rows, facts = rows_of(evidence, fixes), (sizes(spec.input_axes), shape)
    spec.refuse(code, error, "input", sentence, headline, spec.input_row, *rows, facts=facts)


def _fix_of_rank(spec: CallSpec, width: int) -> str:
    """Write what brings an input to the rank: which axes are features, and which are samples?"""
    shape, rank, first = spec.actual, len(spec.actual), spec.batch_first
    name, many = constructor_of(spec.module), math.prod(shape[2:])
    if spec.kind == "packed":
        return f"pack a padded tensor (batch, seq, {width}), a feature axis at its end"
    if spec.kind == "cell" and rank:
        step = "for x_t in input: hx = cell(x_t, hx)" if rank == 3 else "input.flatten(0, -2)"
        layer = name.removesuffix("Cell")
        return f"a cell takes one step: {step}, or a layer: {layer}({width}, ...)"
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
    if not agree(input.dtype, weight.dtype):
        one, other = f"input.to({weight.dtype})", f"model.to({input.dtype})"
        numpys = "float64 is what NumPy makes of Python's numbers"
        evidence = numpys if input.dtype == torch.float64 else ""
        spec.refuse(
            "input-dtype", DtypeError, "input",
            f"{_dtype_sentence(input, weight)} Convert input: {one}, or convert model: {other}",
            "input and weights differ in dtype",
            ("input", wanted(f"{weight.dtype}", f"{input.dtype}")),
            *rows_of(evidence, [f"{one}, or {other}"]),
        )  # fmt: skip
    if input.device != weight.device:
        fix = f"input.to({str(weight.device)!r}), or move the model to the input"
        if weight.is_meta:
            name = "layer" if spec.has_rows else "cell"
            fix = f"{name}.to_empty(device={str(input.device)!r}), then load its weights"
        elif input.is_meta:
            fix = f"an input on {str(weight.device)!r}: a tensor on meta has no numbers"
        spec.refuse(
            "input-device", DeviceError, "input",
            "Input and parameter tensors are not at the same device, found input tensor at "
            f"{input.device} and parameter tensor at {weight.device}",
            "input and weights are on different devices",
            ("input", wanted(f"on {weight.device}", f"{input.device}")), ("fix", fix),
        )  # fmt: skip


def _dtype_sentence(input: Tensor, weight: Tensor) -> str:
    return f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype})."


def refuse_type(
    module: Any, input: Any, *, unrolled: bool = False, batch_first: bool = False
) -> NoReturn:
    """Refuse an input that is not a tensor, of one step or of many; write what makes one of it."""
    is_layer, option = isinstance(module, RNNBase), ", batch_first=True" if batch_first else ""
    parts = list(input) if isinstance(input, tuple | list) else []
    shapes = {tuple(part.shape) if isinstance(part, Tensor) else () for part in parts}
    are_sequences = {*map(len, shapes)} == {2}
    fixes = ["a floating-point tensor"]
    if isinstance(input, PackedSequence):
        fixes = ["a cell takes one step: loop over a padded sequence, or use a layer"]
        opened = f"torch.nn.utils.rnn.pad_packed_sequence(input{option})"
        fixes = [f"input, lengths = {opened}, and lengths=lengths"] if unrolled else fixes
    elif isinstance(input, tuple) and len(parts) == 2 and isinstance(parts[0], Tensor):
        fixes = ["input[0]: a recurrent layer returns (output, state), nn.Sequential passes both"]
    elif are_sequences and (is_layer or unrolled):
        padded = f"torch.nn.utils.rnn.pad_sequence(input{option})"
        stacked = f"torch.stack(input{', 1' if option else ''}), if each is a step"
        fixes = [f"{padded} and lengths=[len(x) for x in input], if each is a sequence"]
        fixes += [stacked] if len(shapes) == 1 else []
    elif parts and () not in shapes:
        fixes = ["one tensor, made of these by torch.stack or torch.cat"]
        fixes = ["for x_t in input: hx = cell(x_t, hx)"] if are_sequences else fixes
    elif input is None:
        fixes = ["see what the line before returns"]
    elif tensor_or_none(input) is not None:
        dtypes = [weight.dtype for weight in getattr(module, "parameters", list)()]
        fixes = [f"torch.as_tensor(input, dtype={next(iter(dtypes), torch.float32)})"]
    refusal(
        ArgumentError, "input", f"input must be a Tensor, got {brief(input)}", described(module),
        ("input", wanted(f"a Tensor{' or a PackedSequence' * is_layer}", brief(input))),
        *rows_of("", fixes), code="input-type",
    )  # fmt: skip
