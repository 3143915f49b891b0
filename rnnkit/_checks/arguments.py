"""Guards of the other arguments: of step, initial_state and last_hidden, of positions and masks."""

import difflib
import inspect
import operator
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, ShapeError, StateError
from rnnkit._base.message import brief, refusal, wanted
from rnnkit._base.torch_tools import hides_values, is_jit_traced, is_proxy
from rnnkit._checks.call_spec import (
    Axis,
    CheckedLayer,
    described,
    own_state_axes,
    sizes,
    spell,
)

#: Names by which people pass a state, an input and lengths to modules like these.
STATE_NAMES = {
    *("state", "states", "hidden", "hiddens", "initial_state", "init_state", "h", "h0", "h_0"),
    *("c", "c0", "c_0", "cx", "h_c", "hc", "carry", "hidden_state", "initial_hidden"),
}
INPUT_NAMES = {"x", "inputs", "input_", "inp", "data", "seq", "sequence", "x_t"}
LENGTHS_NAMES = {"lens", "length", "seq_lens", "seq_lengths", "sequence_length", "lengths"}


def check_step(layer: CheckedLayer, x_t: Any) -> None:
    """Hold a step to one time step, of a layer that runs in one direction.

    Raises:
        ArgumentError: if the layer is bidirectional, or ``x_t`` is no tensor.
        ShapeError: if ``x_t`` has a seq axis.
    """
    name = type(layer).__name__
    if layer.bidirectional:
        refusal(
            ArgumentError,
            "x_t",
            "a bidirectional layer has no single step",
            f"{described(layer)}: its backward direction begins at the last step of a sequence",
            ("fix", f"{name}(..., bidirectional=False), or call the layer on the whole sequence"),
        )
    if is_proxy(x_t):
        return
    if not isinstance(x_t, Tensor):
        sentence = f"{name}.step: x_t must be a Tensor (batch, input_size), got {brief(x_t)}"
        refusal(ArgumentError, "x_t", sentence)
    if x_t.dim() not in (1, 2):
        seq_axis = 1 if layer.batch_first else 0
        wants = f"(batch, input_size={layer.input_size})"
        refusal(
            ShapeError,
            "x_t",
            f"{name}.step: Expected x_t to be 1D or 2D, got {x_t.dim()}D instead",
            f"{described(layer)}: one time step has no seq axis",
            ("x_t", wanted(wants, f"{tuple(x_t.shape)}")),
            ("fix", f"for x_t in input.unbind({seq_axis}): ..., or call the layer"),
            facts=((None, layer.input_size), tuple(x_t.shape)),
        )


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Hold a call to the arguments that it has; surplus ones pass if all are None.

    torch's older exporter to ONNX passes every parameter of a ``forward`` by its position.

    Raises:
        ArgumentError: if there is an argument too many, or of another name.
    """
    if not unknown and all(value is None for value in surplus):
        return
    name = type(module).__name__
    known = list(inspect.signature(module.forward).parameters)
    if unknown:
        argument = next(iter(unknown))
        value = unknown[argument]
        sentence = f"{name}.forward() got an unexpected keyword argument {argument!r}"
    else:
        argument = "hx"
        value = next(value for value in surplus if value is not None)
        sentence = (
            f"{name}.forward() takes from 2 to 3 positional arguments but "
            f"{3 + len(surplus)} were given"
        )
    fix = _fix_argument(module, argument if unknown else "", value, known)
    headline = f"{described(module)} takes {', '.join(known)}"
    refusal(ArgumentError, argument, sentence, headline, ("fix", fix))


def _fix_argument(module: Any, argument: str, value: Any, known: list[str]) -> str:
    is_lstm = len(module.__rnnkit__.state_names) > 1 if hasattr(module, "__rnnkit__") else False
    a_state = "hx=(h, c)" if is_lstm else "hx=..., the state"
    if argument in STATE_NAMES:
        return a_state
    if argument in INPUT_NAMES:
        return "input=..., or the input in the first place"
    counts = _are_counts(value)
    if argument in LENGTHS_NAMES or (not argument and counts):
        return "lengths=..., by name" if "lengths" in known else "a cell takes one step: see unroll"
    if "mask" in argument and "lengths" in known:
        steps = 1 if getattr(module, "batch_first", False) else 0
        return f"lengths=mask.sum({steps}), if the mask is true on valid steps"
    similar = difflib.get_close_matches(argument, known, n=1)
    if similar:
        return f"{similar[0]}=..."
    if not argument and is_lstm:
        return f"{a_state}: the pair is one argument"
    return f"leave it out: what a call takes is {', '.join(known)}"


def _are_counts(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() and not value.is_complex()
    return isinstance(value, (list, tuple)) and all(isinstance(one, int) for one in value)


def refuse_reset(module: Any) -> NoReturn:
    """Refuse ``reset=``, which layers do not take yet.

    Raises:
        ArgumentError: always.
    """
    fix = "rnnkit.unroll(cell, input, reset=reset) of each of layer.cells()"
    refusal(ArgumentError, "reset", "a layer takes no reset=", described(module), ("fix", fix))


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
        refusal(
            ArgumentError,
            "batch_size",
            f"{name}.initial_state: batch_size must be an int from 0, or None for a state without "
            f"batch axis, got {brief(batch_size)}",
        )


def check_own_state(layer: CheckedLayer, state: Any) -> None:
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


def _refuse_state(layer: CheckedLayer, state: Any, place: int) -> NoReturn:
    wants = own_state_axes(layer)
    both = f"h {spell(wants[0])}, c {spell(wants[-1])}"
    wrong = state
    if not isinstance(state, Tensor):
        wrong = state[place] if isinstance(state, tuple | list) and len(state) > place else None
    actual = tuple(wrong.shape) if isinstance(wrong, Tensor) else ()
    refusal(
        StateError,
        "state",
        f"state is not what this {type(layer).__name__} returned",
        described(layer),
        ("state", wanted(spell(wants[0]) if len(wants) == 1 else both, _shapes(state))),
        ("fix", "output, state = layer(input): state is the second of the two"),
        facts=(sizes(wants[place]), actual),
    )


def _shapes(state: Any) -> str:
    if isinstance(state, tuple | list):
        return "(" + ", ".join(map(_shapes, state)) + ")"
    return f"{tuple(state.shape)}" if isinstance(state, Tensor) else brief(state)


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask.

    Raises:
        ArgumentError: if they are neither, or out of range.
    """
    sentence = f"index must be integers (new_batch,) or booleans (batch={batch},)"
    positions = _as_tensor(index, device)
    if positions is None:
        refusal(ArgumentError, "index", f"{sentence}, got {brief(index)}")
    if positions.numel() == 0 and positions.dim() == 1:
        positions = positions.long()
    if positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1)
    whole = not positions.is_floating_point() and positions.dtype is not torch.bool
    if not whole or positions.dim() != 1:
        came = f"{positions.dtype} {tuple(positions.shape)}"
        refusal(ArgumentError, "index", f"{sentence}, got {came}")
    if not hides_values() and bool(((positions < -batch) | (positions >= batch)).any()):
        sentence = f"index must lie on the batch axis of the state, which has {batch} samples"
        refusal(ArgumentError, "index", sentence)
    return positions.long() % max(batch, 1)


def as_mask(mask: Any, shape: tuple[int, ...], device: torch.device, name: str = "mask") -> Tensor:
    """Return a boolean mask of a shape, of booleans or of 0 and 1.

    Raises:
        ArgumentError: if it has another shape, or other values.
    """
    flags = _as_tensor(mask, device)
    if flags is None:
        sentence = f"{name} must be booleans, or 0 and 1, of shape {shape}; got {brief(mask)}"
        refusal(ArgumentError, name, sentence)
    if tuple(flags.shape) != shape:
        refusal(
            ArgumentError,
            name,
            f"{name} must have shape {shape}, got {tuple(flags.shape)}",
            "one flag for each sample; positions are no mask",
            ("fix", f"a boolean tensor {shape}, true where a sample starts anew"),
        )
    if flags.dtype is torch.bool:
        return flags
    if not hides_values() and not bool(((flags == 0) | (flags == 1)).all()):
        sentence = f"{name} must be booleans, or 0 and 1; got other values: positions are no mask"
        refusal(ArgumentError, name, sentence)
    return flags != 0


def _as_tensor(value: Any, device: torch.device) -> Tensor | None:
    try:
        return torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError):
        return None
