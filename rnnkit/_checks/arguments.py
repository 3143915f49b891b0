"""Guards of a call's other arguments, and of those that it does not have."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, ShapeError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, call, refusal, wanted
from rnnkit._base.state import BATCHED
from rnnkit._base.torch_tools import is_jit_traced, is_proxy, values_are_abstract
from rnnkit._checks.arrays import holds_integers, tensor_or_none
from rnnkit._checks.call_spec import (
    Axis,
    described,
    message_rows,
    parts_of,
    sizes,
    spell,
    state_axes,
)
from rnnkit._checks.causes.structure import outlined
from rnnkit._checks.constructors import (
    FLAG,
    hints,
    hints_of_mask,
    is_batch_size,
    is_flag,
    is_index,
    refuse_value,
)

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
GivenT = TypeVar("GivenT")


def known_options(function: FunctionT) -> FunctionT:
    """Refuse keyword arguments that a function does not have, and flags that are no booleans."""
    parameters = inspect.signature(function).parameters
    known = [name for name in parameters if name != "self"]
    flags = {name for name in known if isinstance(parameters[name].default, bool)}
    # Python's own errors go by it: there is no Layer that people could look up.
    name = function.__qualname__ = function.__name__

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for argument, value in kwargs.items():
            if argument not in known:
                steps = int(kwargs.get("batch_first") is True)
                fixes = hints(name, argument, value, known, steps)
                _refuse_unknown(name, argument, name, known, fixes)
            if argument in flags and not is_flag(value):
                refuse_value(name, FLAG, argument, value, call(name, args, kwargs))
        return function(*args, **kwargs)

    return cast("FunctionT", checked)


def _refuse_unknown(
    function: str, argument: str, owner: str, known: list[str], fixes: list[str]
) -> NoReturn:
    """Refuse a keyword argument that a function does not have."""
    shown = bounded(argument, BRIEF_LENGTH)
    sentence = f"{function}() got an unexpected keyword argument {shown!r}"
    _refuse_argument(shown, sentence, owner, known, fixes)


def _refuse_argument(
    argument: str, sentence: str, owner: str, known: list[str], fixes: list[str]
) -> NoReturn:
    """Refuse an argument, and list those that are known."""
    refusal(
        ArgumentError,
        argument,
        sentence,
        f"{owner} takes {', '.join(known)}",
        *message_rows("", fixes),
        code="arguments-of-a-call",
    )


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Refuse unknown names, and what follows ``input`` and ``hx`` by position unless all are None.

    torch's older exporter to ONNX passes every parameter of a ``forward`` by its position.
    """
    kind = type(module).__name__
    function = f"{kind}.forward"
    taken = inspect.signature(module.forward).parameters
    known = ["input", "hx", *(name for name in ("lengths", "reset") if name in taken)]
    steps = int(getattr(module, "batch_first", False))
    for argument, value in unknown.items():
        fixes = hints(kind, argument, value, known, steps)
        _refuse_unknown(function, argument, described(module), known, fixes)
    for value in surplus:
        if value is not None:
            takes = f"{function}() takes from 2 to 3 positional arguments"
            sentence = f"{takes} but {3 + len(surplus)} were given"
            fixes = _fixes_of_third(module, value, known, steps)
            _refuse_argument("hx", sentence, described(module), known, fixes)


def _fixes_of_third(module: Any, value: Any, known: list[str], steps: int) -> list[str]:
    """Write what is meant by a third argument: a mask, lengths, or the c of a pair."""
    numbers = tensor_or_none(value)
    is_layer = "lengths" in known
    if is_layer and numbers is not None:
        if numbers.dtype is torch.bool and numbers.dim() == 2:
            return hints_of_mask("mask", value, steps)
        if numbers.dim() < 2 and holds_integers(numbers):
            return ["layer(input, hx, lengths=lengths): lengths are given by name"]
    called = "layer" if is_layer else "cell"
    if isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell):
        return [f"{called}(input, (h, c)), the pair as one argument"]
    return [f"{called}(input, hx), and nothing after it"]


