"""Guards of a call's other arguments, and of those that it does not have."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, ShapeError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, refusal, wanted
from rnnkit._base.torch_tools import is_jit_traced, is_proxy, values_are_abstract
from rnnkit._checks.arrays import is_whole, tensor_or_none
from rnnkit._checks.call_spec import Axis, described, parts_of, refuse_odd, sizes, spell, state_axes
from rnnkit._checks.causes.inputs import rows_of
from rnnkit._checks.causes.structures import outlined
from rnnkit._checks.constructors import is_batch_size
from rnnkit._checks.names import RESET, hint, reset_hint

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def known_options(function: FunctionT) -> FunctionT:
    """Refuse keyword arguments that a function does not have, with the name that is meant."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]
    # Python's own errors go by it: there is no Layer that people could look up.
    name = function.__qualname__ = function.__name__

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for argument, value in kwargs.items():
            if argument not in known:
                shown, headline = (
                    bounded(argument, BRIEF_LENGTH),
                    f"{name} takes {', '.join(known)}",
                )
                if argument == "batch_first" and "state_batch_first" in known:
                    headline = "a layer's batch_first is about its input, not about its states"
                sentence = f"{name}() got an unexpected keyword argument {shown!r}"
                fix = ("fix", hint(name, argument, value, known))
                refusal(ArgumentError, shown, sentence, headline, fix, code="arguments-of-a-call")
        return function(*args, **kwargs)

    return cast("FunctionT", checked)


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Refuse unknown names, and what follows ``input`` and ``hx`` by position unless all are None.

    torch's older exporter to ONNX passes every parameter of a ``forward`` by its position.
    """
    given = [value for value in surplus if value is not None]
    if not unknown and not given:
        return
    taken = inspect.signature(module.forward).parameters
    known = ["input", "hx", *(name for name in ("lengths", "reset") if name in taken)]
    argument, value = next(iter(unknown.items())) if unknown else ("hx", given[0])
    shown, flags, is_layer = bounded(argument, BRIEF_LENGTH), tensor_or_none(value), len(known) > 2
    is_mask = unknown and "mask" in argument and not RESET.search(argument)
    sentence = f"got an unexpected keyword argument {shown!r}"
    name, state = shown, "hx), and nothing after it"
    if isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell):
        state = "(h, c)), the pair as one argument"
    elif not isinstance(module, torch.nn.RNNBase | torch.nn.RNNCellBase):
        state = "hx), a tuple of one state for each cell, and nothing after it"
    if unknown:
        fixes = [hint(type(module).__name__, argument, value, known)]
    else:
        sentence = f"takes from 2 to 3 positional arguments but {3 + len(surplus)} were given"
        fixes = [f"{'layer' if is_layer else 'cell'}(input, {state}"]
        is_mask = flags is not None and flags.dtype is torch.bool and 0 < flags.dim() < 3
        name = "mask"
        if is_layer and not is_mask and flags is not None and flags.dim() < 2 and is_whole(flags):
            fixes = ["layer(input, hx, lengths=lengths): lengths are given by name"]
    if is_mask and flags is not None:
        fixes = [reset_hint(name, known)]
        if not is_layer:
            fixes.append("leave the mask out: a cell takes one step")
        elif flags.dim() > 1:
            whole = ".long()" if flags.is_floating_point() else ""
            counts = f"lengths={name}.sum({1 if module.batch_first else 0}){whole}"
            fixes.insert(0, f"{counts}, if the mask is true on valid steps")
    refusal(
        ArgumentError, shown, f"{type(module).__name__}.forward() {sentence}",
        f"{described(module)} takes {', '.join(known)}", *rows_of("", fixes),
        code="arguments-of-a-call",
    )  # fmt: skip


def check_step(layer: Any, x_t: Any) -> None:
    """Check that a step is one time step, of a layer that runs in one direction."""
    step = f"{type(layer).__name__}.step"
    # Of a Recurrent the cells know the width.
    width = getattr(layer, "input_size", None)
    if layer.bidirectional:
        one_way = f"{constructor_of(layer)}(..., bidirectional=False)"
        if width is None:
            one_way = "rnnkit.Recurrent(cells), without reverse_cells"
        sentence = "a bidirectional layer has no single step"
        why = "its backward direction begins at the last step of a sequence"
        fix = ("fix", f"{one_way}, or call the layer on the whole sequence")
        headline = f"{described(layer)}: {why}"
        refusal(ArgumentError, "x_t", sentence, headline, fix, code="step-bidirectional")
    if is_proxy(x_t):
        return
    if isinstance(x_t, Tensor) and x_t.is_nested:
        refuse_odd(layer, x_t, "x_t")
    if not isinstance(x_t, Tensor) or x_t.dim() not in (1, 2):
        is_tensor = isinstance(x_t, Tensor)
        wants = "(batch, feature)" if width is None else f"(batch, input_size={width})"
        came, shape = (f"{x_t.dim()}D", tuple(x_t.shape)) if is_tensor else (brief(x_t), ())
        refusal(
            ShapeError, "x_t", f"{step}: Expected x_t to be 1D or 2D, got {came} instead",
            f"{described(layer)}: one time step has no seq axis",
            ("x_t", wanted(wants, f"{shape or came}")),
            ("fix", f"for x_t in input.unbind({int(layer.batch_first)}): ..., or call the layer"),
            code="step-rank", facts=((None, width), shape),
        )  # fmt: skip


class _Missing:
    """A kind of its own: a compiler of torch 2.8 compares no open size with an object."""


#: The default of ``batch_size``: Python's own complaint names a class that nobody can import.
MISSING: Any = _Missing()


def check_batch_size(name: str, batch_size: Any) -> None:
    """Check that the argument of ``initial_state`` is a count, or None for no batch axis."""
    sentence = f"{name}.initial_state() missing 1 required argument: 'batch_size'"
    if not isinstance(batch_size, _Missing):
        # A size is no int there, and a comparison would fix it.
        if values_are_abstract() or isinstance(batch_size, torch.SymInt) or is_proxy(batch_size):
            return
        if batch_size is None or is_batch_size(batch_size):
            return
        wants = "an int from 0, or None for a state without batch axis"
        sentence = f"{name}.initial_state: batch_size must be {wants}, got {brief(batch_size)}"
    fix = ("fix", "initial_state(5) of five samples, initial_state(None) without a batch axis")
    refusal(ArgumentError, "batch_size", sentence, "", fix, code="batch-size")


def check_own_state(layer: Any, state: Any) -> None:
    """Check that a state is what this layer returns, of any batch."""
    wants = state_axes(layer, Axis("batch"))
    parts = parts_of(state) if len(wants) > 1 else (state,)
    if is_jit_traced() or is_proxy(state) or any(map(is_proxy, parts)):
        return
    batch_axis = 0 if layer.state_batch_first else 1
    for place, axes in enumerate(wants):
        part = parts[place] if len(parts) == len(wants) else None
        shape = list(part.shape) if isinstance(part, Tensor) else []
        want, front = [axis.size for axis in axes], list(parts[0].shape[:-1]) if shape else []
        if len(shape) == len(want):
            want[batch_axis] = shape[batch_axis]
        else:
            del want[batch_axis]
        if shape != want or shape[:-1] != front:
            h, *others = map(spell, wants)
            expected = f"h {h}, c {others[0]}" if others else h
            fix = ("fix", "output, state = layer(...): the state is the second of the two")
            refusal(
                StateError, "state", f"state is not what this {type(layer).__name__} returned",
                described(layer), ("state", wanted(expected, outlined(state))), fix,
                code="state-not-own", facts=(sizes(axes), tuple(shape)),
            )  # fmt: skip
