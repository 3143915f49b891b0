"""Guards of what one does with a module besides calling it.

What picks samples of a batch: positions, and masks, which are not to be confused.
"""

import operator
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import ArgumentError, LengthsError, ShapeError, StateError
from rnnkit._base.message import brief, compose, wanted
from rnnkit._base.torch_tools import hides_values, is_jit_traced, is_proxy
from rnnkit._checks.call_spec import (
    Axis,
    ReadableLayer,
    Reading,
    described,
    own_state_axes,
    sizes,
    spell,
)
from rnnkit._kernels.lengths import Lengths


def check_lengths(reading: Reading, lengths: Any, input: Any) -> Lengths:
    """Hold lengths to one count from 0 to seq for each sample.

    Args:
        reading: the call they belong to.
        lengths: what the caller gave: a list of ints, or an integer tensor ``(batch,)``.
        input: what the lengths belong to.

    Raises:
        LengthsError: if they are anything else, or the input has no batch or is packed already.
    """
    if reading.kind == "packed":
        _refuse_lengths(
            reading,
            lengths,
            "the input is packed and brings its lengths along",
            "leave lengths out",
        )
    if reading.batch is None or reading.seq is None:
        fix = f"input.unsqueeze({0 if reading.batch_first else 1}), a batch of one"
        _refuse_lengths(reading, lengths, "the input has no batch axis", fix)
    each = _as_integers(reading, lengths)
    if each.dim() != 1:
        fix = _mend_axes(reading, each)
        _refuse_lengths(reading, lengths, f"lengths have {each.dim()} axes, one is wanted", fix)
    if each.shape[0] != reading.batch:
        _refuse_count(reading, lengths, each)
    values: list[int] | None = None if is_compiling() else each.tolist()
    for place, value in enumerate(values or ()):
        if not 0 <= value <= reading.seq:
            side = "negative" if value < 0 else "more steps than the input has"
            bound = "min=0" if value < 0 else f"max={reading.seq}"
            fix = f"look how they were counted; to cut them: clamp({bound})"
            _refuse_lengths(reading, lengths, f"lengths[{place}] is {value}: {side}", fix)
    return Lengths(each.to(input.device), values, reading.seq)


def _mend_axes(reading: Reading, each: Tensor) -> str:
    if each.dim() == 0:
        return f"[{each.item()}] * {reading.batch}"
    if each.numel() == reading.batch:
        return "torch.as_tensor(lengths).flatten()"
    return f"of a mask: mask.sum({1 if reading.batch_first else 0})"


def _as_integers(reading: Reading, lengths: Any) -> Tensor:
    if isinstance(lengths, Tensor):
        if lengths.is_meta or lengths.layout is not torch.strided:
            _refuse_lengths(reading, lengths, "lengths hold no values to look at", "a list of ints")
        each = lengths
    elif isinstance(lengths, str) or not (
        isinstance(lengths, Sequence) or hasattr(lengths, "__array__")
    ):
        fix = f"[{lengths}] * {reading.batch}" if isinstance(lengths, int) else "a list of ints"
        _refuse_lengths(reading, lengths, "lengths are neither list nor tensor", fix)
    else:
        odd = next((k for k, n in enumerate(lengths) if n is None or isinstance(n, bool)), None)
        if odd is not None:
            _refuse_lengths(reading, lengths, f"lengths[{odd}] is {lengths[odd]}", "a list of ints")
        if any(isinstance(length, str) for length in lengths):
            _refuse_lengths(reading, lengths, "lengths hold strings", "[int(n) for n in lengths]")
        try:
            each = torch.as_tensor(lengths, dtype=None if len(lengths) else torch.int64)
        except (TypeError, ValueError, RuntimeError):
            _refuse_lengths(reading, lengths, "lengths are no plain list of ints", "a list of ints")
    if each.dtype is torch.bool:
        fix = f"of a mask: mask.sum({1 if reading.batch_first else 0})"
        _refuse_lengths(reading, lengths, "lengths are booleans, as a mask is", fix)
    if each.is_floating_point() or each.is_complex():
        fix = "[int(n) for n in lengths]"
        if isinstance(lengths, Tensor):
            fix = "lengths.long(); of fractions of the input (lengths * seq).round().long()"
        _refuse_lengths(reading, lengths, f"lengths are {each.dtype}, no counts", fix)
    return each.to(torch.int64)


