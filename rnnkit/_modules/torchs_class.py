"""What torch's own class runs instead of rnnkit's: calls with odd tensors, and TorchScript."""

from typing import Any

import torch

from rnnkit._base.class_facts import overrides_initial_state
from rnnkit._base.message import warn
from rnnkit._base.torch_tools import torch_twin
from rnnkit._checks.diagnosis import ModuleCall, diagnose
from rnnkit._checks.guards import completed
from rnnkit._modules.initial_states import needs_initial_state, with_initial_state


def state_for_torch(call: ModuleCall, *, has_pieces: bool = False) -> Any:
    """Return the state with which torch's class takes a call, or raise what is wrong with it."""
    diagnose(call, has_pieces=has_pieces)
    module, input, hx, weight = call
    if needs_initial_state(module, hx):
        hx = with_initial_state(module, input, hx)
        diagnose(ModuleCall(module, input, hx, weight), has_pieces=has_pieces)
    return completed(module, hx)


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
