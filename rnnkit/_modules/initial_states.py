"""The states that modules begin from where their caller gives none, or a part of one."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._base.class_facts import overrides_initial_state
from rnnkit._base.state import filled, has_missing_part
from rnnkit._checks.call_spec import sizes_of_layer
from rnnkit._checks.cell_errors import refuse_stateless


def needs_initial_state(module: torch.nn.Module, hx: object) -> bool:
    """Return whether a call asks an overridden ``initial_state``; it makes zeros itself."""
    return overrides_initial_state(module) and has_missing_part(hx)


def with_initial_state(module: Any, input: Any, hx: object) -> Any:
    """Ask a layer or a cell for its initial state, and put it where the caller gave none."""
    if issubclass(type(module), torch.nn.RNNBase):
        batch = sizes_of_layer(module, input).get("batch")
    else:
        batch = None if input.dim() == 1 else input.shape[0]
    return filled(hx, module.initial_state(batch))


def initial_state(cell: Any, batch: int | Tensor | None, *, again: bool = False) -> Any:
    """Ask a cell for its initial state; where a tracer records sizes, the batch is a tensor."""
    if not hasattr(cell, "initial_state"):
        refuse_stateless(cell, again=again)
    return cell.initial_state(batch)
