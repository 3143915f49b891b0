"""Running somebody's model over and over, and leaving it as it was.

Every run starts from the same modes, buffers, attributes and random numbers, in eval mode and
without gradients; afterwards all of it is put back, even after an exception.

A container, tensor, array or generator as it was, put back into the same object.

What a model holds, noted so that it can be put back.
"""

import itertools
import operator
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from types import MemberDescriptorType, ModuleType
from typing import Any, Protocol, runtime_checkable
from weakref import CallableProxyType, ProxyType, ReferenceType

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.optim import Optimizer
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset

from rnnkit._base.errors import ArgumentError

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


#: Kinds of containers, the special ones first. Their own methods are called, because a subclass
#: may refuse to be changed.
KINDS: tuple[Any, ...] = (OrderedDict, dict, list, set, deque)
_MISSING = object()


@runtime_checkable
class Saved(Protocol):
    """What can be put back."""

    def restore(self, *, thorough: bool) -> None:
        """Put it back; if not thoroughly, only what tells cheaply that it was changed."""
        ...


def kept(value: Any) -> Saved | None:
    """Keep what a value holds itself; None of what cannot be changed in place."""
    if isinstance(value, Tensor):
        return SavedTensor(value)
    if isinstance(value, KINDS):
        return SavedContainer(value)
    if is_array(value):
        # Nobody writes to what is read-only, and it may be a file that is larger than memory.
        return SavedArray(value) if value.flags.writeable else None
    if (numbers := _numbers(value)) is not None:
        return numbers
    return SavedSlots(value) if slots(value) else None


def content(container: Any) -> list[Any]:
    """Return what is in a container; of a mapping, the keys and then the values."""
    kind = _kind(container)
    if issubclass(kind, dict):
        return [*kind.keys(container), *kind.values(container)]
    return list(kind.__iter__(container))


def _kind(container: Any) -> Any:
    return next(kind for kind in KINDS if isinstance(container, kind))


