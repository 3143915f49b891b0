"""A model in float64: what rounding makes is gone there, and what depends on an input is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.isolation import Given, Session, session
from rnnkit._diagnostics.outputs import Leaves

#: Of more weights than this, a copy in float64 would be too large.
WEIGHTS = 2**25

#: What turns numbers into other ones, by the names of methods.
CASTS = {"half", "bfloat16", "float", "cfloat", "chalf"}

WIDER = {torch.complex32: torch.complex128, torch.complex64: torch.complex128}


class Widened(TorchFunctionMode):
    """Computes in float64 what would be computed in less; autocast leaves float64 alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function with float64 where it is asked for less."""
        if getattr(func, "__name__", "") in CASTS and args and isinstance(args[0], Tensor):
            return widest(args[0])
        args, kwargs = pytree.tree_map_only(torch.dtype, _wide, (args, kwargs or {}))
        result = func(*args, **kwargs)
        # A map over a tree makes a plain tuple of sizes, which cannot be counted.
        return pytree.tree_map_only(Tensor, widest, result, is_leaf=_is_size)


def _is_size(node: Any) -> bool:
    return isinstance(node, torch.Size)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype.is_floating_point else WIDER.get(dtype, dtype)


def widest(tensor: Tensor) -> Tensor:
    """Return a tensor of numbers in float64, or of two such; any other tensor as it is."""
    return tensor if tensor.is_nested else tensor.to(_wide(tensor.dtype))


@contextmanager
def opened_wide(opened: Session) -> Iterator[Session]:
    """Open a session on a copy in float64; raise if that would be too large."""
    weights = [*opened.model.parameters(), *opened.model.buffers()]
    if sum(weight.numel() for weight in weights) > WEIGHTS:
        message = "too large for a copy in float64"
        raise MemoryError(message)
    copy, _ = opened.pristine.copy()
    copy.double()
    for tensor in [*copy.parameters(), *copy.buffers()]:
        if tensor.is_complex():
            tensor.data = widest(tensor.data)
    with session(copy, opened.call if opened.is_wrapped else None) as wide, Widened():
        yield wide


def run_wide(opened: Session, inputs: Given) -> Leaves | None:
    """Run a copy in float64; None if the model does not run so."""
    try:
        with opened_wide(opened) as wide:
            output = wide.run(pytree.tree_map_only(Tensor, widest, inputs))
            opened.passes += wide.passes
    except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
        return None
    return output