def _refuse_count(reading: Reading, lengths: Any, each: Tensor) -> NoReturn:
    sentence = (
        f"Expected `len(lengths)` to be equal to batch_size, but got {len(each)} "
        f"(batch_size={reading.batch})"
    )
    rows: list[tuple[str, str]] = [("fix", f"one length for each of the {reading.batch} samples")]
    headline = f"there are {len(each)} lengths for {reading.batch} samples"
    if each.shape[0] == reading.seq:
        evidence = f"there are {len(each)} lengths, and axis {{axis}} of the input is as long"
        headline, rows = reading.other_layout(evidence)
    _raise_lengths(reading, lengths, sentence, headline, rows)


def _refuse_lengths(reading: Reading, lengths: Any, headline: str, fix: str) -> NoReturn:
    seq = "seq" if reading.seq is None else reading.seq
    sentence = f"lengths must be integers from 0 to {seq}, one for each sample"
    _raise_lengths(reading, lengths, sentence, headline, [("fix", fix)])


def _raise_lengths(
    reading: Reading, lengths: Any, sentence: str, headline: str, rows: list[tuple[str, str]]
) -> NoReturn:
    shape = tuple(lengths.shape) if isinstance(lengths, Tensor) else ()
    came = f"{lengths.dtype} {shape}" if isinstance(lengths, Tensor) else brief(lengths)
    if isinstance(lengths, list | tuple) and lengths:
        came += f" of {len(lengths)}"
    expected = "(batch,)" if reading.batch is None else f"(batch={reading.batch},)"
    raise LengthsError(
        compose(
            sentence,
            f"{reading.described}: {headline}",
            [
                ("input", wanted(spell(reading.input_axes), f"{reading.actual}")),
                ("lengths", wanted(f"{expected}, integers", came)),
                *rows,
            ],
        ),
        "lengths",
        (reading.batch,),
        shape,
    )


def check_step(layer: ReadableLayer, x_t: Any) -> None:
    """Hold a step to one time step, of a layer that runs in one direction.

    Raises:
        ArgumentError: if the layer is bidirectional, or ``x_t`` is no tensor.
        ShapeError: if ``x_t`` has a seq axis.
    """
    name = type(layer).__name__
    if layer.bidirectional:
        text = compose(
            "a bidirectional layer has no single step",
            f"{described(layer)}: its backward direction begins at the last step of a sequence",
            [("fix", f"{name}(..., bidirectional=False), or call the layer on the whole sequence")],
        )
        raise ArgumentError(text, "x_t")
    if is_proxy(x_t):
        return
    if not isinstance(x_t, Tensor):
        message = f"{name}.step: x_t must be a Tensor (batch, input_size), got {brief(x_t)}"
        raise ArgumentError(message, "x_t")
    if x_t.dim() not in (1, 2):
        seq_axis = 1 if layer.batch_first else 0
        wants = f"(batch, input_size={layer.input_size})"
        text = compose(
            f"{name}.step: Expected x_t to be 1D or 2D, got {x_t.dim()}D instead",
            f"{described(layer)}: one time step has no seq axis",
            [
                ("x_t", wanted(wants, f"{tuple(x_t.shape)}")),
                ("fix", f"for x_t in input.unbind({seq_axis}): ..., or call the layer"),
            ],
        )
        raise ShapeError(text, "x_t", (None, layer.input_size), tuple(x_t.shape))


def check_batch_size(name: str, batch_size: Any) -> None:
    """Hold the argument of ``initial_state`` to a count, or None for no batch axis.

    Raises:
        ArgumentError: if it is anything else.
    """
    if hides_values() or isinstance(batch_size, torch.SymInt) or is_proxy(batch_size):
        # A size is no int there, and a comparison would fix it.
        return
    is_count = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
    if batch_size is not None and not (is_count and operator.index(batch_size) >= 0):
        message = (
            f"{name}.initial_state: batch_size must be an int from 0, or None for a state without "
            f"batch axis, got {brief(batch_size)}"
        )
        raise ArgumentError(message, "batch_size")


