"""Whether two outputs are the same: to the last bit, where the same computation made them.

Values may steer a computation: lengths counted from the tokens, rows picked by a mask. Then other
values mean products of other sizes, which round otherwise, and samples that have nothing to do
with them move in their last digits. So a difference within what rounding makes is believed only
if the same operations ran on the same sizes and rows.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import Leaves, same

#: How many times the measured effect of rounding two kernels may differ.
AMPLIFIED = 50


class _Operations(TorchFunctionMode):
    """Writes down what runs; as a hook's handle it stops when it is removed.

    A mode of functions, since one of operators imports torch's compiler, which takes seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name != "__get__":
            picks = any(word in name for word in ("index", "gather", "scatter", "item"))
            given = pytree.tree_leaves((args, kwargs))
            self.seen.append((func, [_trait(value, picks=picks) for value in given]))
        return func(*args, **(kwargs or {}))

    def remove(self) -> None:
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]


def _trait(value: Any, *, picks: bool) -> Any:
    """Return what decides how an operation computes: sizes, and which rows it picks."""
    if not isinstance(value, Tensor):
        return value if isinstance(value, int) else None
    if value.is_nested:
        return None
    rows = value.tolist() if picks and value.dtype in (torch.int64, torch.bool) else None
    return tuple(value.shape), value.stride(), rows


def operations(session: Session, inputs: Any) -> list[Any] | None:
    """Run the model; return the operations that ran, with the sizes that they ran on.

    None if the model does not run under watch, or a part of it cannot be watched.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in session.model.modules()):
        return None
    seen = _Operations()

    def watch(model: torch.nn.Module) -> list[Any]:  # noqa: ARG001
        seen.__enter__()  # type: ignore[no-untyped-call]
        return [seen]

    try:
        session.run(inputs, watch=watch)
    except Exception:  # noqa: BLE001 - what is compiled, for one, may not run under watch
        return None
    return seen.seen


def tolerance(dtype: torch.dtype, steps: int) -> float:
    """Return by how much rounding may part two kernels, relative to the largest output.

    Each step rounds a sum over some hundred features anew, by ``eps`` a term in random directions:
    ``eps * sqrt(features * steps)``, with a factor of 8 for what the layers above make of it. Of
    half precision no more than a quarter of the largest output is believed. What the model itself
    makes of rounding is measured and comes on top.
    """
    eps: float = torch.finfo(dtype).eps
    return min(0.25, eps * 8 * math.sqrt(256 * steps))


def distance(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Return the largest difference of two tensors, and the largest finite number in the first."""
    one, other = one.double(), other.double()
    equal = (one == other) | (one.isnan() & other.isnan())
    apart = torch.where(equal, 0.0, (one - other).abs()).nan_to_num(torch.inf)
    finite = one[one.isfinite()].abs()
    return _largest(apart), max(_largest(finite), 1e-30)


def _largest(tensor: Tensor) -> float:
    return tensor.max().item() if tensor.numel() else 0.0


def alike(one: Leaves, other: Leaves) -> bool:
    """Say whether two outputs hold the same tensors, to the last bit."""
    return len(one) == len(other) and all(
        isinstance(after, Tensor) and same(before, after)
        for before, after in zip(one, other, strict=True)
        if isinstance(before, Tensor)
    )


def is_number(leaf: Any) -> bool:
    """Say whether a leaf holds numbers with fractions."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def last_digit(tensor: Tensor) -> Tensor:
    """Change the last digit of numbers, up and down in turn."""
    if not tensor.is_floating_point() or tensor.is_nested:
        return tensor
    sign = torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape) % 2 * 2 - 1
    return tensor * (1 + sign * torch.finfo(tensor.dtype).eps).to(tensor.dtype)
