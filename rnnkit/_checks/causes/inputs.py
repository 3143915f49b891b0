"""What is wrong with an input: its shape, its dtype or device, or that it is not a tensor."""

import math
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, DeviceError, DtypeError, LayoutError, ShapeError
from rnnkit._base.message import brief, count, refuse, wanted
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec, RefusalCause, described, dtypes_agree, sizes, spell

DTYPES = "RNN input dtype ({}) does not match weight dtype ({})."


#: How many axes an input of each kind may have; a batch has one more than an unbatched input.
RANKS = {
    "layer": (2, 3),
    "unrolled": (2, 3),
    "packed": (2,),
    "step": (1, 2),
    "cell": (1, 2),
}


def check_shape(spec: CallSpec, input: Tensor, weight: Tensor | None) -> None:
    """Refuse an input for its axes, or since it holds no floating-point numbers; else return.

    ``weight``, one of the module's, is None if its dtype is not known. ``input`` of another dtype
    than its weight, and not of floats, holds token ids or flags.
    """
    shape = spec.actual
    width = spec.input_axes[-1].size
    if weight is not None and not input.is_floating_point() and input.dtype != weight.dtype:
        _refuse_numbers(spec, input, weight)
    if len(shape) not in RANKS[spec.kind]:
        headline = f"the input has {count(len(shape), 'axis', 'axes')}"
        cause = RefusalCause("input-rank", headline, _fix_of_rank(spec, width or 1))
        _refuse_axes(spec, _sentence_of_rank(spec), cause)
    if width is not None and shape[-1] != width:
        sentence = f"input.size(-1) must be equal to input_size. Expected {width}, got {shape[-1]}"
        if spec.kind == "cell":
            sentence = f"input has inconsistent input_size: got {shape[-1]} expected {width}"
        _refuse_axes(spec, sentence, _cause_of_width(spec, width))
    if spec.seq == 0:
        fix = "leave out empty sequences, or pad them to one step"
        cause = RefusalCause("input-empty", "the input has no steps", fix)
        _refuse_axes(spec, "Expected sequence length to be larger than 0 in RNN", cause)


def _refuse_axes(spec: CallSpec, sentence: str, cause: RefusalCause) -> NoReturn:
    """Raise an error about the axes of an input: a LayoutError if they have changed places.

    ``spec`` is the call as its module reads it, and ``cause`` says why it is wrong and what to
    type.
    """
    spec.refuse(
        LayoutError if cause.is_layout else ShapeError,
        "input",
        sentence,
        cause,
        spec.input_row,
        expected=sizes(spec.input_axes),
        actual=spec.actual,
    )


def _refuse_numbers(spec: CallSpec, input: Tensor, weight: Tensor) -> NoReturn:
    """Refuse integers, booleans or complex numbers; integers without features may be token ids.

    ``spec`` is the call as its module reads it, and ``weight`` one of the module's.
    """
    fixes = [f"input.to({weight.dtype}), if these are measurements, not ids"]
    may_be_ids = input.dtype is not torch.bool and spec.kind != "packed"
    if may_be_ids and len(spec.actual) + 1 in RANKS[spec.kind]:
        width = spec.input_axes[-1].size
        fixes.append(
            f"torch.nn.Embedding(vocabulary, {width})(input.long()), if these are token ids"
        )
    spec.refuse(
        DtypeError,
        "input",
        # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
        DTYPES.format(input.dtype, weight.dtype),
        RefusalCause(
            "input-numbers",
            f"the input holds {input.dtype} values, not real floating-point numbers",
            *fixes,
        ),
    )


def _sentence_of_rank(spec: CallSpec) -> str:
    """Return what torch says of an input with too many axes, or too few, in the call ``spec``."""
    rank = len(spec.actual)
    if spec.kind == "packed":
        return f"input must have 2 dimensions, got {rank}"
    expected = "1D or 2D" if spec.kind == "cell" else "2D or 3D"
    noun = " tensor" if spec.name == "RNN" else ""
    return f"{spec.name}: Expected input to be {expected}, got {rank}D{noun} instead"


def _cause_of_width(spec: CallSpec, width: int) -> RefusalCause:
    """Return why an input has fewer or more features than the ``width`` that the weights expect.

    ``spec`` is the call as its module reads it. The features may be on another axis, or missing.
    """
    came = spec.actual[-1]
    made = f"{constructor_of(spec.module)}({came}, ...)"
    axis = max([k for k, size in enumerate(spec.actual[:-1]) if size == width], default=None)
    if axis is not None and width > 1 and spec.kind != "packed":  # an axis of one fits anywhere
        return RefusalCause(
            "layout-features",
            f"the features seem to be on axis {axis}",
            _fix_of_features(spec, axis),
            f"{made}, if the input has {came} features",
            evidence=f"input_size={width} is the size of axis {axis} of the input",
        )
    fixes = [f"{made}, or an input with {count(width, 'feature', 'features')}"]
    if width == 1 and len(spec.actual) + 1 in RANKS[spec.kind]:
        fixes.insert(
            0, "input.unsqueeze(-1), which adds a feature axis, if each step is one number"
        )
    evidence = f"{came} is twice {width}, as wide as a bidirectional layer's output"
    return RefusalCause(
        "input-width",
        f"the input has {came} features, but the weights expect {width}",
        *fixes,
        evidence=evidence if came == 2 * width else "",
    )


