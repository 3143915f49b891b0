"""Guards of cells over a sequence: what may be one, its state, and what its step did."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._base.state import BATCHED, PAIR

#: What a guard returns of a call that does not fit: a constant, which every compiler compares.
MISFIT: Any = False


def is_callable_cell(cell: Any) -> bool:
    """Return whether this may be a cell: callable, and not a layer, list, tensor or class."""
    wrong = (torch.nn.RNNBase, torch.nn.ModuleList, Tensor, type)
    return callable(cell) and not isinstance(cell, wrong) and not is_recurrent(cell)


def is_recurrent(cell: Any) -> bool:
    """Return whether this is a ``Recurrent``, which stands in a higher layer of imports."""
    kinds = type(cell).__mro__
    return any((kind.__module__, kind.__name__) == ("rnnkit", "Recurrent") for kind in kinds)


def has_batch(hx: Any, batch: Any) -> bool:
    """Return whether each tensor of a user's state has the batch on axis 0."""
    if isinstance(hx, tuple | list):
        return all(part is None or has_batch(part, batch) for part in hx)
    return isinstance(hx, Tensor) and tuple(hx.shape)[:1] == (batch,)


def fitting_states(cells: list[Any], hx: Any) -> Any:
    """Return one state for each cell of a ``Recurrent``, or MISFIT; None is one for all."""
    if hx is None:
        return [None] * len(cells)
    if not isinstance(hx, tuple | list) or len(hx) != len(cells):
        return MISFIT
    # A user's cell may have a state of three axes.
    known = all(isinstance(cell, torch.nn.RNNCellBase) for cell in cells)
    return MISFIT if known and is_state_of_layer(hx, len(cells)) else hx


def is_state_of_layer(hx: Any, rows: int) -> bool:
    """Return whether this is a tensor, or a pair, that has the states of all cells on axis 0."""
    parts = [hx] if isinstance(hx, Tensor) else hx
    if not isinstance(parts, tuple | list) or len(parts) not in (1, PAIR):
        return False
    return all(isinstance(t, Tensor) and t.dim() == BATCHED and len(t) == rows for t in parts)


def is_result(new: Any, hx: Any) -> bool:
    """Return whether what a cell returned is a state of the kind that it was given."""
    if isinstance(new, Tensor):
        return isinstance(hx, Tensor)
    return isinstance(new, tuple) and not isinstance(hx, Tensor) and not is_with_output(new, hx)


def is_with_output(new: Any, hx: Any) -> bool:
    """Return whether a cell returned ``(output, state)``, and not the state."""
    if not isinstance(new, tuple) or len(new) != PAIR or not isinstance(new[0], Tensor):
        return False
    if isinstance(hx, Tensor):
        return isinstance(new[1], Tensor)
    if not isinstance(new[1], tuple) or len(new[1]) != len(hx):
        return False
    return all(isinstance(part, Tensor) for part in (*new[1], *hx))


def is_of_layer(state: Any, batch: Any) -> bool:
    """Return whether a state has the batch on axis 1, as a layer's state has, and not on axis 0."""
    t = state[0] if isinstance(state, tuple) and state else state
    return isinstance(t, Tensor) and t.dim() > PAIR and t.shape[0] != batch == t.shape[1]


def tensors_in(state: Any) -> list[Tensor]:
    """Return the tensors of any cell's state."""
    if isinstance(state, Tensor):
        return [state]
    parts = state if isinstance(state, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def versions(state: Any) -> list[int]:
    """Return how often each tensor of a state was written; in inference mode torch counts none."""
    return [0 if t.is_inference() else t._version for t in tensors_in(state)]  # noqa: SLF001
