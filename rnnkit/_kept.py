"""A container, tensor, array or generator as it was, put back into the same object."""

import itertools
import operator
import random
import sys
from collections import OrderedDict, deque
from types import MemberDescriptorType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

#: Kinds of containers, the special ones first. Their own methods are called, because a subclass
#: may refuse to be changed.
KINDS: tuple[Any, ...] = (OrderedDict, dict, list, set, deque)

_MISSING = object()


@runtime_checkable
class Kept(Protocol):
    """What can be put back."""

    def restore(self, *, thorough: bool) -> None:
        """Put it back; if not thoroughly, only what tells cheaply that it was changed."""
        ...


def kept(value: Any) -> Kept | None:
    """Keep what a value holds itself; None of what cannot be changed in place."""
    if isinstance(value, Tensor):
        return KeptTensor(value)
    if isinstance(value, KINDS):
        return KeptContainer(value)
    if is_array(value):
        # Nobody writes to what is read-only, and it may be a file that is larger than memory.
        return KeptArray(value) if value.flags.writeable else None
    if (numbers := _numbers(value)) is not None:
        return numbers
    return KeptSlots(value) if slots(value) else None


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


class KeptContainer:
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


class KeptTensor:
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


class KeptArray:
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


class KeptSlots:
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


class KeptNumbers:
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


def _numbers(value: Any) -> KeptNumbers | None:
    if isinstance(value, random.Random):
        # That of the system has no state.
        own = not isinstance(value, random.SystemRandom)
        return KeptNumbers(value, "getstate", "setstate") if own else None
    numpys = type(value).__module__.startswith("numpy.random")
    if isinstance(value, torch.Generator) or (numpys and hasattr(value, "get_state")):
        return KeptNumbers(value, "get_state", "set_state")
    if numpys and hasattr(value, "bit_generator"):
        return KeptNumbers(value.bit_generator, "state", "state")
    return None
