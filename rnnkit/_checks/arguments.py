"""Guards of a call's other arguments, and of those that it does not have."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, ShapeError, StateError
from rnnkit._base.keywords import FunctionT, known_keywords, refuse_keyword
from rnnkit._base.message import brief, call, refuse, wanted
from rnnkit._base.state import BATCHED, tensors_of
from rnnkit._base.torch_tools import is_jit_traced, is_proxy, values_are_abstract
from rnnkit._checks.call_spec import Axis, described, sizes, spell, state_axes
from rnnkit._checks.causes.structure import outlined
from rnnkit._checks.constructors import FLAG, check_count, is_flag, refuse_value
from rnnkit._checks.other_names import fixes_of_names

GivenT = TypeVar("GivenT")


def known_options(function: FunctionT) -> FunctionT:
    """Refuse keyword arguments that a function does not have, and flags that are not booleans.

    A decorator: it returns the function with these checks before each call. A flag is a parameter
    whose default is True or False.
    """
    parameters = inspect.signature(function).parameters
    # Python's own errors go by it: there is no Layer that people could look up.
    name = function.__qualname__ = function.__name__

    def check_flag(argument: str, value: Any) -> None:
        if isinstance(parameters[argument].default, bool) and not is_flag(value):
            refuse_value(FLAG, argument, value, call(name, (), {argument: value}))

    names = fixes_of_names([*parameters])
    return known_keywords("arguments-of-a-call", names, check_flag)(function)


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Refuse unknown names, and what follows ``input`` and ``hx`` by position unless all are None.

    ``surplus`` are those positions of a call of ``module``, and ``unknown`` its keyword arguments
    of other names. torch's older exporter to ONNX passes every parameter of a ``forward`` by its
    position.
    """
    function = f"{type(module).__name__}.forward"
    known = [name for name in inspect.signature(module.forward).parameters if name != "unknown"]
    for argument, value in unknown.items():
        names = fixes_of_names(known)
        refuse_keyword(function, argument, value, known, names, "arguments-of-a-call")
    if all(value is None for value in surplus):
        return
    fix = "(input, hx), and pass all other arguments by name"
    if isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell):
        fix = "(input, (h, c)), the pair as one argument"
    refuse(
        ArgumentError,
        "hx",
        f"{function}() takes from 2 to 3 positional arguments but {3 + len(surplus)} were given",
        f"its arguments are {', '.join(known)}",
        fix=f"{'layer' if 'lengths' in known else 'cell'}{fix}",
        code="arguments-of-a-call",
    )


def check_step(layer: Any, x_t: Any) -> None:
    """Check that ``x_t`` is one time step, of a layer that runs in one direction.

    It is ``(batch, feature)`` or ``(feature,)``; a proxy of torch.fx, which has no shape, passes.
    """
    width = getattr(layer, "input_size", None)  # of a Recurrent the cells know it
    if layer.bidirectional:
        refuse(
            ArgumentError,
            "x_t",
            "a bidirectional layer cannot run one step at a time",
            f"{described(layer)}: its backward direction begins at the last step of a sequence",
            fix="use a unidirectional layer, or call this layer on the whole sequence",
            code="step-bidirectional",
        )
    if is_proxy(x_t) or (isinstance(x_t, Tensor) and x_t.dim() in (1, 2)):
        return
    wants = "(batch, feature)" if width is None else f"(batch, input_size={width})"
    refuse(
        ShapeError,
        "x_t",
        f"{type(layer).__name__}.step: x_t must be one time step, {wants}, got {brief(x_t)}",
        f"{described(layer)}: one time step has no seq axis",
        fix=f"for x_t in input.unbind({int(layer.batch_first)}): y_t, hx = layer.step(x_t, hx), "
        "or call the layer on the whole sequence",
        code="step-rank",
        expected=(None, width),
        actual=tuple(x_t.shape) if isinstance(x_t, Tensor) else (),
    )


def one_state(hx: GivenT, state: GivenT) -> GivenT:
    """Return the state of a step, given as ``hx`` or by its other name ``state``; refuse both.

    None, if neither is given, stands for zeros.
    """
    if state is None:
        return hx
    if hx is not None:
        refuse(
            ArgumentError,
            "state",
            "step() got a state twice, as hx and as state=",
            fix="step(x_t, hx), and leave state= out",
            code="arguments-of-a-call",
        )
    return state


def check_batch_size(name: str, batch_size: Any) -> None:
    """Check that the argument of ``initial_state`` is a count, or None for no batch axis.

    ``name`` is the class for the message; a size that a compiler or tracer leaves open passes.
    """
    # A size is no int there, and a comparison would fix it.
    if values_are_abstract() or isinstance(batch_size, torch.SymInt) or is_proxy(batch_size):
        return
    if batch_size is not None:
        fix = "initial_state(5) for five samples, initial_state(None) without a batch axis"
        check_count(f"{name}.initial_state: batch_size", batch_size, code="batch-size", fix=fix)


def check_own_state(layer: Any, state: Any) -> None:
    """Check that ``state``, a tensor or an LSTM's pair, is what this layer returns, of any batch.

    It compares how many tensors there are, and their shapes; under a tracer everything passes.
    """
    names = layer.__rnnkit__.state_names
    parts = tensors_of(state) if len(names) > 1 else (state,)
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
    came = wanted(" and ".join(map(spell, wants)), outlined(state))
    refuse(
        StateError,
        "state",
        f"state is not what this {type(layer).__name__} returned",
        f"{described(layer)}: each state that it returns has this shape",
        ("state", came),
        fix="pass the layer's second result: output, state = layer(...)",
        code="state-not-own",
        expected=sizes(wants[0]),
        actual=shapes[0],
    )
