"""What is wrong with an input, on what evidence, and what to type.

Runs when a guard has seen something wrong; ``unroll``, called once a sequence, asks here at once.
Each function raises the error that fits, or returns where there is nothing to say.
"""

import math
from itertools import accumulate
from typing import NoReturn

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import (
    LayoutError,
    LengthsError,
    ShapeError,
)
from rnnkit._base.message import Rows, compose, count, reshaped, wanted
from rnnkit._checks.call_spec import (
    SEQUENCE,
    SEQUENCES,
    CallSpec,
    agree,
    sizes,
    spell,
)
from rnnkit._checks.dtype_errors import diagnose_dtype_and_device, refuse_numbers


def diagnose_input(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input.

    Raises:
        ShapeError: if its rank or width is not what the module reads, or there is no step.
        LayoutError: if its width fits another axis.
        DtypeError: if its numbers are not of the weights' dtype.
        DeviceError: if it lies on another device.
    """
    diagnose_shape(spec, input, weight)
    diagnose_dtype_and_device(spec, input, weight)


def diagnose_shape(spec: CallSpec, input: Tensor, weight: Tensor) -> None:
    """Find what is wrong with an input's axes, or that it holds no floating-point numbers.

    Raises:
        ShapeError: if its rank or width is not what the module reads, or there is no step.
        LayoutError: if its width fits another axis.
        DtypeError: if it holds integers or booleans.
    """
    if not input.is_floating_point() and not agree(input.dtype, weight.dtype):
        refuse_numbers(spec, input, weight)
    if len(spec.actual) not in spec.ranks:
        _refuse_rank(spec)
    if spec.actual[-1] != spec.input_size:
        _refuse_width(spec)
    if spec.seq == 0:
        _refuse_empty(spec)


def _input_row(spec: CallSpec) -> tuple[str, str]:
    return "input", wanted(spell(spec.input_axes), f"{spec.actual}")


def _refuse_shape(
    error: type[ShapeError], spec: CallSpec, sentence: str, headline: str, rows: Rows
) -> NoReturn:
    text = compose(sentence, f"{spec.described}: {headline}", [_input_row(spec), *rows])
    raise error(text, "input", sizes(spec.input_axes), spec.actual)


def refuse_packed(spec: CallSpec, input: PackedSequence) -> NoReturn:
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
        f"{spec.described}: a length was larger than the number of steps that were packed",
        [
            _input_row(spec),
            ("evidence", f"batch_sizes add up to {promised} steps, the data have {came}"),
            ("fix", "look how the lengths were counted; to cut them: lengths.clamp(max=steps)"),
        ],
    )
    raise LengthsError(text, "input", (promised, spec.input_size), spec.actual)


def _refuse_rank(spec: CallSpec) -> NoReturn:
    rank = len(spec.actual)
    if spec.kind == "packed":
        sentence = f"input must have 2 dimensions, got {rank}"
    elif spec.kind == "cell":
        sentence = f"{spec.name}: Expected input to be 1D or 2D, got {rank}D instead"
    else:
        tensor = " tensor" if spec.name == "RNN" else ""
        sentence = f"{spec.name}: Expected input to be 2D or 3D, got {rank}D{tensor} instead"
    headline = f"the input has {count(rank, 'axis', 'axes')}"
    _refuse_shape(ShapeError, spec, sentence, headline, [("fix", _fix_rank(spec, rank))])


def _fix_rank(spec: CallSpec, rank: int) -> str:
    shape, width = spec.actual, spec.input_size
    wants = spell(spec.input_axes)
    if rank == 0:
        return f"a tensor {wants}"
    if spec.kind == "packed":
        return f"pack a padded tensor (batch, seq, {width}), a feature axis at its end"
    if spec.kind == "cell":
        layer = spec.name.removesuffix("Cell")
        return f"a cell takes one step: for x_t in input: ..., or a layer: {layer}({width}, ...)"
    if rank == 1:
        fix = reshaped("input", shape, (None, width))
        return f"{fix}, one unbatched sequence" if fix else f"a tensor {wants}"
    if fix := reshaped("input", shape, (None, None, width)):
        return fix
    if rank == SEQUENCES + 1 and shape[1] * shape[3] == width:
        order = "0, 2, 1, 3" if spec.batch_first else "2, 0, 1, 3"
        return f"input.permute({order}).flatten(2), if it is (batch, channel, seq, height)"
    if math.prod(shape[2:]) == width:
        return "input.flatten(2)"
    return f"bring the axes to {wants}, the others flattened into the last"


def _refuse_width(spec: CallSpec) -> NoReturn:
    shape, width = spec.actual, spec.input_size
    sentence = (
        f"input has inconsistent input_size: got {shape[-1]} expected {width}"
        if spec.kind == "cell"
        else f"input.size(-1) must be equal to input_size. Expected {width}, got {shape[-1]}"
    )
    fitting = [axis for axis, size in enumerate(shape[:-1]) if size == width]
    # An axis of one fits anywhere: no evidence, though moving it may still be the fix.
    if fitting and width > 1 and spec.kind != "packed":
        axis = fitting[-1]
        rows = [
            ("evidence", f"input_size={width} is axis {axis} of the input"),
            ("fix", _move_feature(spec, axis)),
        ]
        _refuse_shape(LayoutError, spec, sentence, f"the features lie on axis {axis}", rows)
    features = count(width, "feature", "features")
    rows = [("fix", f"{spec.constructor}({shape[-1]}, ...), or an input with {features}")]
    if shape[-1] == 2 * width:
        evidence = f"{shape[-1]} is twice {width}: a bidirectional layer's output"
        rows.insert(0, ("evidence", evidence))
    elif width == 1 and len(shape) == (1 if spec.kind == "cell" else SEQUENCE):
        rows.insert(0, ("fix", "input.unsqueeze(-1), if each step is one number"))
        rows[1] = ("", rows[1][1])
    elif fitting and len(shape) == SEQUENCES:
        rows.insert(0, ("fix", _move_feature(spec, fitting[-1])))
        rows[1] = ("", rows[1][1])
    headline = f"the input is {shape[-1]} wide, the weights are for {width}"
    _refuse_shape(ShapeError, spec, sentence, headline, rows)


def _move_feature(spec: CallSpec, axis: int) -> str:
    if len(spec.actual) == 2:
        return "input.t()"
    if axis == 0:
        return "input.movedim(0, -1), then see that seq and batch are in order"
    if spec.batch_first:
        return "input.transpose(1, 2), if it is (batch, feature, seq)"
    return "input.permute(2, 0, 1), if it is (batch, feature, seq)"


def _refuse_empty(spec: CallSpec) -> NoReturn:
    rows: Rows = [("fix", "leave empty sequences out, or pad to one step")]
    sentence = "Expected sequence length to be larger than 0 in RNN"
    _refuse_shape(ShapeError, spec, sentence, "the input has no steps", rows)
