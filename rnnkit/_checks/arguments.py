"""Guards of a call's other arguments, and of those that it does not have."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import RNNCellBase

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, ShapeError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, refusal, wanted
from rnnkit._base.torch_tools import hides_values, is_jit_traced, is_proxy
from rnnkit._checks.call_spec import (
    Axis,
    CheckedLayer,
    described,
    own_state_axes,
    sizes,
    spell,
)
from rnnkit._checks.masks import tensor_or_none
from rnnkit._checks.odd_tensors import is_odd, refuse_nested
from rnnkit._checks.rules import is_batch_size

#: Names that people give to the arguments of a call, by the name that it has.
OTHER_NAMES = {
    "input": {"x", "inputs", "input_", "inp", "data", "sequence", "x_t"},
    "hx": {
        *("state", "states", "hidden", "hiddens", "initial_state", "init_state", "hidden_state"),
        *("h", "h0", "h_0", "h_n", "h_c", "hc", "hx0", "carry", "prev_state", "initial_hidden"),
    },
    "lengths": {"lens", "length", "seq_lens", "seq_lengths", "sequence_length", "input_lengths"},
    "reset": {"resets", "is_first", "is_init"},
}
#: Words in the names that people give to a mask of resets.
RESET_WORDS = re.compile("reset|done|start|begin|boundar|terminat|truncat|episode")
STATE_WORDS = re.compile("state|hidden|cell")
CELL_STATES = {"c", "c0", "c_0", "cx", "cell", "cell_state"}

#: What a step, and the functions of ``rnnkit.states``, call what a layer calls otherwise.
RENAMED = {"input": "x_t", "hx": "state", "batch_first": "state_batch_first"}

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def known_options(function: FunctionT) -> FunctionT:
    """Refuse keyword arguments that a function does not have, with the name that is meant."""
    known = tuple(inspect.signature(function).parameters)
    # Python's own errors go by it: there is no Layer that people could look up.
    function.__qualname__ = function.__name__

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in known:
                _refuse_option(function.__name__, name, [part for part in known if part != "self"])
        return function(*args, **kwargs)

    return cast("FunctionT", checked)


def _refuse_option(function: str, name: str, known: list[str]) -> NoReturn:
    shown = bounded(name, BRIEF_LENGTH)
    headline, rows = f"{function} takes {', '.join(known)}", [("fix", f"leave {shown} out")]
    meant = [RENAMED.get(name), *difflib.get_close_matches(shown, known)]
    found = next((own for own in meant if own in known), None)
    if found == "state_batch_first" and name in RENAMED:
        headline = (
            "the batch_first of a layer says nothing about its states, which stay "
            "(layers * directions, batch, hidden)"
        )
        of_batch_first = f"{found}=True, for the states of a layer with {found}=True"
        rows = [("fix", f"leave {name} out"), ("or", of_batch_first)]
    elif found is not None:
        rows = [("fix", f"{found}={shown}, by its name here")]
    sentence = f"{function}() got an unexpected keyword argument {shown!r}"
    refusal(ArgumentError, shown, sentence, headline, *rows, code="arguments-of-a-call")


def check_step(layer: Any, x_t: Any) -> None:
    """Hold a step to one time step, of a layer that runs in one direction."""
    name = type(layer).__name__
    # Of a Recurrent the cells know the width.
    width = getattr(layer, "input_size", None)
    if layer.bidirectional:
        one_way = f"{constructor_of(layer, 'bidirectional')}(..., bidirectional=False)"
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
        refuse_nested(layer, "x_t")
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
    """A kind of its own: a compiler of torch 2.6 compares no open size with an object."""


#: The default of ``batch_size``: Python's own complaint names a class that nobody can import.
MISSING: Any = _Missing()


def check_batch_size(name: str, batch_size: Any) -> None:
    """Hold the argument of ``initial_state`` to a count, or None for no batch axis."""
    if isinstance(batch_size, _Missing):
        sentence = f"{name}.initial_state() missing 1 required argument: 'batch_size'"
        fix = ("fix", "initial_state(5) of five samples, initial_state(None) without a batch axis")
        refusal(ArgumentError, "batch_size", sentence, "", fix, code="batch-size")
    if hides_values() or isinstance(batch_size, torch.SymInt) or is_proxy(batch_size):
        # A size is no int there, and a comparison would fix it.
        return
    if batch_size is not None and not is_batch_size(batch_size):
        refusal(
            ArgumentError,
            "batch_size",
            f"{name}.initial_state: batch_size must be an int from 0, or None for a state without "
            f"batch axis, got {brief(batch_size)}",
            code="batch-size",
        )


def check_own_state(layer: CheckedLayer, state: Any) -> None:
    """Hold a state to what this layer returns, of any batch."""
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
    if not isinstance(tensor, Tensor) or is_odd(tensor):
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
        ("fix", "output, state = layer(...): the state is the second of the two"),
        code="state-not-own",
        facts=(sizes(wants[place]), actual),
    )


def _shapes(state: Any) -> str:
    if isinstance(state, tuple | list) and 0 < len(state) <= len(("h", "c")):
        return "(" + ", ".join(map(_shape, state)) + ")"
    return _shape(state)


def _shape(tensor: Any) -> str:
    return f"{tuple(tensor.shape)}" if isinstance(tensor, Tensor) else brief(tensor)


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Hold a call to the arguments that it has; surplus ones pass if all are None.

    Those by position come after ``input`` and ``hx``. torch's older exporter to ONNX passes every
    parameter of a ``forward`` by its position.
    """
    if unknown:
        _refuse_name(module, *next(iter(unknown.items())))
    given = [value for value in surplus if value is not None]
    if given:
        _refuse_place(module, given, 3 + len(surplus))


