"""A deep copy of whatever a model holds: each object is copied wholly, or not at all.

Python's pickler writes a model down once, and each copy is read from what it wrote. Tensors, and
what a copy shares with the model, are not written: a number stands for each of these parts.
Python's deepcopy refuses a tensor on a graph, stops at the first lock, follows no weak reference,
and takes longer than the forward of a small model.
"""

import copyreg
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType, proxy

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from rnnkit._base.message import brief
from rnnkit._diagnostics.run.uncopied import (
    CONSTANT,
    DATA,
    PROXIES,
    WEAK,
    parts_of,
    refuse_to_copy,
    tensors_in,
    unwrapped,
)
from rnnkit._diagnostics.tell.report import without_frames

#: What the pickler itself writes: objects of these classes, but not of their subclasses.
WRITTEN = {type(None), bool, int, float, str, bytes, dict, list, tuple, set, frozenset, OrderedDict}
WRITTEN |= WEAK

#: How an object is made again: by which function, from which arguments, and what it is given then.
Reduced = tuple[Any, ...]


class _Part(int):
    """The number of a part, as it is written."""


class Copier(pickle.Pickler):
    """Writes a model down.

    Attributes:
        text: what is written.
        parts: what is not written, by its number: copies of tensors, and what is shared.
        noted: what copies share with the model, as far as a user should know of it.
        modules: by the id of a module of the model, what a message calls it.
    """

    def __init__(
        self, model: nn.Module, copy: Callable[[Any, int], Any], names: Mapping[int, str]
    ) -> None:
        """Write a model, given the names of its modules by id, and what copies a tensor.

        ``copy(x, number)`` returns the copy of a tensor, or of a module that copies itself, which
        becomes the part of that number; None if it is to be shared.
        """
        text = io.BytesIO()
        super().__init__(text, protocol=5)
        self.parts: list[Any] = []
        self.noted: list[Any] = []
        self.modules = {**names}
        self._model = model
        self._copy = copy
        self._numbers: dict[int, int] = {}  # of parts, by the id of what was in the model
        self._written: dict[int, Any] = {}  # objects by id, to which weak references may lead
        self._alive: list[Any] = []  # so that no other object gets the id of one of these
        self._quiet: dict[type, type] = {}  # see :func:`without_del`
        self._number_of(new_object)  # its number is 0
        self.dump(model)
        self.text = text.getvalue()

    def persistent_id(self, x: Any) -> int | None:
        """Return the number of a part that is not written; None if it is written."""
        kind = type(x)
        if kind in WRITTEN:
            return None
        if kind is _Part:
            return int(x)
        number = self._numbers.get(id(x))
        if number is not None:
            return number
        if isinstance(x, Tensor):
            number = self._copied(x)
            return None if vars(x) else number
        if isinstance(x, DATA):
            self.noted.append(x)
            return self._number_of(x)
        is_constant = kind in CONSTANT or isinstance(x, type | ModuleType)
        return self._number_of(x) if is_constant else None

    def _number_of(self, x: Any) -> int:
        """Return the number of an object that is not written from now on."""
        number = self._numbers[id(x)] = len(self.parts)
        self.parts.append(x)
        self._alive.append(x)
        return number

    def _copied(self, x: Any) -> int:
        """Copy a tensor, or a module that copies itself; return its number."""
        number = self._number_of(x)
        try:
            twin = self._copy(x, number)
        except Exception as error:  # noqa: BLE001 - it may refuse as it likes, or memory runs out
            refuse_to_copy(self._model, x, error)
        if twin is None:
            self.noted.append(x)
        else:
            self.parts[number] = twin
        return number

    def reducer_override(self, x: Any) -> Any:
        """Return how to make an object again; NotImplemented if the pickler knows it."""
        self._written[id(x)] = x
        kind = type(x)
        if kind in copyreg.dispatch_table:  # such as a regular expression
            return NotImplemented
        if kind is OrderedDict and not x:  # each module has many
            return OrderedDict, ()
        if kind in WEAK:
            return self._weak_reference(x)
        if kind is MethodType:
            return MethodType, (x.__func__, x.__self__)
        if kind is FunctionType:
            return self._function(x)
        if isinstance(x, Tensor):  # with attributes: its class may have copied some
            number = self._numbers[id(x)]
            own = vars(self.parts[number])
            held = {name: part for name, part in vars(x).items() if name not in own}
            return itself, (_Part(number),), (held, ()), None, None, add_attributes
        if isinstance(x, nn.Module):
            return self._module(x)
        return self._object(x)

    @cached_property
    def _held(self) -> set[int]:
        """The ids of what the model holds, also of what is written later."""
        return {id(one) for _, one in parts_of(self._model)}

    def _shared(self, x: Any) -> Reduced:
        """Return an object itself, which a copy shares with the model."""
        return itself, (_Part(self._number_of(x)),)

    def _weak_reference(self, x: Any) -> Reduced:
        """Return a reference to the copy of what a weak one refers to, or ``x`` if it has none."""
        is_proxy = type(x) in PROXIES
        one = None
        with suppress(AttributeError, ReferenceError):  # such as an object that is gone
            # A proxy tells what it stands for only by what is bound to that.
            one = x.__reduce_ex__.__self__ if is_proxy else x()
        is_met = isinstance(one, Tensor) or id(one) in self.modules or id(one) in self._written
        if is_met or id(one) in self._held:
            return proxy if is_proxy else ReferenceType, (one,)
        return self._shared(x)

    def _module(self, x: nn.Module) -> Reduced:
        """Return how to make a module, without its wrappers, from its class and attributes."""
        inner = unwrapped(x)
        if inner is not x:
            return itself, (inner,)
        kind = type(x)
        self.modules.setdefault(id(x), f"{brief(x)} of the model")
        if hasattr(kind, "__deepcopy__") and not is_parametrized(x):
            for tensor in (*x.parameters(), *x.buffers()):
                self.persistent_id(tensor)
            return itself, (_Part(self._copied(x)),)
        # Not by a __getstate__ of its class: that is for files, and may leave things out.
        held = vars(x) | {"_compiled_call_impl": None}
        made = (without_del(kind, self._quiet),)
        return new_object, made, (held, ()), None, None, add_attributes

    def _function(self, x: FunctionType) -> Reduced:
        """Return how to make a function over copies of the modules that it closes over."""
        cells = [*(x.__closure__ or ())]
        modules: dict[int, nn.Module] = {}
        for place, cell in enumerate(cells):
            with suppress(ValueError):  # nothing is in it yet
                if isinstance(cell.cell_contents, nn.Module):
                    modules[place] = cell.cell_contents
        if not modules:
            return self._shared(x)

        def make(modules: dict[int, nn.Module]) -> FunctionType:
            """Make the same function over other modules."""
            closure = [CellType(modules[k]) if k in modules else c for k, c in enumerate(cells)]
            return FunctionType(
                x.__code__, x.__globals__, x.__name__, x.__defaults__, tuple(closure)
            )

        return make, (modules,), (vars(x), {"__kwdefaults__": x.__kwdefaults__})

    def _object(self, x: Any) -> Reduced:
        """Return how to make an object as its class says; it is shared if that refuses."""
        kind = type(x)
        new: Any = kind.__new__
        python: Any = copyreg
        try:
            reduced = x.__reduce_ex__(5)
            is_plain = reduced[0] is python.__newobj__ and new is object.__new__
            has_end = not is_plain and hasattr(kind, "__del__")
            # A constructor may want more, or return the user's object, which a copy would write.
            is_only_one = isinstance(reduced, str) or (
                not is_plain and not has_end and reduced[0](*reduced[1]) is x
            )
        except Exception as error:  # noqa: BLE001 - it may refuse as it likes
            return self._refused(x, without_frames(error))
        if has_end or is_only_one:
            return self._refused(x, None, is_noted=has_end)
        make, args, *rest = reduced
        if is_plain:
            make = new_object
            args = (without_del(kind, self._quiet),)
        state, items, pairs = [*rest, None, None, None][:3]
        if isinstance(state, dict) and not hasattr(kind, "__setstate__"):
            # The pickler would ask an object without attributes for its __setstate__, and let a
            # mapping take items before it has attributes.
            return make, args, (state, [*(pairs or ())]), items, None, add_attributes
        return make, args, *rest

    def _refused(self, x: Any, error: Exception | None, *, is_noted: bool = True) -> Reduced:
        """Share an object that cannot be copied, unless it holds a tensor or module."""
        if tensors_in(x):
            refuse_to_copy(self._model, x, error)
        if is_noted:
            self.noted.append(x)
        return self._shared(x)


