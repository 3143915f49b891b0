"""Where forward cuts the graph of a tensor: detach, .data, no_grad, and numbers of Python's."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.run.watched_functions import user_place

#: Functions whose result has no graph, whatever they are given.
CUTTING = ("detach", "detach_", "data", "numpy", "item", "tolist")


class Cuts(TorchFunctionMode):
    """Counts the places in which a run makes something without a graph of what has one."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self._found = Counter[tuple[str, str]]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and note where it cuts a graph."""
        kwargs = kwargs or {}
        is_getter = getattr(func, "__name__", "") == "__get__"
        name = getattr(func.__self__ if is_getter else func, "__name__", "")
        cutting = name if name in CUTTING else "no_grad"
        is_cutting = name in CUTTING or not torch.is_grad_enabled()
        if is_cutting and _has_graph((args, kwargs)):
            self._found[cutting, user_place()] += 1
        return func(*args, **kwargs)

    @property
    def most(self) -> str:
        """The cut that runs most often, with its place; empty if there is none."""
        for (name, place), _ in self._found.most_common(1):
            return f"cut at {place} by {name}"
        return ""


def _has_graph(tree: Any) -> bool:
    """Return whether a tensor in a tree was made of what wants a gradient."""
    leaves = pytree.tree_leaves(tree)
    return any(isinstance(x, Tensor) and x.grad_fn is not None for x in leaves)
