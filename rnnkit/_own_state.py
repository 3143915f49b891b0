"""Guards of what one does with a layer besides calling it: a step, and reading its state."""

from typing import Any

from torch import Tensor

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


def check_own_state(layer: Layer, state: Any) -> None:
    """Hold a state to what this layer returns, of any batch.

    Raises:
        StateError: if it is anything else.
    """
    tensors = (state,) if isinstance(state, Tensor) else state
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    axis = 1 if layer.state_batch_first else 0
    wants = ["num_layers * directions = " + str(rows), "batch"]
    wants = [*(wants[::-1] if axis else wants), f"hidden_size={layer.hidden_size}"]
    count = len(layer.STATE_NAMES)
    fits = isinstance(tensors, tuple | list) and len(tensors) == count
    for name, tensor in zip(layer.STATE_NAMES, tensors if fits else (), strict=False):
        width = layer.proj_size if name == "h" and layer.proj_size else layer.hidden_size
        fits = (
            fits
            and isinstance(tensor, Tensor)
            and tensor.dim() in (2, 3)
            and tensor.shape[axis if tensor.dim() > 2 else 0] == rows
            and tensor.shape[-1] == width
        )
    if not fits:
        kind = "(h, c), each" if count > 1 else "a tensor"
        text = compose(
            f"state is not what this {type(layer).__name__} returned",
            f"{described(layer)}",
            [
                ("state", wanted(f"{kind} ({', '.join(wants)})", _shapes(state))),
                ("fix", "output, state = layer(input): state is the second of the two"),
            ],
        )
        raise StateError(text, "state", (rows, None, layer.hidden_size))


def _shapes(state: Any) -> str:
    if isinstance(state, tuple | list):
        return "(" + ", ".join(map(_shapes, state)) + ")"
    return f"{tuple(state.shape)}" if isinstance(state, Tensor) else brief(state)
