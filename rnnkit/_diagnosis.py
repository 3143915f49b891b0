"""What is wrong with an input, on what evidence, and what to type.

Runs only when a guard has seen something wrong. Each function raises the error that fits, or
returns: then torch may go on, for the guards look at sizes and this looks twice.
"""

import math
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._errors import ArgumentError, DeviceError, DtypeError, LayoutError, ShapeError
from rnnkit._message import brief, compose, wanted
from rnnkit._reading import Cell, Reading, agree, described, sizes, spell

Rows = list[tuple[str, str]]


def refuse_type(module: Cell, input: object) -> NoReturn:
    """Refuse an input that is no tensor.

    Raises:
        ArgumentError: always.
    """
    takes = "a Tensor or a PackedSequence" if isinstance(module, RNNBase) else "a Tensor"
    fix = "torch.as_tensor(input, dtype=torch.float32)"
    if isinstance(input, PackedSequence):
        fix = "a cell takes one step: loop over a padded sequence, or use a layer"
    elif isinstance(input, tuple) and input and isinstance(input[0], Tensor | PackedSequence):
        fix = "input[0]: a recurrent layer returns (output, state), nn.Sequential passes on both"
    elif isinstance(input, list) and input and isinstance(input[0], Tensor):
        fix = "torch.nn.utils.rnn.pad_sequence(input), or torch.stack(input) for equal lengths"
    elif input is None:
        fix = "check what the line before returns"
    raise ArgumentError(
        compose(
            f"input must be a Tensor, got {brief(input)}",
            described(module),
            [("input", wanted(takes, brief(input))), ("fix", fix)],
        ),
        "input",
    )


