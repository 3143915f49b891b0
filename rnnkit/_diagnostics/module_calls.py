"""A call of a recurrent module: what it is given and what it gives, read in one way for everyone.

There are two ways to hear of a call. ``events`` hooks the modules of a copy of a model, so that
other threads, which run the model itself, notice nothing. ``recorder`` answers in the place of
torch's classes: a function has no modules that could be copied.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.outputs import leaves

#: Layers and cells.
KINDS = (RNNBase, RNNCellBase)


def hooked(
    module: torch.nn.Module, before: Callable[..., Any], after: Callable[..., Any]
) -> list[Any]:
    """Hook a module's calls; return what can be removed.

    Args:
        module: of a copy.
        before: takes the module and its arguments, by position and by name.
        after: takes the module, its arguments by position, and what it returns.
    """
    return [
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after),
    ]


def named_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by their names; beyond the first two those given by name."""
    return {**dict(zip(("input", "hx"), args, strict=False)), **kwargs}


def from_state(
    args: tuple[Any, ...], kwargs: dict[str, Any], state: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the same call from another state."""
    named = named_arguments(args, kwargs)
    return (named["input"], state, *args[2:]), {
        name: value for name, value in named.items() if name not in {"input", "hx"}
    }


def sizes_of(module: torch.nn.Module, input: Any) -> dict[str, int]:
    """Return the sizes of an input, as a layer or cell reads its axes; none of what is no input."""
    if isinstance(input, PackedSequence):
        sizes = input.batch_sizes
        return {"seq": len(sizes), "batch": int(sizes[0]), "feature": input.data.shape[-1]}
    shape = tuple(input.shape) if isinstance(input, Tensor) else ()
    names = ["batch", "feature"]
    if isinstance(module, RNNBase):
        names.insert(1 if module.batch_first else 0, "seq")
    if len(shape) == len(names) - 1:
        names.remove("batch")
    return dict(zip(names, shape, strict=False))


def members_of(state: Any) -> dict[str, Tensor]:
    """Return which of h and c are given; a subclass of somebody's may take lengths there."""
    parts = state if isinstance(state, tuple | list) and len(state) == 2 else leaves(state)
    named = dict(zip(("h", "c"), parts, strict=False))
    return {
        name: part
        for name, part in named.items()
        if isinstance(part, Tensor) and part.is_floating_point()
    }


def split_result(module: torch.nn.Module, result: Any) -> tuple[Any, tuple[Tensor, ...]]:
    """Return the output and the state's tensors; no state where a subclass returns none."""
    output, state = None, result
    if isinstance(module, RNNBase):
        if not (isinstance(result, tuple) and len(result) == 2):
            return result, ()
        output, state = result
    pair = isinstance(state, tuple | list) and len(state) == 2
    members = tuple(state) if pair else (state,)
    tensors = tuple(part for part in members if isinstance(part, Tensor))
    rank = 2 if isinstance(module, RNNBase) else 1
    whole = len(tensors) == len(members) and all(tensor.dim() >= rank for tensor in tensors)
    return output, tensors if whole else ()


def rows_axis(module: torch.nn.Module, state: Tensor) -> int:
    """Return the axis of a layer's state on which its layers and directions are."""
    return 1 if getattr(module, "state_batch_first", False) and state.dim() == 3 else 0