def read(text: bytes, parts: list[Any]) -> tuple[Any, list[ReferenceType[Any]]]:
    """Return a copy of what was written, and its modules and objects, which may refer to it.

    ``parts`` are those that were not written, by their number.
    """
    made: list[ReferenceType[Any]] = []

    def make(kind: type) -> Any:
        """Make an object or module without its attributes."""
        twin: Any = object.__new__(kind)
        with suppress(TypeError):  # as with slots
            made.append(ReferenceType(twin))
        return twin

    reader: Any = pickle.Unpickler(io.BytesIO(text))  # noqa: S301 - text of this process
    reader.persistent_load = [make, *parts[1:]].__getitem__
    return reader.load(), made


def new_object() -> None:
    """Stand for what makes the objects of a copy: each copy has its own."""


def itself(x: Any) -> Any:
    """Return a part, which is not made again."""
    return x


def add_attributes(x: Any, held: tuple[Mapping[str, Any], Sequence[tuple[Any, Any]]]) -> None:
    """Give a new object its attributes, and then its items, if it is a mapping."""
    attributes, pairs = held
    vars(x).update(attributes)
    for key, value in pairs:
        x[key] = value


class _Quiet:
    """The first base of the class of a copy, if that class has a ``__del__``.

    This one does nothing: a copy must not close what belongs to the user's object.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        """Leave a class of a user's to register its own subclasses only."""

    def __del__(self) -> None:
        """Do nothing."""


def without_del(kind: type, quiet: dict[type, type]) -> type:
    """Return a subclass of the same name whose objects do nothing when they are deleted.

    ``quiet`` has those that were made already, by class. A class without ``__del__`` is returned
    itself.
    """
    if not hasattr(kind, "__del__") or issubclass(kind, _Quiet):
        return kind
    if kind not in quiet:
        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        make: Any = type(kind)
        quiet[kind] = make(kind.__name__, (_Quiet, kind), {"__slots__": (), **names})
    return quiet[kind]