def _fix_of_features(spec: CallSpec, axis: int) -> str:
    """Write what brings the features from an axis to the last one, in the call ``spec``."""
    if len(spec.actual) == 2:
        return "input.t()"
    if axis == 0:
        return "input.movedim(0, -1), then check the order of seq and batch"
    order = "transpose(1, 2)" if spec.batch_first else "permute(2, 0, 1)"
    return f"input.{order}, if it is (batch, feature, seq)"


def _fix_of_rank(spec: CallSpec, width: int) -> str:
    """Write what to type for an input with too many axes, or too few.

    ``spec`` is the call as its module reads it, and ``width`` how many features it expects.
    """
    shape = spec.actual
    rank = len(shape)
    name = constructor_of(spec.module)
    if spec.kind == "packed":
        return f"torch.nn.utils.rnn.pack_sequence([x.reshape(len(x), {width}) for x in sequences])"
    if spec.kind == "cell" and rank:
        step = "for x_t in input: hx = cell(x_t, hx)"
        return (
            f"{step}, since a cell runs one step, or use {name.removesuffix('Cell')}({width}, ...)"
        )
    if rank == 1 and width in (1, shape[0]):
        axis = -1 if width == 1 else 0
        return f"input.unsqueeze({axis}), if this is one sequence without a batch axis"
    if rank < 3:
        return f"pass a tensor of shape {spell(spec.input_axes)}"
    flat = math.prod(shape[2:])
    layer = "" if flat == width else f"{name}({flat}, ...) and "
    return f"{layer}input.flatten(2), if the axes from 2 on are features"


def check_dtype(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Refuse an input for its dtype or device."""
    dtype = input.dtype
    if not dtypes_agree(input, weight.dtype):
        of_input = f"input.to({weight.dtype})"
        of_model = f"model.to({dtype})"
        wrong = DTYPES.format(dtype, weight.dtype)
        is_double = dtype is torch.float64
        spec.refuse(
            DtypeError,
            "input",
            f"{wrong} Convert input: {of_input}, or convert model: {of_model}",
            RefusalCause(
                "input-dtype",
                "the input and the weights have different dtypes",
                f"{of_input}, or {of_model}",
                evidence="float64 is NumPy's default dtype" if is_double else "",
            ),
        )
    came = input.device
    wants = weight.device
    if came != wants:
        fix = f"input.to({str(wants)!r}), or move the model to the input's device"
        spec.refuse(
            DeviceError,
            "input",
            "Input and parameter tensors are not at the same device, "
            f"found input tensor at {came} and parameter tensor at {wants}",
            RefusalCause(
                "input-device", f"the input is on {came}, but the weights are on {wants}", fix
            ),
        )


def refuse_type(module: Any, input: Any, *, first: bool, many: bool) -> NoReturn:
    """Refuse an input that is no tensor, and write what makes one of it.

    ``many`` says that the module reads many steps, not one, and ``first`` that it is batch-first.
    """
    wants = "a Tensor or a PackedSequence" if isinstance(module, RNNBase) else "a Tensor"
    came = brief(input)
    refuse(
        ArgumentError,
        "input",
        f"input must be a Tensor, got {came}",
        described(module),
        ("input", wanted(wants, came)),
        fix=_fix_of_type(module, input, first=first, many=many),
        code="input-type",
    )


# complexipy: ignore - a flat chain of questions
def _fix_of_type(module: Any, input: Any, *, first: bool, many: bool) -> str:
    """Write what makes a tensor of one step, or of ``many``, of what came.

    ``first`` says that the module is batch-first. A tuple may be a layer's result, a list may be
    sequences to pad, or numbers.
    """
    option = ", batch_first=True" if first else ""
    if isinstance(input, PackedSequence):
        if many:
            unpack = f"torch.nn.utils.rnn.pad_packed_sequence(input{option})"
            return f"input, lengths = {unpack}, then pass lengths=lengths"
        return "loop over the steps of the padded sequences, or use a layer"
    parts = list(input) if isinstance(input, tuple | list) else []
    if isinstance(input, tuple) and len(parts) == 2 and isinstance(parts[0], Tensor):
        return "input[0], since a layer returns (output, state), which nn.Sequential passes on"
    shapes = {tuple(part.shape) if isinstance(part, Tensor) else () for part in parts}
    if many and {*map(len, shapes)} == {2}:
        pad = f"torch.nn.utils.rnn.pad_sequence(input{option})"
        return f"{pad} and lengths=[len(x) for x in input], if each tensor is a sequence"
    if shapes <= {()} and tensor_or_none(input) is not None:
        weights: Any = getattr(module, "parameters", list)()
        dtype = next((weight.dtype for weight in weights), torch.float32)
        return f"torch.as_tensor(input, dtype={dtype})"
    return "pass a floating-point tensor"