def check_own_state(layer: ReadableLayer, state: Any) -> None:
    """Hold a state to what this layer returns, of any batch.

    Raises:
        StateError: if it is anything else.
    """
    tensors = (state,) if isinstance(state, Tensor) else state
    if is_jit_traced() or is_proxy(state):
        return
    wants = own_state_axes(layer)
    if not isinstance(tensors, tuple | list) or len(tensors) != len(wants):
        _refuse_state(layer, state, 0)
    if any(map(is_proxy, tensors)):
        return
    for place, (tensor, axes) in enumerate(zip(tensors, wants, strict=True)):
        if not _fits(tensor, axes) or tensor.shape[:-1] != tensors[0].shape[:-1]:
            _refuse_state(layer, state, place)


def _fits(tensor: Any, axes: tuple[Axis, ...]) -> bool:
    if not isinstance(tensor, Tensor):
        return False
    if tensor.dim() == len(axes) - 1:
        axes = tuple(axis for axis in axes if axis.name != "batch")
    return tensor.dim() == len(axes) and all(
        axis.size is None or axis.size == size
        for axis, size in zip(axes, tensor.shape, strict=True)
    )


def _refuse_state(layer: ReadableLayer, state: Any, place: int) -> None:
    wants = own_state_axes(layer)
    both = f"h {spell(wants[0])}, c {spell(wants[-1])}"
    text = compose(
        f"state is not what this {type(layer).__name__} returned",
        described(layer),
        [
            ("state", wanted(spell(wants[0]) if len(wants) == 1 else both, _shapes(state))),
            ("fix", "output, state = layer(input): state is the second of the two"),
        ],
    )
    wrong = state
    if not isinstance(state, Tensor):
        wrong = state[place] if isinstance(state, tuple | list) and len(state) > place else None
    actual = tuple(wrong.shape) if isinstance(wrong, Tensor) else ()
    raise StateError(text, "state", sizes(wants[place]), actual)


def _shapes(state: Any) -> str:
    if isinstance(state, tuple | list):
        return "(" + ", ".join(map(_shapes, state)) + ")"
    return f"{tuple(state.shape)}" if isinstance(state, Tensor) else brief(state)


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask.

    Raises:
        ArgumentError: if they are neither, or out of range.
    """
    try:
        positions = torch.as_tensor(index, device=device)
    except (TypeError, ValueError, RuntimeError):
        message = f"index must be integers (new_batch,) or booleans (batch={batch},)"
        text = f"{message}, got {brief(index)}"
        raise ArgumentError(text, "index") from None
    if positions.numel() == 0 and positions.dim() == 1:
        positions = positions.long()
    if positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1)
    whole = not positions.is_floating_point() and positions.dtype is not torch.bool
    if not whole or positions.dim() != 1:
        came = f"{positions.dtype} {tuple(positions.shape)}"
        message = f"index must be integers (new_batch,) or booleans (batch={batch},), got {came}"
        raise ArgumentError(message, "index")
    if not hides_values() and bool(((positions < -batch) | (positions >= batch)).any()):
        message = f"index must lie on the batch axis of the state, which has {batch} samples"
        raise ArgumentError(message, "index")
    return positions.long() % max(batch, 1)


def as_mask(mask: Any, shape: tuple[int, ...], device: torch.device, name: str = "mask") -> Tensor:
    """Return a boolean mask of a shape, of booleans or of 0 and 1.

    Raises:
        ArgumentError: if it has another shape, or other values.
    """
    try:
        flags = torch.as_tensor(mask, device=device)
    except (TypeError, ValueError, RuntimeError):
        message = f"{name} must be booleans, or 0 and 1, of shape {shape}; got {brief(mask)}"
        raise ArgumentError(message, name) from None
    if tuple(flags.shape) != shape:
        message = compose(
            f"{name} must have shape {shape}, got {tuple(flags.shape)}",
            "one flag for each sample; positions are no mask",
            [("fix", f"a boolean tensor {shape}, true where a sample starts anew")],
        )
        raise ArgumentError(message, name)
    if flags.dtype is torch.bool:
        return flags
    if not hides_values() and not bool(((flags == 0) | (flags == 1)).all()):
        message = f"{name} must be booleans, or 0 and 1; got other values: positions are no mask"
        raise ArgumentError(message, name)
    return flags != 0
