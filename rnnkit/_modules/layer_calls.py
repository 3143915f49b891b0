"""A checked call beside its guard: initial states, torch's own class, torch's kernel, one step.

The kernel without lengths is what torch's ``forward`` comes to once the checks are made. Where a
subclass overrides torch's checks, and where a compiler traces, torch's ``forward`` itself runs.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import (
    DEFAULT_INITIAL_STATES,
    mode_of,
    overrides_initial_state,
    signature_of,
)
from rnnkit._base.errors import RnnkitError
from rnnkit._base.message import warn
from rnnkit._base.state import filled, has_missing_part, layers_first, map_state, state_of, zeros
from rnnkit._base.torch_tools import is_fx_call, leaf_node, torch_twin
from rnnkit._checks.arguments import MISSING, check_step
from rnnkit._checks.call_spec import SEQUENCE, batch_of
from rnnkit._checks.diagnosis import diagnose
from rnnkit._checks.scope import check_axes
from rnnkit._kernels.stack import KERNELS


def finish(kind: Any) -> None:
    """Complete what Python's inspect and Python's own errors show of a base class's methods."""
    DEFAULT_INITIAL_STATES.append(kind.initial_state)
    # Type checkers ask for the argument; Python would name a class that nobody can import.
    kind.initial_state.__defaults__ = (MISSING,)
    kind.forward.__signature__ = signature_of(kind.forward)
    for name in ("initial_state", "last_hidden", "split_state", "cells"):
        if name in vars(kind):
            getattr(kind, name).__qualname__ = name


def set_options(
    module: Any, known: tuple[str, ...], axes: Any, *, state_batch_first: bool = False
) -> None:
    """Keep the options that torch's class does not have, unless they are the default."""
    if state_batch_first:
        module.state_batch_first = True
    if axes is not None:
        module.axes = check_axes(type(module).__name__, axes, known)


def needs_initial_state(module: Any, hx: Any) -> bool:
    """Return whether a call asks an overridden ``initial_state``; it makes zeros itself."""
    return overrides_initial_state(module) and has_missing_part(hx)


def with_initial_state(module: Any, input: Any, hx: Any) -> Any:
    """Ask a layer or a cell for its initial state, and put it where the caller gave none."""
    is_layer = issubclass(type(module), torch.nn.RNNBase)
    batch: Any = batch_of(module, input) if is_layer else input.shape[:-1]
    return filled(hx, module.initial_state(batch[0] if batch else None))


def delegated(module: Any, input: Any, hx: Any, weight: Tensor | None, **options: Any) -> Any:
    """Raise what is wrong with a call, or hand it to ``torch.fx`` or to torch's class as it is."""
    diagnose(module, input, hx, weight)
    if is_fx_call(input, hx):
        return leaf_node(module, input, hx, **options)
    if needs_initial_state(module, hx):
        hx = with_initial_state(module, input, hx)
        diagnose(module, input, hx, weight)
    torch_class = module.__rnnkit__.torch_class
    if isinstance(module, torch.nn.RNNCellBase):
        return state_of(_listed(torch_class.forward(module, input, hx)))
    if module.state_batch_first and hx is not None:
        hx = layers_first(hx)
    # torch's class has no lengths and no resets, and says so.
    given = {name: value for name, value in options.items() if value is not None}
    output, state = torch_class.forward(module, _in_one_piece(input), hx, **given)
    return output, returned(module, state)


def returned(layer: Any, state: Any) -> Any:
    """Return the state that torch's class or its kernel returned as the layer returns it."""
    state = state_of(_listed(state))
    return layers_first(state) if layer.state_batch_first else state


def scripted(module: Any) -> torch.nn.Module:
    """Return the module of torch's class that TorchScript compiles, and warn if it differs.

    It does not refuse: a program that passes a state to each call is right there, too.
    """
    if overrides_initial_state(module):
        name = type(module).__name__
        warn(
            "script-initial-state",
            f"TorchScript does not ask {name}.initial_state: without a state it begins from zeros. "
            f"In what you script, give each call of this {name} its state.",
            stacklevel=3,
        )
    return torch_twin(module, module.__rnnkit__.torch_class)