def check_step(layer: Any, x_t: Any) -> None:
    """Check that a step is one time step, of a layer that runs in one direction."""
    width = getattr(layer, "input_size", None)  # of a Recurrent the cells know it
    if layer.bidirectional:
        one_way = "rnnkit.Recurrent(cells), without reverse_cells"
        if width:
            one_way = f"{constructor_of(layer)}(..., bidirectional=False)"
        refusal(
            ArgumentError,
            "x_t",
            "a bidirectional layer has no single step",
            f"{described(layer)}: its backward direction begins at the last step of a sequence",
            fix=f"{one_way}, or call the layer on the whole sequence",
            code="step-bidirectional",
        )
    if is_proxy(x_t) or (isinstance(x_t, Tensor) and x_t.dim() in (1, 2)):
        return
    shape: tuple[int, ...] = ()
    came = brief(x_t)
    if isinstance(x_t, Tensor):
        shape = tuple(x_t.shape)
        came = f"{len(shape)}D"
    wants = "(batch, feature)" if width is None else f"(batch, input_size={width})"
    refusal(
        ShapeError,
        "x_t",
        f"{type(layer).__name__}.step: Expected x_t to be 1D or 2D, got {came} instead",
        f"{described(layer)}: one time step has no seq axis",
        ("x_t", wanted(wants, f"{shape}" if shape else came)),
        fix=f"for x_t in input.unbind({int(layer.batch_first)}): ..., or call the layer",
        code="step-rank",
        expected=(None, width),
        actual=shape,
    )


def one_state(hx: GivenT, state: GivenT) -> GivenT:
    """Return the state of a step, which has two names; refuse two states."""
    if state is None:
        return hx
    if hx is not None:
        sentence = "step() got a state twice, as hx and as state="
        fix = "step(x_t, hx), and leave state= out"
        refusal(ArgumentError, "state", sentence, fix=fix, code="arguments-of-a-call")
    return state


def check_block_size(block: Any) -> None:
    """Check that a block of ``unroll`` has a number of steps."""
    if not is_index(block) or block < 1:
        sentence = f"unroll: block must be an integer of at least 1, or None, got {brief(block)}"
        fix = "block=10: torch compiles ten steps at once"
        refusal(ArgumentError, "block", sentence, fix=fix, code="unroll-block")


def check_batch_size(name: str, batch_size: Any) -> None:
    """Check that the argument of ``initial_state`` is a count, or None for no batch axis."""
    # A size is no int there, and a comparison would fix it.
    if values_are_abstract() or isinstance(batch_size, torch.SymInt) or is_proxy(batch_size):
        return
    if batch_size is not None and not is_batch_size(batch_size):
        wants = "an integer of at least 0, or None for a state without batch axis"
        sentence = f"{name}.initial_state: batch_size must be {wants}, got {brief(batch_size)}"
        fix = "initial_state(5) of five samples, initial_state(None) without a batch axis"
        refusal(ArgumentError, "batch_size", sentence, fix=fix, code="batch-size")


def check_own_state(layer: Any, state: Any) -> None:
    """Check that a state is what this layer returns, of any batch."""
    names = layer.__rnnkit__.state_names
    parts = parts_of(state) if len(names) > 1 else (state,)
    if is_jit_traced() or any(map(is_proxy, (state, *parts))):
        return
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else () for part in parts] or [()]
    batch: Axis | None = None
    if len(shapes[0]) == BATCHED:
        axis = 0 if layer.state_batch_first else 1
        batch = Axis("batch", shapes[0][axis])
    if shapes == [sizes(axes) for axes in state_axes(layer, batch)]:
        return
    wants = state_axes(layer, Axis("batch"))
    each = [f"{name} {spell(axes)}" for name, axes in zip(names, wants, strict=True)]
    came = wanted(", ".join(each).removeprefix("hx "), outlined(state))
    refusal(
        StateError,
        "state",
        f"state is not what this {type(layer).__name__} returned",
        described(layer),
        ("state", came),
        fix="output, state = layer(...): the state is the second of the two",
        code="state-not-own",
        expected=sizes(wants[0]),
        actual=shapes[0],
    )
