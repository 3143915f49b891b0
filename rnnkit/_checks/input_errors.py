"""What is wrong with an input, on what evidence, and what to type.

Runs when a guard has seen something wrong; ``unroll``, called once a sequence, asks here at once.
Each function raises the error that fits, or returns where there is nothing to say.

What kind of thing an input is, where it is none that the module takes: type, dtype, device.
"""

import math
from itertools import accumulate
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    LayoutError,
    LengthsError,
    ShapeError,
)
from rnnkit._base.message import brief, compose, count, reshaped, wanted
from rnnkit._checks.call_spec import (
    SEQUENCE,
    SEQUENCES,
    ReadableCell,
    Reading,
    agree,
    described,
    sizes,
    spell,
)

Rows = list[tuple[str, str]]


def diagnose_input(reading: Reading, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input.

    Raises:
        ShapeError: if its rank or width is not what the module reads, or there is no step.
        LayoutError: if its width fits another axis.
        DtypeError: if its numbers are not of the weights' dtype.
        DeviceError: if it lies on another device.
    """
    diagnose_shape(reading, input, weight)
    diagnose_dtype_and_device(reading, input, weight)


def diagnose_shape(reading: Reading, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input's axes, or that it holds no floating-point numbers.

    Raises:
        ShapeError: if its rank or width is not what the module reads, or there is no step.
        LayoutError: if its width fits another axis.
        DtypeError: if it holds integers or booleans.
    """
    if not input.is_floating_point() and not agree(input.dtype, weight.dtype):
        refuse_numbers(reading, input, weight)
    if len(reading.actual) not in reading.ranks:
        _refuse_rank(reading)
    if reading.actual[-1] != reading.input_size:
        _refuse_width(reading)
    if reading.seq == 0:
        _refuse_empty(reading)


def _input_row(reading: Reading) -> tuple[str, str]:
    return "input", wanted(spell(reading.input_axes), f"{reading.actual}")


def _refuse(
    error: type[ShapeError], reading: Reading, sentence: str, headline: str, rows: Rows
) -> NoReturn:
    text = compose(sentence, f"{reading.described}: {headline}", [_input_row(reading), *rows])
    raise error(text, "input", sizes(reading.input_axes), reading.actual)


def refuse_packed(reading: Reading, input: PackedSequence) -> NoReturn:
    """Refuse a packed input whose lengths promise more steps than its data have.

    ``pack_padded_sequence`` takes lengths beyond the steps of what it packs.

    Raises:
        LengthsError: always.
    """
    came, counts = len(input.data), input.batch_sizes.tolist()
    ends = list(accumulate(counts))
    step = next(step for step, end in enumerate(ends) if end > came)
    start, size, promised = ends[step] - counts[step], counts[step], ends[-1]
    text = compose(
        f"start ({start}) + length ({size}) exceeds dimension size ({came}).",
        f"{reading.described}: a length was larger than the number of steps that were packed",
        [
            _input_row(reading),
            ("evidence", f"batch_sizes add up to {promised} steps, the data have {came}"),
            ("fix", "look how the lengths were counted; to cut them: lengths.clamp(max=steps)"),
        ],
    )
    raise LengthsError(text, "input", (promised, reading.input_size), reading.actual)


def _refuse_rank(reading: Reading) -> NoReturn:
    rank = len(reading.actual)
    if reading.kind == "packed":
        sentence = f"input must have 2 dimensions, got {rank}"
    elif reading.kind == "cell":
        sentence = f"{reading.name}: Expected input to be 1D or 2D, got {rank}D instead"
    else:
        tensor = " tensor" if reading.name == "RNN" else ""
        sentence = f"{reading.name}: Expected input to be 2D or 3D, got {rank}D{tensor} instead"
    headline = f"the input has {count(rank, 'axis', 'axes')}"
    _refuse(ShapeError, reading, sentence, headline, [("fix", _mend_rank(reading, rank))])


def _mend_rank(reading: Reading, rank: int) -> str:
    shape, width = reading.actual, reading.input_size
    wants = spell(reading.input_axes)
    if rank == 0:
        return f"a tensor {wants}"
    if reading.kind == "packed":
        return f"pack a padded tensor (batch, seq, {width}), a feature axis at its end"
    if reading.kind == "cell":
        layer = reading.name.removesuffix("Cell")
        return f"a cell takes one step: for x_t in input: ..., or a layer: {layer}({width}, ...)"
    if rank == 1:
        fix = reshaped("input", shape, (None, width))
        return f"{fix}, one unbatched sequence" if fix else f"a tensor {wants}"
    if fix := reshaped("input", shape, (None, None, width)):
        return fix
    if rank == SEQUENCES + 1 and shape[1] * shape[3] == width:
        order = "0, 2, 1, 3" if reading.batch_first else "2, 0, 1, 3"
        return f"input.permute({order}).flatten(2), if it is (batch, channel, seq, height)"
    if math.prod(shape[2:]) == width:
        return "input.flatten(2)"
    return f"bring the axes to {wants}, the others flattened into the last"


def _refuse_width(reading: Reading) -> NoReturn:
    shape, width = reading.actual, reading.input_size
    sentence = (
        f"input has inconsistent input_size: got {shape[-1]} expected {width}"
        if reading.kind == "cell"
        else f"input.size(-1) must be equal to input_size. Expected {width}, got {shape[-1]}"
    )
    fitting = [axis for axis, size in enumerate(shape[:-1]) if size == width]
    # An axis of one fits anywhere: no evidence, though moving it may still be the mend.
    if fitting and width > 1 and reading.kind != "packed":
        axis = fitting[-1]
        rows = [
            ("evidence", f"input_size={width} is axis {axis} of the input"),
            ("fix", _move_feature(reading, axis)),
        ]
        _refuse(LayoutError, reading, sentence, f"the features lie on axis {axis}", rows)
    features = count(width, "feature", "features")
    rows = [("fix", f"{reading.constructor}({shape[-1]}, ...), or an input with {features}")]
    if shape[-1] == 2 * width:
        evidence = f"{shape[-1]} is twice {width}: a bidirectional layer's output"
        rows.insert(0, ("evidence", evidence))
    elif width == 1 and len(shape) == (1 if reading.kind == "cell" else SEQUENCE):
        rows.insert(0, ("fix", "input.unsqueeze(-1), if each step is one number"))
        rows[1] = ("", rows[1][1])
    elif fitting and len(shape) == SEQUENCES:
        rows.insert(0, ("fix", _move_feature(reading, fitting[-1])))
        rows[1] = ("", rows[1][1])
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


def refuse_type(module: ReadableCell, input: object, *, unrolled: bool = False) -> NoReturn:
    """Refuse an input that is no tensor; of one step, or unrolled over many.

    Raises:
        ArgumentError: always.
    """
    takes = "a Tensor or a PackedSequence" if isinstance(module, RNNBase) else "a Tensor"
    fix = _mend_type(input)
    if unrolled and isinstance(input, PackedSequence):
        fix = "input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input), and lengths=lengths"
    raise ArgumentError(
        compose(
            f"input must be a Tensor, got {brief(input)}",
            described(module),
            [("input", wanted(takes, brief(input))), ("fix", fix)],
        ),
        "input",
    )


def _mend_type(input: object) -> str:
    if isinstance(input, PackedSequence):
        return "a cell takes one step: loop over a padded sequence, or use a layer"
    if input is None:
        return "see what the line before returns"
    if isinstance(input, tuple | list) and input and isinstance(input[0], Tensor | PackedSequence):
        if isinstance(input, tuple) and len(input) == 2 and not isinstance(input[1], int | float):
            return "input[0]: a recurrent layer returns (output, state), nn.Sequential passes both"
        return "torch.nn.utils.rnn.pad_sequence(input), or torch.stack(input) for equal lengths"
    try:
        torch.as_tensor(input)
    except (TypeError, ValueError, RuntimeError):
        return "a floating-point tensor"
    return "torch.as_tensor(input, dtype=torch.float32)"


def diagnose_dtype_and_device(reading: Reading, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input's dtype or device.

    Raises:
        DtypeError: if its numbers are not of the weights' dtype.
        DeviceError: if it lies on another device.
    """
    if not agree(input.dtype, weight.dtype):
        _refuse_dtype(reading, input, weight)
    if input.layout is not torch.strided and reading.kind != "cell":
        text = compose(
            f"input must be a dense tensor, got {input.layout}",
            f"{reading.described}: torch has no recurrent kernels for other layouts",
            [("fix", "input.to_dense()")],
        )
        raise ArgumentError(text, "input")
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


def _dtype_sentence(input: Tensor, weight: Tensor) -> str:
    return f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype})."


def refuse_numbers(reading: Reading, input: Tensor, weight: Tensor) -> NoReturn:
    # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
    raise DtypeError(
        compose(
            _dtype_sentence(input, weight),
            f"{reading.described}: the input holds no real floating-point numbers",
            [
                ("input", wanted(f"{weight.dtype}", f"{input.dtype}")),
                ("fix", _mend_numbers(input, weight)),
                *_embedding(reading, input),
            ],
        ),
        "input",
    )


def _mend_numbers(input: Tensor, weight: Tensor) -> str:
    if input.is_complex():
        return "torch.view_as_real(input).flatten(-2), twice as many features"
    number = "input.float()" if weight.dtype == torch.float32 else f"input.to({weight.dtype})"
    return f"numbers: {number}"


def _embedding(reading: Reading, input: Tensor) -> Rows:
    """Advise an embedding where its output would have the rank that is read."""
    rank = input.dim()
    ids = "input.data" if reading.kind == "packed" else "input"
    if rank + 1 not in reading.ranks:
        ids += ".squeeze(-1)"
        if rank not in reading.ranks or input.shape[-1] != 1:
            return []
    if input.is_complex():
        return []
    embedded = f"torch.nn.Embedding(vocabulary, {reading.input_size})({ids})"
    if reading.kind == "packed":
        embedded = f"input._replace(data={embedded})"
    return [("", f"token ids: {embedded}")]


def _refuse_dtype(reading: Reading, input: Tensor, weight: Tensor) -> NoReturn:
    rows = [("input", wanted(f"{weight.dtype}", f"{input.dtype}"))]
    if input.dtype == torch.float64:
        rows.append(("evidence", "float64 is what NumPy makes of Python's numbers"))
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