def diagnose_input(reading: Reading, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input.

    Raises:
        ShapeError: if its rank or width is not what the module reads, or there is no step.
        LayoutError: if its width fits another axis.
        DtypeError: if its numbers are not of the weights' dtype.
        DeviceError: if it lies on another device.
    """
    diagnose_shape(reading, input, weight)
    diagnose_kind(reading, input, weight)


def diagnose_shape(reading: Reading, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input's axes, or that it holds no floating-point numbers.

    Raises:
        ShapeError: if its rank or width is not what the module reads, or there is no step.
        LayoutError: if its width fits another axis.
        DtypeError: if it holds integers or booleans.
    """
    if not input.is_floating_point() and not agree(input.dtype, weight.dtype):
        _refuse_numbers(reading, input, weight)
    if len(reading.actual) not in _ranks(reading):
        _refuse_rank(reading)
    if reading.actual[-1] != reading.input_size:
        _refuse_width(reading)
    if reading.seq == 0:
        _refuse_empty(reading)


def diagnose_kind(reading: Reading, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input's dtype or device.

    Raises:
        DtypeError: if its numbers are not of the weights' dtype.
        DeviceError: if it lies on another device.
    """
    if not agree(input.dtype, weight.dtype):
        _refuse_dtype(reading, input, weight)
    if input.device != weight.device:
        raise DeviceError(
            compose(
                f"Input and parameter tensors are not at the same device, found input tensor at "
                f"{input.device} and parameter tensor at {weight.device}",
                f"{reading.described}: the input lies on another device",
                [
                    ("input", wanted(f"on {weight.device}", f"{input.device}")),
                    ("fix", f"input.to({str(weight.device)!r}), or move the model to the input"),
                ],
            ),
            "input",
        )


def _ranks(reading: Reading) -> tuple[int, ...]:
    return {"packed": (2,), "cell": (1, 2)}.get(reading.kind, (2, 3))


def _input_row(reading: Reading) -> tuple[str, str]:
    return "input", wanted(spell(reading.input_axes), f"{reading.actual}")


def _refuse(
    error: type[ShapeError], reading: Reading, sentence: str, headline: str, rows: Rows
) -> NoReturn:
    text = compose(sentence, f"{reading.described}: {headline}", [_input_row(reading), *rows])
    raise error(text, "input", sizes(reading.input_axes), reading.actual)


def _dtype_sentence(input: Tensor, weight: Tensor) -> str:
    return f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype})."


def _refuse_numbers(reading: Reading, input: Tensor, weight: Tensor) -> NoReturn:
    # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
    number = "input.float()" if weight.dtype == torch.float32 else f"input.to({weight.dtype})"
    width = reading.input_size
    raise DtypeError(
        compose(
            _dtype_sentence(input, weight),
            f"{reading.described}: the input holds no floating-point numbers",
            [
                ("input", wanted(f"{weight.dtype}", f"{input.dtype}")),
                ("fix", f"numbers: {number}"),
                ("", f"token ids: torch.nn.Embedding(vocabulary, {width})(input)"),
            ],
        ),
        "input",
    )


def _refuse_dtype(reading: Reading, input: Tensor, weight: Tensor) -> NoReturn:
    rows = [("input", wanted(f"{weight.dtype}", f"{input.dtype}"))]
    if input.dtype == torch.float64:
        rows.append(("evidence", "float64 is what NumPy and Python numbers bring along"))
    elif input.dtype in (torch.float16, torch.bfloat16):
        rows.append(("evidence", f"{input.dtype} is what autocast leaves; it is off here"))
    rows.append(("fix", f"input.to({weight.dtype}), or model.to({input.dtype})"))
    advice = f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
    raise DtypeError(
        compose(
            f"{_dtype_sentence(input, weight)} {advice}",
            f"{reading.described}: input and weights differ in dtype",
            rows,
        ),
        "input",
    )


def _refuse_rank(reading: Reading) -> NoReturn:
    rank, width = len(reading.actual), reading.input_size
    if reading.kind == "packed":
        sentence = f"input must have 2 dimensions, got {rank}"
    elif reading.kind == "cell":
        sentence = f"{reading.name}: Expected input to be 1D or 2D, got {rank}D instead"
    else:
        tensor = " tensor" if reading.name == "RNN" else ""
        sentence = f"{reading.name}: Expected input to be 2D or 3D, got {rank}D{tensor} instead"
    rows = [("fix", _mend_rank(reading, rank, width))]
    _refuse(ShapeError, reading, sentence, f"the input has {rank} axes", rows)


def _mend_rank(reading: Reading, rank: int, width: int) -> str:
    shape = reading.actual
    wants = spell(reading.input_axes)
    if rank == 0:
        return f"a tensor {wants}"
    if reading.kind == "packed":
        return f"pack a padded tensor (batch, seq, {width}), a feature axis at its end"
    if reading.kind == "cell":
        layer = reading.name.removesuffix("Cell")
        return f"a cell takes one step: for x_t in input: ..., or a layer: {layer}({width}, ...)"
    if rank == 1:
        if width == 1:
            return "input.unsqueeze(-1) for one sequence of single numbers: (seq, 1)"
        return "input.unsqueeze(0) for one step of one sequence: (1, input_size)"
    batch_axes = "0, 2" if reading.batch_first else "2, 0"
    if rank == 4 and shape[1] * shape[3] == width:
        order = "0, 2, 1, 3" if reading.batch_first else "2, 0, 1, 3"
        return f"input.permute({order}).flatten(2), if it is (batch, channel, seq, height)"
    if rank == 4 and 1 in shape:
        return f"input.squeeze({shape.index(1)})"
    if math.prod(shape[2:]) == width:
        return "input.flatten(2)"
    return f"bring the axes to {wants}: input.permute({batch_axes}, ...).flatten(2)"


def _refuse_width(reading: Reading) -> NoReturn:
    shape, width = reading.actual, reading.input_size
    sentence = (
        f"input has inconsistent input_size: got {shape[-1]} expected {width}"
        if reading.kind == "cell"
        else f"input.size(-1) must be equal to input_size. Expected {width}, got {shape[-1]}"
    )
    fitting = [axis for axis, size in enumerate(shape[:-1]) if size == width]
    if fitting and width > 1 and reading.kind != "packed":
        axis = fitting[-1]
        rows = [
            ("evidence", f"input_size={width} is axis {axis} of the input"),
            ("fix", _move_feature(reading, axis)),
        ]
        _refuse(LayoutError, reading, sentence, f"the features lie on axis {axis}", rows)
    if width == 1:
        fix = "input.unsqueeze(-1), if each step is one number"
        if fitting and len(shape) == 3:
            fix = _move_feature(reading, fitting[-1])
        rows = [("fix", fix)]
        _refuse(ShapeError, reading, sentence, "the input has no feature axis of size 1", rows)
    rows = [("fix", f"{reading.name}({shape[-1]}, ...), or an input with {width} features")]
    if shape[-1] == 2 * width:
        rows.insert(
            0, ("evidence", f"{shape[-1]} is twice {width}: a bidirectional layer's output")
        )
    headline = f"the input is {shape[-1]} wide, the weights are for {width}"
    _refuse(ShapeError, reading, sentence, headline, rows)


def _move_feature(reading: Reading, axis: int) -> str:
    if len(reading.actual) == 2:
        return "input.t()"
    if axis == 0:
        return "input.movedim(0, -1), then see that seq and batch are in order"
    if reading.batch_first:
        return "input.transpose(1, 2), if it is (batch, feature, seq)"
    return "input.permute(2, 0, 1), if it is (batch, feature, seq)"


def _refuse_empty(reading: Reading) -> NoReturn:
    rows: Rows = [("fix", "leave empty sequences out, or pad to one step")]
    sentence = "Expected sequence length to be larger than 0 in RNN"
    _refuse(ShapeError, reading, sentence, "the input has no steps", rows)
