"""Running somebody's model over and over, and leaving it as it was.

Every run starts from the same modes, buffers, attributes and random numbers, in eval mode and
without gradients; afterwards all of it is put back, even after an exception.
"""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

SEED = 20201

Leaves = list[Any]

#: Puts hooks on a model and returns their handles.
Watch = Callable[[torch.nn.Module], list[Any]]


class _Memory:
    """What one module holds: its attributes, and the contents of its tensors and containers."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.attributes = dict(module.__dict__)
        self.containers = {
            name: value.copy()
            for name, value in self.attributes.items()
            if isinstance(value, dict | list | set)
        }
        # A parameter is not written to without gradients; what else is a tensor may be.
        self.tensors = [
            (tensor, tensor._version, tensor.detach().clone())  # noqa: SLF001
            for name, value in self.attributes.items()
            if name != "_parameters"
            for tensor in pytree.tree_leaves(value)
            if isinstance(tensor, Tensor) and not isinstance(tensor, torch.nn.Parameter)
        ]

    def restore(self) -> None:
        state = self.module.__dict__
        state.clear()
        state.update(self.attributes)
        for name, content in self.containers.items():
            container: Any = self.attributes[name]
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(content)
        with torch.no_grad():
            for tensor, version, values in self.tensors:
                if tensor._version != version:  # noqa: SLF001
                    tensor.copy_(values)


class Session:
    """A model that can be run any number of times; counts the runs."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Remember what the model holds now."""
        # A compiled model is judged by what was compiled: a compiler is of no use to a few runs.
        self.model: torch.nn.Module = getattr(model, "_orig_mod", model)
        self.passes = 0
        self._memories = [_Memory(module) for module in self.model.modules()]

    def restore(self) -> None:
        """Put the model back as it was found."""
        for memory in self._memories:
            memory.restore()

    def run(self, inputs: Any, *, anew: bool = True, watch: Watch | None = None) -> Leaves:
        """Run the model; return the leaves of what it returns, tensors cloned.

        Args:
            inputs: the positional arguments.
            anew: whether to start from the model as it was found and from the same random
                numbers, as every run but a second one does.
            watch: puts hooks on the model for this run.
        """
        if anew:
            self.restore()
            torch.manual_seed(SEED)
        self.passes += 1
        self.model.eval()
        # A model may write into what it is given.
        inputs = pytree.tree_map_only(Tensor, lambda tensor: tensor.clone(), inputs)
        hooks = watch(self.model) if watch else []
        try:
            with torch.no_grad():
                output = self.model(*inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return [
            leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves(output)
        ]


def leaves(tree: Any) -> Leaves:
    """Return the leaves of a model's output; a packed sequence is one by its data."""
    found = []
    for leaf in pytree.tree_leaves(
        tree, is_leaf=lambda node: isinstance(node, torch.nn.utils.rnn.PackedSequence)
    ):
        packed = isinstance(leaf, torch.nn.utils.rnn.PackedSequence)
        found.append(leaf.data if packed else leaf)
    return found


@contextmanager
def session(model: torch.nn.Module) -> Iterator[Session]:
    """Open a session on a model, and leave model and random numbers as they were."""
    modes = [(module, module.training) for module in model.modules()]
    numpy = sys.modules.get("numpy")
    python_state = random.getstate()
    numpy_state = numpy.random.get_state() if numpy is not None else None
    opened = Session(model)
    with torch.random.fork_rng():
        try:
            yield opened
        finally:
            opened.restore()
            for module, training in modes:
                module.training = training
            random.setstate(python_state)
            if numpy is not None:
                numpy.random.set_state(numpy_state)


def same(one: Tensor, other: Tensor) -> bool:
    """Compare bit for bit, a NaN being equal to a NaN."""
    return one.shape == other.shape and bool(
        torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all()
    )
