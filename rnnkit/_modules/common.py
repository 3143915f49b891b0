"""What layers and cells share: their options, their initial state, and the way to torch's class.

torch's own class runs calls with odd tensors, and TorchScript.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.class_facts import note_subclass, overrides_initial_state
from rnnkit._base.message import warn
from rnnkit._base.state import has_missing_part, map_state, zeros
from rnnkit._base.torch_tools import torch_twin
from rnnkit._checks.arguments import check_batch_size
from rnnkit._checks.call_spec import spec_of
from rnnkit._checks.cell_errors import refuse_stateless
from rnnkit._checks.diagnosis import ModuleCall, diagnose, diagnose_initial_state
from rnnkit._checks.guards import MISFIT, completed
from rnnkit._checks.scope import Axes, checked_axes


class Checked:
    """What a layer and a cell of rnnkit's have beside torch's class."""

    #: The names of axes in the caller's scope. On the class, so that a module with the default
    #: holds nothing that torch's does not hold.
    axes: dict[str, str] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Note what a subclass overrides."""
        super().__init_subclass__(**options)
        note_subclass(cls)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class, and warn of what it does not ask for."""
        return scripted(self)


def zero_state(module: Any, like: Tensor, batch_size: int | None, *rows: int) -> Any:
    """Return zeros as a module's state, made like a tensor, each part in memory of its own."""
    check_batch_size(type(module).__name__, batch_size)
    front = rows if batch_size is None else (*rows, batch_size)
    return map_state(lambda tensor: tensor.clone(), zeros(module, like, *front))


def set_options(
    module: Any,
    known: tuple[str, ...],
    axes: Axes | None,
    *,
    state_batch_first: bool = False,
) -> None:
    """Keep the options that torch's class does not have, unless they are the default."""
    if state_batch_first:
        module.state_batch_first = True
    if axes is not None:
        module.axes = checked_axes(type(module).__name__, axes, known)


def needs_initial_state(module: torch.nn.Module, hx: object, reset: object = None) -> bool:
    """Return whether a call asks an overridden ``initial_state``; it makes zeros itself."""
    return overrides_initial_state(module) and (reset is not None or has_missing_part(hx))


def own_initial_state(
    guard: Callable[..., Any], module: Any, input: Any, weight: Tensor | None
) -> tuple[Any, Any]:
    """Return what an overridden ``initial_state`` returns for a call, and that as the guard has it.

    What the guard of the call would not take as ``hx`` is refused.
    """
    is_layer = issubclass(type(module), torch.nn.RNNBase)
    spec = spec_of(module, input, "layer" if is_layer else "cell")
    returned = module.initial_state(spec.batch)
    checked = guard(module, input, returned, weight)
    if checked is MISFIT:
        like = input if isinstance(input, Tensor) else input.data
        diagnose_initial_state(spec, returned, like)
    return returned, checked


def initial_state(cell: Any, batch: int | Tensor | None, *, again: bool = False) -> Any:
    """Ask a cell for its initial state; where a tracer records sizes, the batch is a tensor."""
    if not hasattr(cell, "initial_state"):
        refuse_stateless(cell, again=again)
    return cell.initial_state(batch)


def state_for_torch(call: ModuleCall, *, has_pieces: bool = False) -> Any:
    """Return the state with which torch's class takes a call, or raise what is wrong with it."""
    # Nor does it ask an overridden initial_state.
    is_ours = has_pieces or needs_initial_state(call.module, call.hx)
    diagnose(call, has_pieces=is_ours)
    return completed(call.module, call.hx)


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
