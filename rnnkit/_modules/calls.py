"""What calls of layers and of cells share: initial states, torch's own class, and one step."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import DEFAULT_INITIAL_STATES, overrides_initial_state, signature_of
from rnnkit._base.errors import RnnkitError
from rnnkit._base.message import warn
from rnnkit._base.state import filled, has_missing_part, layers_first, state_of, tensors_of
from rnnkit._base.torch_tools import torch_twin
from rnnkit._checks.arguments import check_step
from rnnkit._checks.call_spec import is_odd, sizes_of_layer
from rnnkit._checks.diagnosis import ModuleCall, diagnose
from rnnkit._checks.guards import completed
from rnnkit._checks.scope import check_axes


def finish(kind: Any) -> None:
    """Complete what Python's inspect and Python's own errors show of a base class's methods."""
    DEFAULT_INITIAL_STATES.append(kind.initial_state)
    kind.forward.__signature__ = signature_of(kind.forward)
    for name in {"initial_state", "last_hidden", "split_state", "cells"} & set(vars(kind)):
        getattr(kind, name).__qualname__ = name


def set_options(module: Any, known: Any, axes: Any, *, state_batch_first: bool = False) -> None:
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
    if is_layer:
        batch = sizes_of_layer(module, input).get("batch")
    else:
        batch = None if input.dim() == 1 else input.shape[0]
    return filled(hx, module.initial_state(batch))


def in_one_piece(input: Any) -> Any:
    """Return packed input whose batch_sizes lie in strides, which torch reads as a row, as one."""
    sizes = input.batch_sizes if isinstance(input, PackedSequence) else None
    if not isinstance(sizes, Tensor) or is_odd(sizes) or sizes.is_contiguous():
        return None
    return input._replace(batch_sizes=sizes.contiguous())


def delegated(call: ModuleCall, *, has_pieces: bool = False) -> Any:
    """Raise what is wrong with a call, or hand one whose tensors are odd to torch's class."""
    diagnose(call, has_pieces=has_pieces)
    module, input, hx, weight = call
    if needs_initial_state(module, hx):
        hx = with_initial_state(module, input, hx)
        diagnose(ModuleCall(module, input, hx, weight), has_pieces=has_pieces)
    hx = completed(module, hx)
    run: Any = module.__rnnkit__.torch_class.forward
    if isinstance(module, torch.nn.RNNCellBase):
        return state_of(tensors_of(run(module, input, hx)))
    if module.state_batch_first and hx is not None:
        hx = layers_first(hx)
    output, state = run(module, input, hx)
    return output, returned(module, state)


def returned(layer: Any, state: Any) -> Any:
    """Return the state that torch's class or its kernel returned as the layer returns it."""
    state = state_of(tensors_of(state))
    return layers_first(state) if layer.state_batch_first else state


def scripted(module: Any) -> torch.nn.Module:
    """Return the module of torch's class that TorchScript compiles, and warn if it differs."""
    # It does not refuse: a program that passes a state to each call is right there, too.
    if overrides_initial_state(module):
        name = type(module).__name__
        warn(
            "script-initial-state",
            f"TorchScript does not ask {name}.initial_state: without a state it begins from zeros. "
            f"In what you script, give each call of this {name} its state.",
            stacklevel=3,
        )
    return torch_twin(module, module.__rnnkit__.torch_class)


def run_layer_step(layer: Any, x_t: Any, state: Any, explain: Any) -> tuple[Any, Any]:
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
