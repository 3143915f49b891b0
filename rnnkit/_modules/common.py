"""What layers and cells share: their options, their initial state, and the way to torch's class.

torch's own class runs calls with odd tensors, and TorchScript.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.class_facts import ClassFacts, note_subclass, overrides_initial_state
from rnnkit._base.message import warn
from rnnkit._base.state import filled, has_missing_part, map_state, zeros
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
    #: All that is ours and not public: every other name is a user's subclass's own.
    __rnnkit__: ClassFacts

    def __init_subclass__(cls, **options: Any) -> None:
        """Note what a subclass overrides."""
        super().__init_subclass__(**options)
        note_subclass(cls)

    def extra_repr(self) -> str:
        """Return the constructor's arguments as torch prints them, then rnnkit's own."""
        # Without super(), which Dynamo cannot trace where it meets a message.
        text: str = self.__rnnkit__.torch_class.extra_repr(self)
        if getattr(self, "state_batch_first", False):  # of layers only
            text += ", state_batch_first=True"
        return text if self.axes is None else f"{text}, axes={self.axes}"

    def __prepare_scriptable__(self: Any) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class, and warn of what it does not ask for.

        That is an overridden ``initial_state``: the module begins from zeros there.
        """
        # It does not refuse: a program that passes a state to each call is also right there.
        if overrides_initial_state(self):
            name = type(self).__name__
            warn(
                "script-initial-state",
                f"TorchScript does not call {name}.initial_state: without a state it starts from "
                f"zeros. In scripted code, pass a state to each call of this {name}.",
                stacklevel=2,
            )
        return torch_twin(self, self.__rnnkit__.torch_class)


def zero_state(module: Any, like: Tensor, batch_size: int | None, *rows: int) -> Any:
    """Return zeros as a module's state, each part in memory of its own.

    They have the dtype and device of ``like``, and the shape ``(*rows, batch_size, hidden)``: a
    layer has one number in ``rows``, a cell none. Without a ``batch_size`` there is no such axis.
    """
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
    """Keep the options that torch's class does not have on the module, unless they are the default.

    ``known`` is the names of axes that ``axes`` may have, which it maps to the caller's own names.
    """
    if state_batch_first:
        module.state_batch_first = True
    if axes is not None:
        module.axes = checked_axes(type(module).__name__, axes, known)


def needs_initial_state(module: torch.nn.Module, hx: object, reset: object = None) -> bool:
    """Return whether a call needs what a subclass's ``initial_state`` returns.

    It does if that is overridden, and the state ``hx``, or a part of it, is None, or samples are
    reset. A module that does not override it begins from zeros, which the call makes itself.
    """
    return overrides_initial_state(module) and (reset is not None or has_missing_part(hx))


def own_initial_state(
    guard: Callable[..., Any], module: Any, input: Any, hx: Any, weight: Tensor | None
) -> tuple[Any, Any]:
    """Return the state of a call whose missing parts an overridden ``initial_state`` returns.

    The second result is all that it returns, to which samples are reset; a state that does not fit
    is an error. ``guard`` is the quick check of a call, with the module, input, state and first
    weight: it returns the state as kernels take it, or MISFIT.
    """
    is_layer = issubclass(type(module), torch.nn.RNNBase)
    spec = spec_of(module, input, "layer" if is_layer else "cell")
    returned = module.initial_state(spec.batch)
    initial = guard(module, input, returned, weight)
    if initial is MISFIT:
        like = input if isinstance(input, Tensor) else input.data
        diagnose_initial_state(spec, returned, like)
    return guard(module, input, filled(hx, returned), weight), initial


def initial_state(cell: Any, batch: int | Tensor | None) -> Any:
    """Return what a cell's ``initial_state`` returns; raise a CellError if it has no such method.

    ``batch`` is None for no batch axis; where a tracer records sizes, it is a tensor.
    """
    if not hasattr(cell, "initial_state"):
        refuse_stateless(cell)
    return cell.initial_state(batch)


def state_for_torch(call: ModuleCall, *, has_pieces: bool = False) -> Any:
    """Return the state with which torch's class takes a call, or raise what is wrong with it.

    ``call`` is the module, input, state and weight of a call that the quick check did not take.
    ``has_pieces``: the call has lengths or resets, which torch's class does not know.
    """
    # torch's class asks no overridden initial_state either: what needs one is not for it to run.
    is_ours = has_pieces or needs_initial_state(call.module, call.hx)
    diagnose(call, has_pieces=is_ours)
    return completed(call.module, call.hx)
