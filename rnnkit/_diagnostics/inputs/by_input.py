"""What is told of inputs: by a caller, an axis or a value for each; by sizes, the batch axis."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree
from torch.utils.data import Dataset

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse
from rnnkit._diagnostics.inputs.lengths import counts_of, is_binary
from rnnkit._diagnostics.run.outputs import Given, is_dense, is_one_leaf, shapes_of

LIST_OF_SEQUENCES = (
    "the first input is a list of sequences: pass x = pad_sequence(xs, batch_first=True), "
    "n = torch.tensor([len(row) for row in xs]), lengths=n, and "
    "call=lambda model, x, n: model([row[:k] for row, k in zip(x, n)])"
)


def by_input(argument: str, passed: Any, given: Given) -> dict[int | str | None, Any]:
    """Return what was passed to an argument for each input, by position or keyword.

    A value that is no dictionary is for all inputs: its key is None. ``argument`` is the name of
    the argument, for a message; ``given`` are the inputs.
    """
    if not isinstance(passed, Mapping):
        return {} if passed is None or passed is False else {None: passed}
    names = [*range(len(given.args)), *given.kwargs]
    if not passed or not set(passed) <= set(names):
        message = f"{argument} must have keys from {names}, got [{', '.join(map(brief, passed))}]"
        refuse(ArgumentError, argument, message, code="verify-argument")
    return {name: passed[name] for name in names if name in passed}


def axis_of(given: Any) -> int:
    """Return an axis as an int; refuse anything that is not an integer."""
    try:
        return operator.index(given)
    except TypeError:
        message = f"an axis must be an integer, got {brief(given)}"
        return refuse(ArgumentError, "inputs", message, code="verify-argument")


def seq_axis_of(leaf: Any, batch_dim: int, data: Tensor) -> int:
    """Return the usual seq axis of a leaf; of a mask that is laid out for attention, the last.

    The leaf ``data`` is no such mask: one step of data may be zeros and ones, as well.
    """
    is_row = is_binary(leaf) and leaf.dim() > 2 and leaf.shape[1:].numel() == leaf.shape[-1]
    if is_row and leaf.any() and leaf is not data:  # not a state of zeros
        return len(leaf.shape) - 1
    return 1 - batch_dim if batch_dim < 2 else 1


def batch_axis_of(leaf: Any, batch_dim: int, size: int) -> int | None:
    """Return the batch axis of a leaf: the usual one, or the only other axis of the batch's size.

    None if there is no such axis, or if no sample can be picked, as in a sparse tensor. A list has
    its samples on axis 0.
    """
    if not isinstance(leaf, Tensor):
        return 0 if len(counts_of(leaf)) == size else None
    if leaf.layout not in (torch.strided, torch.sparse_coo):
        return None  # no sample of it can be picked
    fitting = [k for k, n in enumerate(leaf.shape) if n == size]
    if batch_dim in fitting:
        return batch_dim
    return fitting[0] if len(fitting) == 1 else None


def leaves_of_second(other: Sequence[Any], inputs: Given, leaves: list[Any]) -> list[Any]:
    """Return the leaves of a second batch: the inputs by position, then a dictionary of keywords.

    ``inputs`` are the first batch, ``leaves`` its tensors in one list. Refuse a second batch of
    another structure or of other shapes.
    """
    args, kwargs = inputs
    expected = len(args) + bool(kwargs)
    if len(other) != expected:
        beside = ", then the kwargs" if kwargs else ""
        text = f"other has {len(other)} members, but it must have {expected}: the inputs{beside}"
        refuse(ArgumentError, "other", text, code="verify-argument")
    named = {key: other[-1].get(key) for key in kwargs}
    both = Given(tuple(other[: len(args)]), named)
    second, spec = pytree.tree_flatten(both, is_leaf=is_one_leaf)
    mine = shapes_of(leaves)
    theirs = shapes_of(second)
    if spec != pytree.tree_structure(inputs, is_leaf=is_one_leaf) or mine != theirs:
        what = "a second batch of the same shapes, the inputs, then the kwargs"
        text = f"other must hold {what}: expected {mine}, got {theirs}"
        refuse(ArgumentError, "other", text, code="verify-argument")
    return second


def names_of_leaves(inputs: Given) -> list[str]:
    """Return what a report calls each leaf of the inputs: ``input[1]['text']`` or a keyword.

    A leaf is a tensor, or another value, of the inputs. The only tensor is the ``input``.
    """
    names = []
    paths: Any = pytree.tree_flatten_with_path(inputs, is_one_leaf)[0]
    is_one = sum(isinstance(leaf, Tensor) for _, leaf in paths) == 1
    for path, leaf in paths:
        if is_one and isinstance(leaf, Tensor):
            names.append("input")
        elif path[0].name == "kwargs":
            names.append(f"{path[1].key}{pytree.keystr(path[2:])}")
        else:
            names.append(f"input{pytree.keystr(path[1:])}")
    return names


def is_list_of_sequences(given: Given) -> bool:
    """Return whether the first input is a list with a sequence of each sample, of other lengths.

    Two may be a source and a target, tensors of one shape steps, and tokens with two axes a batch.
    """
    first = next(iter([*given.args, *given.kwargs.values()]), None)
    if not isinstance(first, list | tuple) or len(first) < 3:
        return False
    if not all(isinstance(row, Tensor) and row.dim() for row in first):
        return False
    if len({(row.shape[1:], row.dtype) for row in first}) > 1 or len({*map(len, first)}) == 1:
        return False
    one: Tensor = first[0]
    return one.dim() == 1 or (one.dim() == 2 and one.is_floating_point())


def check_values(leaves: Sequence[Any], caller: str) -> None:
    """Refuse inputs that have no tensor, or one without values.

    ``caller`` is the public function that was called.
    """
    if not any(isinstance(leaf, Tensor | PackedSequence) for leaf in leaves):
        _refuse_no_tensors(leaves, caller)
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.is_meta:
            fix = "pass a batch of real data, as a DataLoader yields it"
            _refuse(f"{brief(leaf)} on the meta device, which stores none", fix)


def first_with_axis(every: Sequence[Any], dim: int, places: Sequence[int]) -> int:
    """Return the index of the first leaf at some places that has the axis ``dim``.

    A leaf is one tensor of the inputs, and ``every`` holds them all. Empty tensors do not count,
    such as the categories in a data set that has none. Refuse packed and nested leaves, a leaf that
    is not dense, and inputs without such an axis: their samples, or steps, could not be changed.
    """
    leaves = [every[k] for k in places]
    if any(isinstance(x, PackedSequence) or getattr(x, "is_nested", False) for x in leaves):
        message = "a packed input has no batch axis to change: pass the padded batch and lengths"
        refuse(ArgumentError, "inputs", message, code="verify-packed")
    for k, x in zip(places, leaves, strict=True):
        if isinstance(x, Tensor) and x.numel() and -x.dim() <= dim < x.dim():
            if not is_dense(x):
                why = "only other inputs may be sparse, such as an adjacency matrix"
                _refuse(f"{brief(x)} in layout {x.layout}", f"x.to_dense(), since {why}")
            return k
    message = f"no input has an axis {dim} with numbers, got {', '.join(map(brief, leaves))}"
    return refuse(ArgumentError, "inputs", message, code="verify-axis")


def _refuse_no_tensors(leaves: Sequence[Any], caller: str) -> NoReturn:
    """Refuse inputs without any tensor, and say how those are passed.

    ``leaves`` are the values of the inputs in one list.
    """
    if leaves:
        message = f"inputs must be tensors, got {', '.join(dict.fromkeys(map(brief, leaves)))}"
    else:
        message = f"{caller} requires a model and its inputs, got no inputs"
    fix = _tensors_of(leaves, caller)
    refuse(ArgumentError, "inputs", message, fix=fix, code="verify-inputs")


def _tensors_of(leaves: Sequence[Any], caller: str) -> str:
    """Return what is typed to pass the tensors that values have, or that a loader yields."""
    if any(hasattr(leaf, "__array_interface__") for leaf in leaves):
        return "x = torch.as_tensor(x)"
    one = next((leaf for leaf in leaves if hasattr(leaf, "__dict__")), None)
    if isinstance(one, Mapping):
        return f"rnnkit.{caller}(model, kwargs=dict(batch))"
    if isinstance(one, Dataset):
        loader = "torch.utils.data.DataLoader(dataset, batch_size=8)"
        return f"x, y = next(iter({loader})); rnnkit.{caller}(model, x)"
    yields = (hasattr(leaf, "__iter__") and not hasattr(leaf, "__getitem__") for leaf in leaves)
    if not leaves or any(yields):
        return f"x, y = next(iter(loader)); rnnkit.{caller}(model, x)"
    if one is None:
        return "pass a tensor (batch, seq, ...), or a list with a tensor for each sample"
    members = [member for member in vars(one) if not member.startswith("_")] or ["x"]
    made = f"{type(one).__name__}({', '.join(f'{member}={member}' for member in members)})"
    return f"call=lambda model, {', '.join(members)}: model({made}), and its tensors as inputs"


def _refuse(got: str, fix: str) -> NoReturn:
    """Refuse inputs that are not dense tensors with values, and say what came instead."""
    message = f"inputs must be dense tensors with values, got {got}"
    refuse(ArgumentError, "inputs", message, fix=fix, code="verify-inputs")
