"""Running somebody's model over and over, and leaving it as it was.

Every run starts from the same modes, buffers, attributes and random numbers, in eval mode and
without gradients; afterwards all of it is put back, even after an exception.
"""

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from rnnkit._errors import ArgumentError
from rnnkit._snapshot import Snapshot

SEED = 20201

Leaves = list[Any]

#: Puts hooks on a model and returns their handles.
Watch = Callable[[torch.nn.Module], list[Any]]


class Session:
    """A model that can be run any number of times; counts the runs."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Remember what the model holds now."""
        # A compiled model is judged by what was compiled.
        self.model: torch.nn.Module = getattr(model, "_orig_mod", model)
        self.passes = 0
        self._completed = 0
        self._found = Snapshot(self.model)

    def restore(self, *, thorough: bool = True) -> None:
        """Put the model back as it was found, see :meth:`Snapshot.restore`."""
        self._found.restore(thorough=thorough)

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
            # After one run it shows which numbers the model writes unseen.
            self.restore(thorough=self._completed == 1)
            _seed()
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
        self._completed += 1
        return [
            leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves(output)
        ]


def _seed() -> None:
    torch.manual_seed(SEED)
    random.seed(SEED)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(SEED)


def leaves(tree: Any) -> Leaves:
    """Return the leaves of a model's output.

    What is packed or nested is one, padded; a complex tensor is one of pairs; of a mapping or a
    dataclass that torch does not take apart, those of its values.
    """
    found = pytree.tree_leaves(tree, is_leaf=lambda node: isinstance(node, PackedSequence))
    return [part for leaf in found for part in _parts(leaf)]


def _parts(leaf: Any) -> Leaves:
    if isinstance(leaf, PackedSequence):
        return [pad_packed_sequence(leaf)[0]]
    if isinstance(leaf, Tensor):
        plain = leaf.to_padded_tensor(0.0) if leaf.is_nested else leaf
        return [torch.view_as_real(plain) if plain.is_complex() else plain]
    if isinstance(leaf, Mapping):
        return leaves(list(leaf.values()))
    if is_dataclass(leaf) and not isinstance(leaf, type):
        return leaves([getattr(leaf, field.name) for field in fields(leaf)])
    return [leaf]


def eagerly() -> AbstractContextManager[object]:
    """Let what was compiled run as it was written: a compiler is of no use to a few runs."""
    compiled = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


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
    with torch.random.fork_rng(), eagerly():
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
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    # The slow way round only where something differs, or may be a NaN.
    return torch.equal(one, other) or bool(
        torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all()
    )
