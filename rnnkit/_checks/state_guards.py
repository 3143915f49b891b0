"""The guard of a state: whether it fits the call, with zeros in place of what is missing of a pair.

The contract of a guard stands at the top of ``calls``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.errors import RnnkitError
from rnnkit._base.message import raise_for
from rnnkit._base.state import PAIR
from rnnkit._checks.call_spec import CallSpec, CheckedCell, agree
from rnnkit._checks.dtype_errors import has_own_dtype
from rnnkit._checks.state_errors import diagnose_sizes, diagnose_state


def fitting_state(
    module: CheckedCell, hx: Any, front: tuple[int, ...], like: Tensor, *, any_c: bool = False
) -> Any:
    """Return a state whose tensors have the sizes, dtype and device that the module takes.

    Args:
        module: a layer or a cell.
        hx: what the caller gave.
        front: the sizes of a state but for its width.
        like: the input, whose dtype and device a state has.
        any_c: whether c may be of another floating-point dtype, as torch's cells take it.

    Returns:
        A tensor, or a tuple of an LSTM's two; None if it does not fit, or wants a diagnosis.
    """
    dtype, device = like.dtype, like.device
    c_shape = (*front, module.hidden_size)
    if len(module.__rnnkit__.state_names) == 1:
        return hx if _is_state(hx, c_shape, dtype, device) else None
    if not isinstance(hx, (tuple, list)) or len(hx) != PAIR:
        return None
    proj_size = proj_size_of(module)
    h_shape = (*front, proj_size) if proj_size else c_shape
    h, c = hx
    if h is None or c is None:
        h, c = complete_pair(hx, (h_shape, c_shape), like)
    fits = _is_state(h, h_shape, dtype, device) and (
        _is_state(c, c_shape, dtype, device)
        or (
            isinstance(c, Tensor)
            and has_own_dtype(c, dtype, is_cell=any_c)
            and _is_state(c, c_shape, c.dtype, device)
        )
    )
    return (h, c) if fits else None


def _is_state(
    tensor: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> bool:
    return (
        isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and tensor.shape == shape
        and (tensor.dtype is dtype or agree(tensor.dtype, dtype))
        and tensor.device == device
    )


def complete_pair(hx: Any, shapes: Sequence[tuple[int, ...]], like: Tensor) -> Any:
    """Put zeros in place of a None in a pair; a state that is no pair stays as it is."""
    if not isinstance(hx, (tuple, list)) or len(hx) != len(shapes) or len(hx) != PAIR:
        return hx
    h, c = hx
    if h is None:
        h = torch.zeros(shapes[0], dtype=like.dtype, device=like.device)
    if c is None:
        c = torch.zeros(shapes[1], dtype=like.dtype, device=like.device)
    return h, c


def diagnosed_state(spec: CallSpec, hx: Any, like: Tensor, *, only_sizes: bool = False) -> Any:
    """Return a state that no guard has passed, its pair complete, if nothing is wrong with it."""
    shapes = [tuple(axis.size or 0 for axis in axes) for axes in spec.state_axes]
    state = complete_pair(hx, shapes, like)
    raise_for(diagnose_sizes(spec, state) if only_sizes else diagnose_state(spec, state, like))
    return state


def first_state(spec: CallSpec, first: Any, like: Tensor) -> Any:
    """Hold what a user's ``initial_state`` returned to what the call takes as its state."""
    try:
        return diagnosed_state(spec, first, like)
    except RnnkitError as error:
        # The call may have a state of its own, which is right.
        error.add_note("hx is what initial_state returned")
        raise


def completed(module: CheckedCell, hx: Any) -> Any:
    """Complete a pair by zeros as a tracer must see them: their sizes come from the other one."""
    if (
        len(module.__rnnkit__.state_names) == 1
        or not isinstance(hx, (tuple, list))
        or len(hx) != PAIR
    ):
        return hx
    h, c = hx
    if h is None and c is None:
        return None
    if h is None:
        h = c.new_zeros(*c.shape[:-1], proj_size_of(module) or module.hidden_size)
    if c is None:
        c = h.new_zeros(*h.shape[:-1], module.hidden_size)
    return h, c
