"""Whether two outputs are the same: to the last bit, where the same computation made them.

Values may steer a computation: lengths counted from the tokens, rows picked by a mask. Then other
values mean products of other sizes, which round otherwise, and samples that have nothing to do
with them move in their last digits. So a difference within what rounding makes is believed only
if the same operations ran on the same sizes and rows.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.isolation import Listener, Session
from rnnkit._diagnostics.outputs import Leaves, same

#: How many times the measured effect of rounding two kernels may differ.
AMPLIFIED = 50

#: How coarse whole numbers of eight bits are, of a scale that a tensor's largest number sets.
EIGHT_BITS = 1 / 128

#: How many times the usual size of a feature a number has that is a mask, and no feature.
MASKING = 1000


#: What picks rows by its arguments, by a part of its name.
PICKING = ("index", "gather", "scatter", "__getitem__", "__setitem__")


class Computation(NamedTuple):
    """What a run computed.

    Attributes:
        operations: what ran, on which sizes and rows; None if that could not be watched.
        eps: the relative step between numbers of the coarsest kind that anything was computed in.
    """

    operations: list[Any] | None
    eps: float


class _Operations(Listener):
    """Writes down what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.eps = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        result = func(*args, **(kwargs or {}))
        if name != "__get__":
            picks = any(word in name for word in PICKING)
            given = enumerate(pytree.tree_leaves((args, kwargs)))
            # What rows are picked from, the first argument, may hold ids: it picks none itself.
            traits = [_trait(v, picks=name == "item" or (picks and k > 0)) for k, v in given]
            self.seen.append((func, traits))
            self.eps = max([self.eps, *map(_computed, pytree.tree_leaves(result))])
        return result


def _trait(value: Any, *, picks: bool) -> Any:
    """Return what decides how an operation computes: sizes, and which rows it picks."""
    if not isinstance(value, Tensor):
        return value if isinstance(value, int) else None
    if value.is_nested:
        return None
    rows = value.tolist() if picks and value.dtype in (torch.int64, torch.bool) else None
    return tuple(value.shape), value.stride(), rows


def _computed(value: Any) -> float:
    """Return the relative step of the numbers that a result was computed in, as far as is seen."""
    if not _is_cast(value):
        return eps_of(value)
    # A fused layer gives float32, and has computed in less.
    return max(eps_of(value), torch.finfo(torch.get_autocast_dtype(value.device.type)).eps)


def _is_cast(value: Any) -> bool:
    """Say whether autocast may compute with a tensor in less; it leaves float64 alone."""
    if not is_number(value) or value.dtype is torch.float64:
        return False
    return torch.is_autocast_enabled(value.device.type)


def scales_by_range(model: torch.nn.Module) -> bool:
    """Say whether a layer rounds what it is given by the largest number in it, of any sample."""
    return any(".quantized.dynamic." in type(module).__module__ for module in model.modules())


def eps_of(value: Any) -> float:
    """Return the relative step between the numbers of a tensor; 0 of what has no fractions."""
    return torch.finfo(value.dtype).eps if is_number(value) else 0.0


def compute(session: Session, inputs: Any, normal: Leaves | None = None) -> Computation:
    """Run the model; return what it computed.

    If a part of it cannot be watched, or it does not run under watch, only how coarse the numbers
    are is known: from its weights, and from autocast. Where torch takes another way if it is
    watched, as in an encoder, what was watched is not what is computed. What the model returns when
    nobody watches, ``normal``, tells.
    """
    model, seen = session.model, _Operations()
    eps = max([0.0, *map(eps_of, [*model.parameters(), *model.buffers()])])
    eps = max([eps, *map(_computed, filter(_is_cast, pytree.tree_leaves(inputs)))])
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return Computation(None, eps)
    if scales_by_range(model):
        return Computation(None, max(eps, EIGHT_BITS))
    try:
        output = session.run(inputs, watch=lambda _: [seen.started()])
    except Exception:  # noqa: BLE001 - what is compiled, for one, may not run under watch
        return Computation(None, max(eps, seen.eps))
    is_watched = normal is None or alike(normal, output)
    return Computation(seen.seen if is_watched else None, seen.eps)


def tolerance(eps: float, steps: int) -> float:
    """Return by how much rounding may part two kernels, relative to the largest output.

    Each step rounds a sum over some hundred features again, by ``eps`` a term in random directions:
    ``eps * sqrt(features * steps)``, with a factor of 8 for what the layers above make of it. Of
    half precision no more than a quarter of the largest output is believed. What the model itself
    makes of rounding is measured and comes on top.
    """
    return min(0.25, eps * 8 * math.sqrt(256 * steps))


def scale(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return how large the numbers of each feature are, in the shape of the tensor.

    What is a thousand times larger than the others, as the score of what is masked, counts for
    itself alone. The axes are those that are no feature's: batch and seq.
    """
    size = tensor.double().abs().nan_to_num(0.0, 0.0, 0.0)
    usual = size.movedim(axes, tuple(range(len(axes)))).flatten(0, len(axes) - 1)
    usual = torch.where(usual > 0, usual, torch.nan).nanmedian(0).values.nan_to_num(0.0)
    for axis in sorted(axes):
        usual = usual.unsqueeze(axis)
    largest = torch.where(size <= MASKING * usual, size, 0.0).amax(axes, keepdim=True)
    return torch.maximum(largest.expand_as(size), size)


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Return by how much two tensors differ, number by number."""
    one, other = one.double(), other.double()
    equal = (one == other) | (one.isnan() & other.isnan())
    return torch.where(equal, 0.0, (one - other).abs()).nan_to_num(torch.inf)


def far(off: float) -> str:
    """Write by how much two tensors differ, of the largest number in them."""
    if math.isfinite(off):
        return f"off by {off:.1e} of the largest"
    return "one of them has a NaN or an infinity, and the other a number"


def largest(tensor: Tensor) -> float:
    """Return the largest finite number of a tensor, without its sign."""
    finite = tensor[tensor.isfinite()].double().abs()
    return max(finite.max().item(), 1e-30) if finite.numel() else 1e-30


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


def change_last_digit(tree: Any, phase: int, eps: float = 0.0) -> Any:
    """Change the last digit of all numbers in a tree, up and down in turn.

    Whole numbers stay, since they may be ids or flags. There are two phases. ``eps`` is the
    relative change, where it is coarser than a number's own last digit.
    """

    def changed(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.is_nested or not tensor.numel():
            return tensor
        place = torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape)
        sign = (place // (1 + phase)) % 2 * 2 - 1
        other = tensor * (1 + sign * max(eps, torch.finfo(tensor.dtype).eps))
        return torch.where(tensor == tensor.round(), tensor, other.to(tensor.dtype))

    return pytree.tree_map_only(Tensor, changed, tree)
