"""What is wrong with an input, on what evidence, and what to type.

Runs when a guard has seen something wrong; ``unroll``, called once a sequence, asks here at once.
A diagnosis returns the cause, or None where there is nothing to say.
"""

import math
from itertools import accumulate

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import LayoutError, LengthsError, ShapeError
from rnnkit._base.message import Cause, Row, count, reshaped, wanted
from rnnkit._checks.call_spec import SEQUENCE, SEQUENCES, CallSpec, agree, sizes, spell
from rnnkit._checks.dtype_errors import diagnose_dtype_and_device, no_numbers
from rnnkit._checks.odd_tensors import is_odd, not_dense


def diagnose_input(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause | None:
    """Find what is wrong with an input: its layout or shape, else its dtype or device."""
    if is_odd(input):
        return not_dense(spec.module, input)
    return diagnose_shape(spec, input, weight) or diagnose_dtype_and_device(spec, input, weight)


def diagnose_shape(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause | None:
    """Find what is wrong with an input's axes, or that it holds no floating-point numbers.

    Returns:
        A ShapeError if its rank or width is not what the module reads, or there is no step; a
        LayoutError if its width fits another axis; a DtypeError of integers or booleans.
    """
    if not input.is_floating_point() and not agree(input.dtype, weight.dtype):
        return no_numbers(spec, input, weight)
    if len(spec.actual) not in spec.ranks():
        return _other_rank(spec)
    if spec.actual[-1] != spec.input_size:
        return _other_width(spec)
    if spec.seq == 0:
        sentence = "Expected sequence length to be larger than 0 in RNN"
        fix = ("fix", "leave empty sequences out, or pad to one step")
        return _cause("input-empty", ShapeError, spec, sentence, "the input has no steps", fix)
    return None


def input_row(spec: CallSpec) -> Row:
    """Write the shape that is read beside the one that came."""
    return "input", wanted(spell(spec.input_axes), f"{spec.actual}")


def _cause(
    code: str,
    error: type[ShapeError],
    spec: CallSpec,
    sentence: str,
    headline: str,
    *rows: Row,
) -> Cause:
    headline = f"{spec.described}: {headline}"
    facts = (sizes(spec.input_axes), spec.actual)
    return Cause(code, error, "input", sentence, headline, (input_row(spec), *rows), facts)


def diagnose_packed(spec: CallSpec, input: PackedSequence) -> Cause:
    """Say that the lengths of a packed input promise more steps than its data have.

    ``pack_padded_sequence`` takes lengths beyond the steps of what it packs.
    """
    came, counts = len(input.data), input.batch_sizes.tolist()
    ends = list(accumulate(counts))
    step = next(step for step, end in enumerate(ends) if end > came)
    start, size, promised = ends[step] - counts[step], counts[step], ends[-1]
    cause = _cause(
        "lengths-packed-range",
        LengthsError,
        spec,
        f"start ({start}) + length ({size}) exceeds dimension size ({came}).",
        "a length was larger than the number of steps that were packed",
        ("evidence", f"batch_sizes add up to {promised} steps, the data have {came}"),
        ("fix", "check how the lengths were counted; to cut them: lengths.clamp(max=steps)"),
    )
    return cause._replace(facts=((promised, spec.input_size), spec.actual))


def _other_rank(spec: CallSpec) -> Cause:
    rank = len(spec.actual)
    if spec.kind == "packed":
        sentence = f"input must have 2 dimensions, got {rank}"
    elif spec.kind == "cell":
        sentence = f"{spec.name}: Expected input to be 1D or 2D, got {rank}D instead"
    else:
        tensor = " tensor" if spec.name == "RNN" else ""
        sentence = f"{spec.name}: Expected input to be 2D or 3D, got {rank}D{tensor} instead"
    headline = f"the input has {count(rank, 'axis', 'axes')}"
    return _cause("input-rank", ShapeError, spec, sentence, headline, *_fix_rank(spec, rank))


def _fix_rank(spec: CallSpec, rank: int) -> list[Row]:
    shape, width = spec.actual, spec.input_size
    wants = spell(spec.input_axes)
    if rank == 0:
        return [("fix", f"a tensor {wants}")]
    if spec.kind == "packed":
        return [("fix", f"pack a padded tensor (batch, seq, {width}), a feature axis at its end")]
    if spec.kind == "cell":
        layer = spec.module.__rnnkit__.torch_class.__name__.removesuffix("Cell")
        loop = (
            "for x_t in input: hx = cell(x_t, hx)" if rank == SEQUENCES else "input.flatten(0, -2)"
        )
        return [("fix", f"a cell takes one step: {loop}, or a layer: {layer}({width}, ...)")]
    if rank == 1:
        fix = reshaped("input", shape, (None, width))
        return [("fix", f"{fix}, one unbatched sequence" if fix else f"a tensor {wants}")]
    if rank == SEQUENCES + 1:
        return _fix_four(spec)
    if math.prod(shape[2:]) == width:
        return [("fix", "input.flatten(2), if the axes from 2 on are features")]
    return [("fix", f"bring the axes to {wants}, the others flattened into the last")]


def _fix_four(spec: CallSpec) -> list[Row]:
    """Ask which of four axes are features, and which are samples."""
    shape, width = spec.actual, spec.input_size
    if (fix := reshaped("input", shape, (None, None, width))) and ".squeeze" in fix:
        return [("fix", fix)]
    if shape[1] * shape[3] == width != shape[2] * shape[3]:
        order = "0, 2, 1, 3" if spec.batch_first else "2, 0, 1, 3"
        permuted = f"input.permute({order}).flatten(2)"
        return [("fix", f"{permuted}, if it is (batch, channel, seq, height)")]
    features = shape[2] * shape[3]
    flat = "input.flatten(2), if axes 2 and 3 are features"
    if features == width:
        return [("fix", flat)]
    wide = f"{constructor_of(spec.module)}({features}, ...) and {flat}"
    if shape[3] != width:
        return [("fix", wide)]
    merged = "input.flatten(0, 1), if axes 0 and 1 are both samples: (batch, batch, seq, feature)"
    if not spec.batch_first:
        merged = (
            "input.flatten(1, 2), if axes 1 and 2 are both samples: (seq, batch, batch, feature)"
        )
    return [("fix", merged), ("", wide)]


def _other_width(spec: CallSpec) -> Cause:
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
        headline = f"the features are on axis {axis}"
        return _cause("layout-features", LayoutError, spec, sentence, headline, *rows)
    headline = f"the input is {shape[-1]} wide, the weights are for {width}"
    features = count(width, "feature", "features")
    fix = f"{constructor_of(spec.module)}({shape[-1]}, ...), or an input with {features}"
    rows = [("fix", fix)]
    if shape[-1] == 2 * width:
        evidence = f"{shape[-1]} is twice {width}: a bidirectional layer's output"
        rows = [("evidence", evidence), ("fix", fix)]
    elif width == 1 and len(shape) == (1 if spec.kind == "cell" else SEQUENCE):
        rows = [("fix", "input.unsqueeze(-1), if each step is one number"), ("", fix)]
    elif fitting and len(shape) == SEQUENCES:
        rows = [("fix", _move_feature(spec, fitting[-1])), ("", fix)]
    return _cause("input-width", ShapeError, spec, sentence, headline, *rows)


def _move_feature(spec: CallSpec, axis: int) -> str:
    if len(spec.actual) == 2:
        return "input.t()"
    if axis == 0:
        return "input.movedim(0, -1), then check the order of seq and batch"
    if spec.batch_first:
        return "input.transpose(1, 2), if it is (batch, feature, seq)"
    return "input.permute(2, 0, 1), if it is (batch, feature, seq)"
