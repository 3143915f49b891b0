"""What a model is given and returns, of whatever kind, as leaves; their order; what is equal."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from numbers import Real
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import Module, functional
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

Leaves = list[Any]

#: So often a finite number is drawn for one that is not; a feature that has none gets zeros.
DRAWS = 8


class Given(NamedTuple):
    """What a model is called with: its positional and its keyword arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


#: What an object holds that is looked into.
MEMBERS = (Tensor, Distribution, Mapping, list, tuple)

#: Puts hooks on a model and returns their handles.
Watch = Callable[[torch.nn.Module], list[Any]]


def all_of(*watches: Watch) -> Watch:
    """Return a watch that puts the hooks of several watches on a model, and returns all handles."""
    return lambda model: [hook for watch in watches for hook in watch(model)]


def leaves(tree: Any) -> Leaves:
    """Return the leaves of nested outputs or inputs: their tensors, and whatever else they hold."""
    return [leaf for _, leaf in named_leaves(tree)]


def named_leaves(tree: Any, *, stack: bool = False, name: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of a nested structure, each with its path, such as ``[0]['text']``.

    Lists, tuples, mappings, dataclasses, distributions and other objects that hold tensors are
    taken apart. Arrays and lists of numbers become tensors, and packed or sparse tensors dense
    ones. With ``stack``, a list of tensors of one shape, such as the steps of a loop, becomes one
    tensor. ``name`` is the path so far.
    """
    if isinstance(tree, Tensor | PackedSequence):
        return [(name, _as_dense(tree))]
    if type(tree).__module__ == "numpy":
        return [(name, _tensor_of(tree))]
    if isinstance(tree, list) and _are_numbers(tree):
        return [(name, _tensor_of(tree))]
    members = parts(tree)
    if not members:
        return [] if isinstance(tree, list | tuple | Mapping) else [(name, tree)]
    if stack and _is_list_of_steps(tree):
        return [(f"{name}[:]", torch.stack([_as_dense(step) for step in tree]))]
    return [
        leaf for key, part in members for leaf in named_leaves(part, stack=stack, name=name + key)
    ]


def _tensor_of(numbers: Any) -> Any:
    """Return an array, or nested lists of numbers, as a tensor.

    Lists of unequal lengths are returned as they are.
    """
    with suppress(RuntimeError, TypeError, ValueError):
        if not isinstance(numbers, list):
            return torch.tensor(numbers.copy(), device="cpu")
        found = torch.tensor(numbers, device="cpu")
        if not found.is_floating_point():
            return found
        # Numbers of Python have all digits of float64.
        return torch.tensor(numbers, dtype=torch.float64, device="cpu")
    return numbers


def _are_numbers(tree: list[Any]) -> bool:
    """Return whether nested lists hold numbers, and nothing else."""
    numbers = pytree.tree_leaves(tree, is_leaf=lambda node: not isinstance(node, list | tuple))
    return numbers != [] and all(isinstance(n, Real) for n in numbers)


def _is_list_of_steps(tree: Any) -> bool:
    """Return whether a list, or a tuple of four or more, holds tensors that can be stacked."""
    if type(tree) not in (list, tuple) or not all(isinstance(x, Tensor) for x in tree):
        return False
    most = 1 if isinstance(tree, list) else 3  # up to three may be the members of a state
    kinds = {(x.shape, x.dtype, x.device) for x in map(_as_dense, tree)}
    return len(tree) > most and len(kinds) == 1


def parts(tree: Any) -> list[tuple[str, Any]]:
    """Return the members of a nested structure, each with the key that leads to it.

    The key is written as in code: ``['text']``, ``.hidden`` or ``[0]``. Anything else has none.
    """
    if isinstance(tree, Mapping):
        # A TensorDict iterates over its rows, and has its keys in items alone.
        return [(f"[{key!r}]", member) for key, member in tree.items()]
    names = _attributes(tree)
    if names or not isinstance(tree, list | tuple):
        return [(f".{name}", getattr(tree, name)) for name in names]
    return [(f"[{index}]", part) for index, part in enumerate(tree)]


def _attributes(tree: Any) -> Sequence[str]:
    """Return the names of the attributes that are a structure's members; none of a plain list."""
    if isinstance(tree, list | type | Module):
        return ()
    if is_dataclass(tree):
        return [field.name for field in fields(tree)]
    if isinstance(tree, tuple):
        names: Sequence[str] = getattr(tree, "_fields", ())
        return names
    # Of a distribution, or of a class of a user's, which may refer back to what holds it.
    held = getattr(tree, "__dict__", {}).items()
    return [name for name, part in held if isinstance(part, MEMBERS) and tensors_of(part)]


def tensors_of(tree: Any) -> list[Tensor]:
    """Return the tensors among the leaves of a nested structure."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]


def is_one_leaf(node: Any) -> bool:
    """Return whether flattening inputs keeps a node whole: packed, or a list of integers.

    Such a list may be the lengths: a number for each sample.
    """
    if type(node) in (list, tuple, torch.Size):
        return bool(node) and all(isinstance(n, int) for n in node)
    return is_packed(node)


def is_packed(part: Any) -> TypeGuard[PackedSequence]:
    """Return whether a part of what is given or returned is packed."""
    return isinstance(part, PackedSequence)


def is_output(leaf: Any) -> bool:
    """Return whether a leaf is a tensor with an axis, and at least one finite number to compare."""
    is_tensor = isinstance(leaf, Tensor) and leaf.dim() > 0
    return is_tensor and bool(leaf.isfinite().any())


def shape_of(leaf: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor; None of anything else."""
    return tuple(leaf.shape) if isinstance(leaf, Tensor) else None


def shapes_of(leaves: Leaves) -> list[tuple[int, ...] | None]:
    """Return the shape of each leaf; None for each that is no tensor."""
    return [*map(shape_of, leaves)]


def _as_dense(leaf: Any) -> Tensor:
    """Return the numbers of a tensor as a dense real tensor: it may be packed, sparse or complex.

    A packed sequence is padded; a complex number becomes a last axis of size 2.
    """
    if isinstance(leaf, PackedSequence):
        return pad_packed_sequence(leaf)[0]
    if leaf.is_nested:
        leaf = leaf.to_padded_tensor(0.0)
    elif leaf.layout is not torch.strided:
        leaf = leaf.to_dense()
    return torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf


class JoinedAxes(NamedTuple):
    """One axis of an output that has samples and steps, ``(batch * seq, ...)`` or the reverse.

    Attributes:
        axis: where that axis is.
        has_batch_first: whether the steps of one sample follow each other, ``(batch * seq, ...)``.
    """

    axis: int
    has_batch_first: bool

    def split(self, leaf: Any, samples: int) -> Any:
        """Return a leaf with two axes in place of the joined one, in the same order.

        It is returned as it is if it is no tensor, or if that axis is no multiple of the samples.
        """
        if not isinstance(leaf, Tensor) or leaf.shape[self.axis :][:1].numel() % samples:
            return leaf
        sizes = (samples, -1) if self.has_batch_first else (-1, samples)
        return torch.unflatten(leaf, self.axis, sizes)


def split_joined_axes(leaves: Leaves, joined: Mapping[int, JoinedAxes], samples: int) -> Leaves:
    """Return the leaves of an output, each axis that joins samples and steps split into two.

    ``joined`` has those axes by the index of their leaf; ``samples`` is the size of the batch.
    """
    return [joined[k].split(x, samples) if k in joined else x for k, x in enumerate(leaves)]


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal bit for bit.

    NaN equals NaN, and sparse ones are dense.
    """
    one = _as_dense(one)
    other = _as_dense(other)
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    # The slow way round only where something differs, or may be a NaN.
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def with_finite_numbers(rows: Tensor) -> Tensor:
    """Return numbers ``(rows, ...)`` with that of a random row for each that is not finite.

    It is taken from the same feature; a feature without any finite number gets zeros.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    flat = rows.reshape(len(rows), -1)
    for _ in range(DRAWS):
        chosen = torch.randint(len(flat), flat.shape, generator=generator, device="cpu")
        other = flat.gather(0, chosen.to(flat.device))
        flat = torch.where(flat.isfinite(), flat, other)
    return torch.where(flat.isfinite(), flat, 0.0).view(rows.shape)


def mask_of_row(tensor: Tensor, axis: int, row: int) -> Tensor:
    """Return a boolean mask that broadcasts to a tensor: true for one row along an axis."""
    mask = torch.arange(tensor.shape[axis], device=tensor.device) == row
    return mask.view([-1 if k == axis else 1 for k in range(tensor.dim())])


def orders(normal: Leaves, axes: Mapping[int, int]) -> list[int | None]:
    """Return the outputs that may say in which order the samples were returned, after None.

    Those are permutations of ``0 ... batch - 1``; ``axes[k]``, the batch axis of output k, is 0.
    None stands for the order of the input.
    """
    numbers = [k for k, axis in axes.items() if axis == 0 and normal[k].dtype is torch.int64]
    return [None, *(k for k in numbers if sorted(normal[k].tolist()) == [*range(len(normal[k]))])]


def in_float64(tensor: Tensor) -> Tensor:
    """Return a tensor in float64 on the CPU, since some devices have no such numbers.

    It is float32 where a mode refuses float64 everywhere, as one does that plays such a device.
    """
    here = tensor.cpu()
    try:
        return here.double()
    except TypeError:
        return here.float()


def feature_sizes(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return how large the numbers of each feature are, in the shape of the tensor.

    That is the largest over ``axes`` (batch and seq), but for numbers that are 1000 times the
    median, such as scores that are masked out, which count for themselves only. Equal numbers count
    once for the median: a mask may fill most places.
    """
    size = in_float64(tensor).abs().nan_to_num(0.0, 0.0, 0.0)
    usual = size.movedim(axes, tuple(range(len(axes)))).flatten(0, len(axes) - 1)
    usual = usual.sort(0).values
    is_new = torch.ones_like(usual, dtype=torch.bool)
    is_new[1:] = usual[1:] != usual[:-1]
    usual = torch.where(is_new & (usual > 0), usual, torch.nan).nanmedian(0).values.nan_to_num(0.0)
    for axis in sorted(axes):
        usual = usual.unsqueeze(axis)
    # A score that is masked out counts for itself only; a feature of zeros is as large as all.
    most = torch.where(size <= 1000 * usual, size, 0.0).amax(axes, keepdim=True)
    most = torch.maximum(most.expand_as(size), size)
    return torch.where(most > 0, most, size.max())


def sizes_of(tensor: Tensor) -> Tensor:
    """Return how large the numbers of a tensor are, in its shape: at least 1e-30.

    Each is as large as all, but for those that are masked out, which count for themselves only.
    """
    if not tensor.numel():
        return in_float64(tensor)
    return feature_sizes(tensor.flatten(), (0,)).view(tensor.shape).clamp(1e-30)


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Return the absolute difference of two tensors, number by number, in float64.

    It is 0 where both are not finite, and infinite where one is.
    """
    one = in_float64(one)
    other = in_float64(other)
    equal = (one == other) | ~(one.isfinite() | other.isfinite())
    return torch.where(equal, 0.0, (one - other).abs()).nan_to_num(torch.inf)


def gradient_arrives(slope: Tensor) -> Tensor:
    """Return where a gradient is a number other than zero, as a mask in its shape.

    A NaN counts for zero: it comes of a number that is not finite.
    """
    return slope.ne(0) & ~slope.isnan()


def largest(tensor: Tensor) -> float:
    """Return the largest finite magnitude of a tensor, at least 1e-30."""
    sizes = in_float64(tensor).abs().nan_to_num(0.0, 0.0, 0.0)
    return max(sizes.max().item() if sizes.numel() else 0.0, 1e-30)


def is_backward(output: Tensor) -> Tensor:
    """Return a mask ``(feature,)`` of a bidirectional layer's output: its backward half."""
    return torch.arange(output.shape[-1], device=output.device) >= output.shape[-1] // 2


def are_bit_equal(one: Leaves, other: Leaves) -> bool:
    """Return whether two outputs have the same tensors among their leaves, to the last bit."""
    return len(one) == len(other) and all(
        isinstance(after, Tensor) and same(before, after)
        for before, after in zip(one, other, strict=True)
        if isinstance(before, Tensor)
    )


def is_dense(leaf: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a dense tensor: with a place in memory for each number."""
    return isinstance(leaf, Tensor) and leaf.layout is torch.strided


def is_number(leaf: Any) -> bool:
    """Return whether a leaf is a tensor of floating-point numbers."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal: tensors, arrays, and lists and dictionaries of them.

    Other objects are equal only to themselves.
    """
    kind = type(one)
    if one is other or kind is not type(other):
        return one is other
    if isinstance(one, Tensor):
        return same(one, other)
    if kind.__module__ == "numpy":
        return bool(one.shape == other.shape and (one == other).all())
    if isinstance(one, dict):
        one, other = [*one.items()], [*other.items()]
    if isinstance(one, list | tuple) and {*map(type, one)} != {int}:  # hundreds, of Python's state
        return len(one) == len(other) and all(map(equal, one, other))
    return isinstance(one, int | float | str | list | tuple) and bool(one == other)


def wider_dtype(kind: Any, least: torch.dtype) -> Any:
    """Return a dtype of numbers that is at least as wide as ``least``; anything else as it is."""
    is_kind = isinstance(kind, torch.dtype) and (kind.is_floating_point or kind.is_complex)
    return torch.promote_types(kind, least) if is_kind else kind


def in_wider_dtype(x: Any, least: torch.dtype) -> Any:
    """Return a tensor in a dtype at least as wide as ``least``; anything else as it is."""
    return x.to(wider_dtype(x.dtype, least)) if isinstance(x, Tensor) and not x.is_nested else x


def fitted_to_steps(forbidden: Tensor, steps: int) -> Tensor:
    """Return a mask of forbidden places ``(samples, seq)`` for an output with other steps.

    ``steps`` are those of the output: later ones are cut off, and missing ones are allowed. A mask
    with one step is for all steps.
    """
    if forbidden.shape[1] == 1:  # at all steps
        return forbidden
    more = max(0, steps - forbidden.shape[1])
    return functional.pad(forbidden, (0, more))[:, :steps]