def first_weight(layer: Any) -> Tensor:
    """Return a layer's first weight as the call will read it."""
    weight: Any = None
    if is_compiling():
        # What torch's forward does first is not recorded twice.
        weight = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
    else:
        layer._update_flat_weights()  # noqa: SLF001
    return layer._flat_weights[0] if weight is None else weight  # type: ignore[no-any-return]  # noqa: SLF001


def _in_one_piece(input: Any) -> Any:
    """Return packed input whose sizes torch can read: it takes memory in strides for a row."""
    if isinstance(input, PackedSequence) and not input.batch_sizes.is_contiguous():
        return input._replace(batch_sizes=input.batch_sizes.contiguous())
    return input


def run_without_lengths(layer: Any, input: Any, hx: Any, overrides_checks: bool) -> tuple[Any, Any]:
    """Run a layer on a checked call, its weights up to date, and return what torch's returns."""
    input = _in_one_piece(input)
    facts, mode = layer.__rnnkit__, mode_of(layer)
    # A line of its own: Dynamo may stop at the one above, and compiles again for whatever object is
    # on the stack there and new in each call, as a bound method is.
    kernel = KERNELS.get(mode)
    if kernel is None or is_compiling() or overrides_checks:
        return facts.torch_class.forward(layer, input, hx)  # type: ignore[no-any-return]
    weights = layer._flat_weights  # noqa: SLF001
    options = (layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)
    if isinstance(input, PackedSequence):
        data, sizes, order, back = input
        if hx is None:
            hx = zeros(layer, data, rows_of(layer), sizes[0])  # a tensor, which a tracer can follow
        elif order is not None:
            hx = _permuted(hx, order)
        output, *ends = kernel(data, sizes, hx, weights, *options)
        end = ends[0] if len(ends) == 1 else tuple(ends)
        packed = PackedSequence(output, sizes, order, back)
        return packed, end if back is None else _permuted(end, back)
    unbatched = input.dim() == SEQUENCE
    axis = 0 if layer.batch_first else 1
    if unbatched:
        input = input.unsqueeze(axis)
        hx = map_state(lambda tensor: tensor.unsqueeze(1), hx)
    if hx is None:
        hx = zeros(layer, input, rows_of(layer), input.size(axis))
    output, *ends = kernel(input, hx, weights, *options, layer.batch_first)
    if unbatched:
        output, ends = output.squeeze(axis), [part.squeeze(1) for part in ends]
    return output, ends[0] if len(ends) == 1 else ends


def run_step(
    layer: Any, x_t: Any, state: Any, explain: Callable[[Any, Any, Any], None]
) -> tuple[Any, Any]:
    """Run one step as a sequence of one; ``explain`` says what is wrong in a step's words."""
    check_step(layer, x_t)
    seq_axis = x_t.dim() - 1 if layer.batch_first else 0  # no question, for torch.fx
    try:
        output, state_after = layer(x_t.unsqueeze(seq_axis), state)
    except RnnkitError:
        # A subclass that overrides forward may take what ours refuses.
        if not is_compiling() and type(layer).forward.__module__.startswith("rnnkit."):
            explain(layer, x_t, state)
        raise
    return output.squeeze(seq_axis), state_after


def rows_of(layer: Any) -> int:
    """Return how many states a layer has, one for each direction of each of its layers."""
    return layer.num_layers * 2 if layer.bidirectional else layer.num_layers  # type: ignore[no-any-return]


def _listed(state: Any) -> Any:
    return [state] if isinstance(state, Tensor) else state


def _permuted(state: Any, order: Tensor) -> Any:
    return map_state(lambda tensor: tensor.index_select(1, order), state)