def _same_objects(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


class SavedContainer:
    """A container and its members."""

    def __init__(self, container: Any) -> None:
        """Remember the members."""
        self.container, self.content = container, content(container)

    def restore(self, *, thorough: bool) -> None:  # noqa: ARG002
        """Put the members back, if they are others."""
        container, members = self.container, self.content
        if _same_objects(content(container), members):
            return
        kind = _kind(container)
        kind.clear(container)
        if issubclass(kind, dict):
            half = len(members) // 2
            for key, value in zip(members[:half], members[half:], strict=True):
                kind.__setitem__(container, key, value)
        elif kind is set:
            set.update(container, members)
        else:
            kind.extend(container, members)


class SavedTensor:
    """A tensor, the memory that it lies in, and the numbers there."""

    def __init__(self, tensor: Tensor) -> None:
        """Copy the numbers."""
        self.tensor, self.home = tensor, tensor.data
        self.place = _place(tensor)
        # A sparse tensor's numbers can be replaced as a whole, so that no alias stays one.
        core = tensor
        if tensor.layout is torch.strided:
            core = self.home
            for axis, stride in enumerate(core.stride()):
                if stride == 0 and core.shape[axis] > 1:
                    # Expanded: the same numbers again, which cannot be written one by one.
                    core = core.narrow(axis, 0, 1)
        self.core, self.values = core, core.detach().clone()
        self.version = self._version()
        self.past_versions = False

    def _version(self) -> int | None:
        return None if self.tensor.is_inference() else self.tensor._version  # noqa: SLF001

    def restore(self, *, thorough: bool) -> None:
        """Put the numbers back, if they are others.

        They are compared where the count of versions says that they were written, and where
        nothing counts. What is written through ``.data`` counts no versions: that shows when all
        are compared, and such a tensor is compared from then on.
        """
        if _place(self.tensor) != self.place:
            self.tensor.data = self.home
        counted = self.version is None or self._version() != self.version
        if not (counted or thorough or self.past_versions):
            return
        if not self._is_unchanged(counted):
            self.past_versions |= not counted
            with torch.inference_mode(self.tensor.is_inference()), torch.no_grad():
                self.core.copy_(self.values)
        self.version = self._version()

    def _is_unchanged(self, counted: bool) -> bool:
        one, other = self.core, self.values
        if all(map(_is_of_words, (one, other))):
            # As bits: half the work, and a NaN is equal to itself.
            one, other = (tensor.flatten().view(torch.int64) for tensor in (one, other))
        try:
            return torch.equal(one, other)
        except NotImplementedError:
            # A sparse one: only the version tells.
            return not counted


def _is_of_words(tensor: Tensor) -> bool:
    size = tensor.element_size()
    whole = tensor.numel() * size % 8 == 0 and tensor.storage_offset() * size % 8 == 0
    return tensor.is_floating_point() and tensor.is_contiguous() and whole


def _place(tensor: Tensor) -> Any:
    try:
        return tensor.data_ptr(), tensor.shape, tensor.stride()
    except RuntimeError:
        # A sparse one has no memory of its own.
        return None


class SavedArray:
    """An array of numpy's, which counts no versions."""

    def __init__(self, array: Any) -> None:
        """Copy the numbers."""
        self.array, self.values = array, array.copy()
        self.written = False

    def restore(self, *, thorough: bool) -> None:
        """Put the numbers back if they are others, or may be: where they were others before."""
        if not (thorough or self.written):
            return
        if self.array.dtype.hasobject:
            unchanged = _same_objects(*(a.ravel().tolist() for a in (self.array, self.values)))
        else:
            unchanged = sys.modules["numpy"].array_equal(self.array, self.values)
        if not unchanged:
            self.array[...] = self.values
            self.written = True


def is_array(value: Any) -> bool:
    """Say whether a value is an array of numpy's."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


class SavedSlots:
    """The attributes that lie in slots of an object."""

    def __init__(self, owner: Any) -> None:
        """Remember them."""
        self.owner = owner
        self.values = {slot: _in_slot(owner, slot) for slot in slots(owner)}

    def restore(self, *, thorough: bool) -> None:  # noqa: ARG002
        """Put them back, whatever the class says to that."""
        for slot, value in self.values.items():
            if _in_slot(self.owner, slot) is value:
                continue
            if value is _MISSING:
                slot.__delete__(self.owner)
            else:
                slot.__set__(self.owner, value)


def slots(value: Any) -> list[MemberDescriptorType]:
    """Return the slots of an object's class."""
    classes = [vars(kind) for kind in type(value).__mro__ if "__slots__" in vars(kind)]
    members = itertools.chain.from_iterable(names.values() for names in classes)
    return [member for member in members if isinstance(member, MemberDescriptorType)]


def in_slots(value: Any) -> list[Any]:
    """Return what lies in the slots of an object."""
    return [_in_slot(value, slot) for slot in slots(value)]


def _in_slot(owner: Any, slot: MemberDescriptorType) -> Any:
    try:
        return slot.__get__(owner)
    except AttributeError:
        return _MISSING


class SavedNumbers:
    """Where a generator of random numbers stands."""

    def __init__(self, owner: Any, read: str, write: str) -> None:
        """Read it by one method or attribute; another one will write it."""
        self.owner, self.write = owner, write
        state = getattr(owner, read)
        self.state = state() if callable(state) else state

    def restore(self, *, thorough: bool) -> None:  # noqa: ARG002
        """Put it back."""
        method = getattr(self.owner, self.write)
        if callable(method):
            method(self.state)
        else:
            setattr(self.owner, self.write, self.state)


def _numbers(value: Any) -> SavedNumbers | None:
    if isinstance(value, random.Random):
        # That of the system has no state.
        own = not isinstance(value, random.SystemRandom)
        return SavedNumbers(value, "getstate", "setstate") if own else None
    numpys = type(value).__module__.startswith("numpy.random")
    if isinstance(value, torch.Generator) or (numpys and hasattr(value, "get_state")):
        return SavedNumbers(value, "get_state", "set_state")
    if numpys and hasattr(value, "bit_generator"):
        return SavedNumbers(value.bit_generator, "state", "state")
    return None


#: Whose objects hold nothing of a model's: they reach far, and locks among them cannot be copied.
LIBRARIES = {"torch", "builtins", "weakref", "logging", "threading", "_thread", "functools", "re"}

#: Objects that hold much, and nothing that a forward pass writes.
THIRD_PARTY = (type, ModuleType, Dataset, DataLoader, Optimizer)

#: What holds nothing. A proxy answers for another object, which may be gone.
ATOMS = {int, float, bool, str, bytes, complex, type(None)}


ATOMS |= {ProxyType, CallableProxyType, ReferenceType}


#: Of more numbers than this, and than the model has, a tensor of an object is data and no state.
LARGE = 2**20

#: Where a value was found: in a module itself; in an object that a module holds; in an object that
#: leads back to the model, as a trainer does, of which only the nearest is a matter of the model.
IN_MODULE, IN_OBJECT, IN_OWNER = range(3)


class Snapshot:
    """What modules hold: attributes, what containers and objects among them hold, and tensors.

    Not looked at are objects of libraries; datasets, loaders and optimizers; modules that are not
    registered; of an object that leads back to the model, further objects; and of objects, tensors
    that are large and larger than the model.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Note what there is."""
        self._model = model
        own = sum(tensor.numel() for tensor in [*model.parameters(), *model.buffers()])
        self._large = max(LARGE, own)
        self._kept: list[Saved] = []
        # The values are kept, so that no other object gets the id of one.
        self._seen: dict[int, Any] = {}
        self._apart: dict[int, Any] = {}
        found: tuple[list[Any], ...] = ([module.__dict__ for module in model.modules()], [], [])
        for where, waiting in enumerate(found):
            while waiting:
                value = waiting.pop()
                if _is_atom(value) or id(value) in self._seen:
                    continue
                inside = where
                if _is_users(value):
                    if where == IN_OWNER:
                        continue
                    inside = IN_OWNER if self._leads_back(value) else IN_OBJECT
                self._seen[id(value)] = value
                self._keep(value, where)
                found[inside].extend(_members(value))

    def _keep(self, value: Any, where: int) -> None:
        if where != IN_MODULE and _count(value) > self._large:
            return
        keeper = kept(value)
        if keeper is not None:
            self._kept.append(keeper)

    def _leads_back(self, value: Any) -> bool:
        """Say whether an object leads to the model."""
        seen: dict[int, Any] = {}
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if type(one) in ATOMS or id(one) in seen or id(one) in self._apart:
                continue
            seen[id(one)] = one
            if not isinstance(one, torch.nn.Module):
                waiting += _members(one)
            elif any(module is self._model for module in one.modules()):
                return True
        self._apart.update(seen)
        return False

    def restore(self, *, thorough: bool) -> None:
        """Put everything back into the same objects.

        Args:
            thorough: whether to compare every number; or only those of tensors whose version says
                that they were written, or that an earlier comparison found changed.
        """
        for one in self._kept:
            one.restore(thorough=thorough)


def _is_atom(value: Any) -> bool:
    return type(value) in ATOMS or isinstance(value, torch.nn.Module)


def _is_users(value: Any) -> bool:
    """Say whether an object is one that a model's author made to hold something."""
    if isinstance(value, (*KINDS, tuple, Tensor)) or is_array(value) or not _may_hold(value):
        return False
    return hasattr(value, "__dict__") or bool(slots(value))


def _may_hold(value: Any) -> bool:
    """Say whether what an object has as attributes is looked at."""
    library = type(value).__module__.partition(".")[0] in LIBRARIES
    return not library and not isinstance(value, THIRD_PARTY)


def _members(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return list(value)
    members = content(value) if isinstance(value, KINDS) else []
    if _may_hold(value):
        # A container of somebody's own kind may have attributes, too.
        members += in_slots(value)
        members += [vars(value)] if hasattr(value, "__dict__") else []
    return members


def _count(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    return int(value.size) if is_array(value) else 0
