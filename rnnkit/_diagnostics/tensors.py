"""How a tensor is copied, of whatever kind it is; and which tensors copies may have in common."""

import torch
from torch import Tensor
from torch.nn import Parameter

#: Of more numbers than this, and than the model has, a tensor is data, and not copied at all.
DATA = 2**26

#: Of more numbers than this, a tensor is copied once, and again only if a run writes it.
LARGE = 2**18


def clone(tensor: Tensor) -> Tensor:
    """Copy a tensor of any kind; it hangs on no graph, and is a parameter if the first is one."""
    with torch.no_grad():
        plain = tensor.detach()
        twin = plain.new_empty(plain.shape) if is_freed(plain) else plain.clone()
        if is_freed(plain):
            twin.untyped_storage().resize_(0)
    return dressed(twin, tensor)


def alias(tensor: Tensor) -> Tensor:
    """Return another tensor with the same numbers in the same memory; it counts its versions."""
    return dressed(tensor.detach(), tensor)


def dressed(twin: Tensor, tensor: Tensor) -> Tensor:
    """Give a tensor the class, the attributes and the wish for a gradient of another one."""
    if isinstance(tensor, Parameter):
        usual = type(tensor) is Parameter or type(twin) is not Tensor
        made = Parameter(twin, requires_grad=False) if usual else twin.as_subclass(type(tensor))
        twin = made.requires_grad_(tensor.requires_grad)
    elif tensor.requires_grad and tensor.is_leaf:
        twin.requires_grad_()
    if held := getattr(tensor, "__dict__", None):
        vars(twin).update(held)
    return twin


def is_freed(tensor: Tensor) -> bool:
    """Say whether the memory of a tensor was given back: reading it would end the process."""
    try:
        return tensor.numel() > 0 and tensor.untyped_storage().nbytes() == 0
    except (RuntimeError, NotImplementedError):
        # A sparse one, for example, has no memory of its own.
        return False


def is_plain(tensor: Tensor) -> bool:
    """Say whether :func:`copy.deepcopy` copies a tensor well, with what shares its memory."""
    usual = tensor.layout is torch.strided and not tensor.is_nested and type(tensor) is Tensor
    if not usual or not tensor.is_leaf or tensor.is_inference() or is_freed(tensor):
        return False
    if tensor.device.type == "meta":
        return True
    # A small piece of much memory is copied without the rest.
    return tensor.untyped_storage().nbytes() <= 4 * tensor.nbytes + LARGE


def version(tensor: Tensor) -> int | None:
    """Return how often a tensor was written; None if nobody counts."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors of one kind hold the same bits; those that cannot be read do."""
    try:
        if is_freed(one) or is_freed(other):
            return True
        if torch.equal(one, other):
            return True
        # The slow way only where something differs, or may be no number.
        return torch.equal(one.isnan(), other.isnan()) and torch.equal(
            one.nan_to_num(), other.nan_to_num()
        )
    except (RuntimeError, NotImplementedError):
        return True