def _known_names(module: Any) -> list[str]:
    taken = inspect.signature(module.forward).parameters
    return ["input", "hx", *(name for name in ("lengths", "reset") if name in taken)]


def _refuse_name(module: Any, name: str, value: Any) -> NoReturn:
    known = _known_names(module)
    shown = bounded(name, BRIEF_LENGTH)
    meant = next((own for own, others in OTHER_NAMES.items() if name in others), None)
    if meant is None and RESET_WORDS.search(name) and not STATE_WORDS.search(name):
        meant = "reset"
    similar = difflib.get_close_matches(shown, known)
    fixes: tuple[str, ...] = (f"leave {shown} out",)
    if name in CELL_STATES:
        fixes = (f"hx=(h, {shown}), the pair as one argument",)
    elif meant == "reset":
        fixes = (_fix_reset(known, shown),)
    elif "mask" in name and value is not None:
        fixes = _fix_mask(module, known, shown, value)
    elif meant in known:
        fixes = (f"{meant}={shown}",)
    elif similar:
        given = brief(value) if isinstance(value, int | None) else shown
        fixes = (f"{similar[0]}={given}",)
    sentence = f"got an unexpected keyword argument {shown!r}"
    _refuse_call(module, name, sentence, fixes, known)


def _fix_reset(known: list[str], name: str) -> str:
    if "reset" in known:
        return f"reset={name}, if it is true where a sample starts again"
    return f"rnnkit.states.reset(hx, {name}) as hx, if it is true for samples that start again"


def _fix_mask(module: Any, known: list[str], name: str, mask: Any) -> tuple[str, str]:
    flags = _flags_of(mask)
    if "lengths" not in known:
        return "leave the mask out: a cell takes one step", _fix_reset(known, name)
    if flags is not None and flags.dim() == 1:
        each = f"rnnkit.states.reset(hx, {name}) as hx, if there is a flag for each sample"
        return each, f"reset={name}, if there is a flag for each step"
    typed = name if isinstance(mask, Tensor) else f"torch.as_tensor({name})"
    axis = 1 if module.batch_first else 0
    whole = ".long()" if flags is not None and flags.is_floating_point() else ""
    lengths = f"lengths={typed}.sum({axis}){whole}, if the mask is true on valid steps"
    return lengths, _fix_reset(known, name)


def _flags_of(mask: Any) -> Tensor | None:
    return None if is_odd(mask) else tensor_or_none(mask)


def _refuse_place(module: Any, given: list[Any], count: int) -> NoReturn:
    known = _known_names(module)
    first = given[0]
    is_lstm = isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell)
    fixes: tuple[str, ...]
    if "lengths" in known and _are_counts(first):
        reset = ", reset=reset" if len(given) > 1 else ""
        fixes = (f"layer(input, hx, lengths=lengths{reset}): lengths are given by name",)
    elif _is_mask(first, of_floats=not is_lstm):
        fixes = _fix_mask(module, known, "mask", first)[::-1]
    else:
        name = "cell" if isinstance(module, RNNCellBase) else "layer"
        state = "hx), and nothing after it"
        if is_lstm:
            state = "(h, c)), the pair as one argument"
        elif not isinstance(module, RNNCellBase | torch.nn.RNNBase):
            state = "hx), a tuple of one state for each cell, and nothing after it"
        fixes = (f"{name}(input, {state}",)
    sentence = f"takes from 2 to 3 positional arguments but {count} were given"
    _refuse_call(module, "hx", sentence, fixes, known)


def _are_counts(value: Any) -> bool:
    if isinstance(value, Tensor):
        whole = value.dtype is torch.bool or value.is_floating_point() or value.is_complex()
        return value.dim() < 2 and not whole
    return isinstance(value, list | tuple) and all(type(one) is int for one in value)


def _is_mask(value: Any, *, of_floats: bool) -> bool:
    """Return whether a value may be flags: booleans, or numbers of samples and steps."""
    flags = _flags_of(value)
    if flags is None or not 0 < flags.dim() < 3:
        return False
    floats = flags.is_floating_point() or flags.is_complex()
    return flags.dtype is torch.bool or (flags.dim() == 2 and (of_floats or not floats))


def _refuse_call(
    module: Any, argument: str, sentence: str, fixes: tuple[str, ...], known: list[str]
) -> NoReturn:
    refusal(
        ArgumentError,
        bounded(argument, BRIEF_LENGTH),
        f"{type(module).__name__}.forward() {sentence}",
        f"{described(module)} takes {', '.join(known)}",
        *zip(("fix", ""), fixes, strict=False),
        code="arguments-of-a-call",
    )
