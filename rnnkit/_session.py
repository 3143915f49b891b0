"""Running somebody's model over and over, and leaving it as it was.

Every run starts from the same modes, buffers, attributes and random numbers, in eval mode and
without gradients; afterwards all of it is put back, even after an exception.
"""

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from rnnkit._errors import ArgumentError

SEED = 20201

#: Whose objects hold nothing of a model's: they reach far, and locks among them cannot be copied.
LIBRARIES = {"torch", "builtins", "weakref", "logging", "threading", "_thread", "functools", "re"}

Leaves = list[Any]

#: Puts hooks on a model and returns their handles.
Watch = Callable[[torch.nn.Module], list[Any]]


class _Memory:
    """What modules hold: attributes, what containers and objects among them hold, and tensors."""

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        self._seen: dict[int, Any] = {}
        self._containers: list[tuple[Any, Any]] = []
        self._tensors: list[tuple[Tensor, Tensor]] = []
        self._arrays: list[tuple[Any, Any]] = []
        for module in modules:
            self._walk(module.__dict__)

    def _walk(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, torch.nn.Module):
            return
        # Kept, so that no other object gets its id.
        self._seen[id(value)] = value
        if isinstance(value, Tensor):
            self._tensors.append((value, value.detach().clone()))
        elif isinstance(value, dict):
            self._keep(value, value.values())
        elif isinstance(value, list | set | deque):
            self._keep(value, value)
        elif isinstance(value, tuple):
            for part in value:
                self._walk(part)
        elif type(value).__module__ == "numpy" and hasattr(value, "dtype"):
            self._arrays.append((value, value.copy()))
        elif _is_users(value):
            self._walk(value.__dict__)

    def _keep(self, container: Any, members: Iterable[Any]) -> None:
        self._containers.append((container, container.copy()))
        for member in list(members):
            self._walk(member)

    def restore(self) -> None:
        """Put everything back into the same objects."""
        for container, content in self._containers:
            container.clear()
            if isinstance(container, dict | set):
                container.update(content)
            else:
                container.extend(content)
        for tensor, values in self._tensors:
            # Compared by value: what is written through .data counts no versions.
            if not same(tensor, values):
                with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                    tensor.data.copy_(values)
        for array, values in self._arrays:
            if array.ndim:
                array[...] = values


def _is_users(value: Any) -> bool:
    """Say whether an object is one that a model's author made to hold something."""
    plain = hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value)
    return plain and type(value).__module__.partition(".")[0] not in LIBRARIES


class Session:
    """A model that can be run any number of times; counts the runs."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Remember what the model holds now."""
        # A compiled model is judged by what was compiled: a compiler is of no use to a few runs.
        self.model: torch.nn.Module = getattr(model, "_orig_mod", model)
        self.passes = 0
        self._memory = _Memory(self.model.modules())

    def restore(self) -> None:
        """Put the model back as it was found."""
        self._memory.restore()

    def takes(self, batch: Any) -> bool:
        """Say whether the model runs on a batch."""
        try:
            self.run(batch.tree())
        except Exception:  # noqa: BLE001 - a model may refuse as it likes
            return False
        return True

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
    """Return the leaves of a model's output; a packed sequence is one, padded."""
    found = pytree.tree_leaves(tree, is_leaf=lambda node: isinstance(node, PackedSequence))
    return [pad_packed_sequence(k)[0] if isinstance(k, PackedSequence) else k for k in found]


@contextmanager
def session(model: torch.nn.Module) -> Iterator[Session]:
    """Open a session on a model, and leave model and random numbers as they were.

    Raises:
        ArgumentError: if a module is lazy and has not been called.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        message = "the model has lazy modules whose sizes are open: call it once, then try again"
        raise ArgumentError(message, "model")
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
