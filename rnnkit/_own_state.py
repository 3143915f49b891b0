"""Guards of what one does with a layer besides calling it: a step, and reading its state."""

import operator
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._errors import ArgumentError, ShapeError, StateError
from rnnkit._message import brief, compose, wanted
from rnnkit._reading import Layer, described


def check_step(layer: Layer, x_t: Any) -> None:
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
    if is_compiling() or torch._C._get_tracing_state() is not None:  # noqa: SLF001
        # A size is no int there, and a comparison would fix it.
        return
    is_count = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
    if batch_size is not None and not (is_count and operator.index(batch_size) >= 0):
        message = (
            f"{name}.initial_state: batch_size must be an int from 0, or None for a state without "
            f"batch axis, got {brief(batch_size)}"
        )
        raise ArgumentError(message, "batch_size")


def check_own_state(layer: Layer, state: Any) -> None:
    """Hold a state to what this layer returns, of any batch.

    Raises:
        StateError: if it is anything else.
    """
    tensors = (state,) if isinstance(state, Tensor) else state
    widths = [layer.proj_size or layer.hidden_size, layer.hidden_size][-len(layer.STATE_NAMES) :]
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    axis = 1 if layer.state_batch_first else 0
    fits = isinstance(tensors, tuple | list) and len(tensors) == len(widths)
    batches = set()
    for tensor, width in zip(tensors if fits else (), widths, strict=False):
        fits = (
            fits
            and isinstance(tensor, Tensor)
            and tensor.dim() in (2, 3)
            and tensor.shape[axis if tensor.dim() > 2 else 0] == rows
            and tensor.shape[-1] == width
        )
        if fits:
            batches.add(tensor.shape[1 - axis] if tensor.dim() > 2 else None)
    if not fits or len(batches) != 1:
        text = compose(
            f"state is not what this {type(layer).__name__} returned",
            described(layer),
            [
                ("state", wanted(_wants(layer, rows, widths), _shapes(state))),
                ("fix", "output, state = layer(input): state is the second of the two"),
            ],
        )
        raise StateError(text, "state", (rows, None, layer.hidden_size))


def _wants(layer: Layer, rows: int, widths: list[int]) -> str:
    stack = f"num_layers={rows}"
    if layer.bidirectional:
        stack = f"num_layers * directions = {rows}"
    front = f"batch, {stack}" if layer.state_batch_first else f"{stack}, batch"
    names = ["proj_size" if width != layer.hidden_size else "hidden_size" for width in widths]
    shapes = [f"({front}, {name}={width})" for name, width in zip(names, widths, strict=True)]
    return shapes[0] if len(shapes) == 1 else f"h {shapes[0]}, c {shapes[1]}"


def _shapes(state: Any) -> str:
    if isinstance(state, tuple | list):
        return "(" + ", ".join(map(_shapes, state)) + ")"
    return f"{tuple(state.shape)}" if isinstance(state, Tensor) else brief(state)
