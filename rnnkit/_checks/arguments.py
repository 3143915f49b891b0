"""Guards of a call's other arguments, and of those that it does not have."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, ShapeError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, raise_for, refusal, wanted
from rnnkit._base.torch_tools import is_jit_traced, is_proxy, values_are_abstract
from rnnkit._checks.call_spec import Axis, CheckedLayer, described, own_state_axes, sizes, spell
from rnnkit._checks.causes.structures import outlined
from rnnkit._checks.names import hint
from rnnkit._checks.odd_tensors import not_dense
from rnnkit._checks.rules import is_batch_size

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def known_options(function: FunctionT) -> FunctionT:
    """Refuse keyword arguments that a function does not have, with the name that is meant."""
    known = tuple(inspect.signature(function).parameters)
    # Python's own errors go by it: there is no Layer that people could look up.
    function.__qualname__ = function.__name__

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, value in kwargs.items():
            if name not in known:
                others = [part for part in known if part != "self"]
                _refuse_option(function.__name__, name, value, others)
        return function(*args, **kwargs)

    return cast("FunctionT", checked)


def _refuse_option(function: str, name: str, value: Any, known: list[str]) -> NoReturn:
    shown, headline = bounded(name, BRIEF_LENGTH), f"{function} takes {', '.join(known)}"
    if name == "batch_first" and "state_batch_first" in known:
        headline = "the batch_first of a layer is about its input: states keep the layers on axis 0"
    sentence = f"{function}() got an unexpected keyword argument {shown!r}"
    fix = ("fix", hint(function, name, value, known))
    refusal(ArgumentError, shown, sentence, headline, fix, code="arguments-of-a-call")


def check_step(layer: Any, x_t: Any) -> None:
    """Check that a step is one time step, of a layer that runs in one direction."""
    name = type(layer).__name__
    # Of a Recurrent the cells know the width.
    width = getattr(layer, "input_size", None)
    if layer.bidirectional:
        one_way = f"{constructor_of(layer)}(..., bidirectional=False)"
        if width is None:
            one_way = "rnnkit.Recurrent(cells), without reverse_cells"
        refusal(
            ArgumentError,
            "x_t",
            "a bidirectional layer has no single step",
            f"{described(layer)}: its backward direction begins at the last step of a sequence",
            ("fix", f"{one_way}, or call the layer on the whole sequence"),
            code="step-bidirectional",
        )
    if is_proxy(x_t):
        return
    if not isinstance(x_t, Tensor):
        sentence = f"{name}.step: x_t must be a Tensor (batch, input_size), got {brief(x_t)}"
        refusal(ArgumentError, "x_t", sentence, code="step-type")
    if x_t.is_nested:
        raise_for(not_dense(layer, x_t, "x_t"))
    if x_t.dim() not in (1, 2):
        seq_axis = 1 if layer.batch_first else 0
        wants = "(batch, feature)" if width is None else f"(batch, input_size={width})"
        refusal(
            ShapeError,
            "x_t",
            f"{name}.step: Expected x_t to be 1D or 2D, got {x_t.dim()}D instead",
            f"{described(layer)}: one time step has no seq axis",
            ("x_t", wanted(wants, f"{tuple(x_t.shape)}")),
            ("fix", f"for x_t in input.unbind({seq_axis}): ..., or call the layer"),
            code="step-rank",
            facts=((None, width), tuple(x_t.shape)),
        )


class _Missing:
    """A kind of its own: a compiler of torch 2.8 compares no open size with an object."""


#: The default of ``batch_size``: Python's own complaint names a class that nobody can import.
MISSING: Any = _Missing()


def check_batch_size(name: str, batch_size: Any) -> None:
    """Check that the argument of ``initial_state`` is a count, or None for no batch axis."""
    fix = ("fix", "initial_state(5) of five samples, initial_state(None) without a batch axis")
    if isinstance(batch_size, _Missing):
        sentence = f"{name}.initial_state() missing 1 required argument: 'batch_size'"
        refusal(ArgumentError, "batch_size", sentence, "", fix, code="batch-size")
    if values_are_abstract() or isinstance(batch_size, torch.SymInt) or is_proxy(batch_size):
        # A size is no int there, and a comparison would fix it.
        return
    if batch_size is not None and not is_batch_size(batch_size):
        wants = "an int from 0, or None for a state without batch axis"
        sentence = f"{name}.initial_state: batch_size must be {wants}, got {brief(batch_size)}"
        refusal(ArgumentError, "batch_size", sentence, code="batch-size")


def check_own_state(layer: CheckedLayer, state: Any) -> None:
    """Check that a state is what this layer returns, of any batch."""
    if is_jit_traced() or is_proxy(state):
        return
    wants = own_state_axes(layer)
    parts: list[Any] = [state]
    if len(wants) > 1 and isinstance(state, tuple | list):
        parts = list(state)
    if any(map(is_proxy, parts)):
        return
    wrong = [
        place
        for place, (tensor, axes) in enumerate(zip(parts, wants, strict=False))
        if not (_fits(tensor, axes) and tensor.shape[:-1] == parts[0].shape[:-1])
    ]
    if wrong or len(parts) != len(wants):
        h, *others = map(spell, wants)
        expected, place = f"h {h}, c {others[0]}" if others else h, wrong[0] if wrong else 0
        first = parts[place] if parts else None
        shape = tuple(first.shape) if isinstance(first, Tensor) else ()
        refusal(
            StateError, "state", f"state is not what this {type(layer).__name__} returned",
            described(layer), ("state", wanted(expected, outlined(state))),
            ("fix", "output, state = layer(...): the state is the second of the two"),
            code="state-not-own", facts=(sizes(wants[place]), shape),
        )  # fmt: skip


def _fits(tensor: Any, axes: tuple[Axis, ...]) -> bool:
    if not isinstance(tensor, Tensor):
        return False
    if tensor.dim() == len(axes) - 1:
        axes = tuple(axis for axis in axes if axis.name != "batch")
    return tensor.dim() == len(axes) and all(
        axis.size in (None, size) for axis, size in zip(axes, tensor.shape, strict=True)
    )
