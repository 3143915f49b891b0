"""What a model holds: everything that copying it would reach, sorted by how it is copied."""

import functools
import io
import itertools
import sys
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CellType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any
from weakref import CallableProxyType, ProxyType, ReferenceType

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

#: What holds nothing that could be changed.
ATOMS = {int, float, bool, str, bytes, complex, type(None), range, slice, type(...)}
ATOMS |= {torch.dtype, torch.device, torch.layout}

#: Containers that copy themselves by a method, quickly.
PLAIN = {dict, list, set, OrderedDict, deque}

#: What cannot be copied, or is no matter of a model's.
SHARED = (ModuleType, Dataset, DataLoader, io.IOBase, GeneratorType)

#: Tables of a module, whose keys are names of the module itself.
TABLES = {"_modules", "_parameters", "_buffers"}

#: Attributes of a module that are torch's own.
TORCHS = frozenset(vars(torch.nn.Module()))


@dataclass(frozen=True)
class Part:
    """Something that a model holds, and where."""

    path: str
    value: Any

    def at(self, key: Any) -> str:
        """Return where a member of it is."""
        if not isinstance(key, str):
            return f"{self.path}[{key!r}]" if isinstance(key, int) else f"{self.path}[...]"
        return f"{self.path}.{key}" if self.path else key


@dataclass
class Contents:
    """What a model holds, sorted by how it is copied.

    Attributes:
        modules: all modules that it leads to, registered or not, by id.
        tensors: all tensors.
        plain: containers of numbers and texts alone, which copy themselves.
        others: objects of other kinds, in the order in which they were found.
        functions: functions that read the model in a closure.
        wrapped: modules in whose place the one that they wrap is copied.
        references: weak references, of which those to a module are made anew.
        shared: what is not copied.
    """

    modules: dict[int, Part] = field(default_factory=dict)
    tensors: list[Part] = field(default_factory=list)
    plain: list[Any] = field(default_factory=list)
    others: list[Part] = field(default_factory=list)
    functions: list[FunctionType] = field(default_factory=list)
    wrapped: list[tuple[torch.nn.Module, torch.nn.Module]] = field(default_factory=list)
    references: list[Any] = field(default_factory=list)
    shared: list[Part] = field(default_factory=list)
    # Values are kept, so that no other object gets the id of one.
    _seen: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: torch.nn.Module, large: float = torch.inf) -> "Contents":
        """Look at everything that copying a model would reach.

        Args:
            model: the model.
            large: of more numbers than this, an array is data, and shared.
        """
        found = cls()
        closures: list[Part] = []
        waiting = [Part("", model)]
        while waiting:
            found._follow(waiting, closures, large)
            # A closure is copied if it leads to the model; then what it holds is looked at, too.
            leading = [part for part in closures if found.leads_back(part.value)]
            closures = [part for part in closures if part not in leading]
            for part in leading:
                found.functions.append(part.value)
                cells = [cell for cell in _cells(part.value) if found.leads_back(cell)]
                waiting += [Part(part.path, cell) for cell in cells]
        return found

    def _follow(self, waiting: list[Part], closures: list[Part], large: float) -> None:
        while waiting:
            part = waiting.pop()
            value = part.value
            if type(value) in ATOMS or id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            if isinstance(value, ReferenceType):
                self.references.append(value)
                continue
            if isinstance(value, FunctionType):
                if value.__closure__ or value.__defaults__ or value.__kwdefaults__:
                    closures.append(part)
                continue
            waiting += self._members(part, large)

    def _members(self, part: Part, large: float) -> list[Part]:
        """Note how a value is copied, and return what it holds."""
        value = part.value
        if isinstance(value, Tensor):
            self.tensors.append(part)
            return []
        if isinstance(value, torch.nn.Module):
            if (inner := unwrapped(value)) is not value:
                self.wrapped.append((value, inner))
                return [Part(part.path, inner)]
            self.modules[id(value)] = part
            if isinstance(value, torch.jit.ScriptModule):
                # It copies itself, with all that it holds.
                return []
            usual = is_usual(type(value))
            return [
                Part(part.path if name in TABLES else part.at(name), held)
                for name, held in vars(value).items()
                if type(held) not in ATOMS and not (usual and name in TORCHS and is_empty(held))
            ]
        if isinstance(value, type | ProxyType | CallableProxyType):
            return []
        if isinstance(value, SHARED) or _size(value) > large:
            self.shared.append(part)
            return []
        if isinstance(value, MethodType):
            return [Part(part.path, value.__self__), Part(part.path, value.__func__)]
        if type(value) in PLAIN or type(value) in (tuple, frozenset):
            return self._content(part)
        return self._object(part)

    def _content(self, part: Part) -> list[Part]:
        value = part.value
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        if isinstance(value, dict) and not all(type(key) in ATOMS for key in value):
            return [Part(part.path, one) for one in itertools.chain(value, value.values())]
        members = [(key, one) for key, one in pairs if type(one) not in ATOMS]
        if not members and type(value) in PLAIN:
            self.plain.append(value)
        return [Part(part.at(key), one) for key, one in members]

    def _object(self, part: Part) -> list[Part]:
        """Note an object, and return what makes it up, as :func:`copy.deepcopy` reads it."""
        value = part.value
        if hasattr(type(value), "__deepcopy__"):
            self.others.append(part)
            held = list(getattr(value, "__dict__", {}).items())
            return [Part(part.at(name), one) for name, one in held]
        try:
            made = value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 - whatever it raises, deepcopy would raise that
            self.shared.append(part)
            return []
        if isinstance(made, str):
            return []
        self.others.append(part)
        _, arguments, state, *items = [*made, None, None, None][:5]
        listed = [[] if one is None else list(one) for one in items]
        return [Part(part.path, one) for one in (arguments, state, *listed)]

    def leads_back(self, value: Any) -> bool:
        """Say whether a value leads to one of the modules, through functions and containers."""
        seen: dict[int, Any] = {}
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if id(one) in self.modules:
                return True
            if id(one) not in seen:
                seen[id(one)] = one
                waiting += _within(one)
        return False


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module that a compiler or a distributed wrapper stands for.

    What was compiled runs as it was written, and a copy of a distributed wrapper would talk to the
    other processes.
    """
    while True:
        distributed = isinstance(module, DistributedDataParallel)
        inner: Any = getattr(module, "module" if distributed else "_orig_mod", None)
        if inner is None:
            return module
        module = inner


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, FunctionType):
        return _cells(value)
    if isinstance(value, MethodType):
        return value.__self__, value.__func__
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if type(value) is dict:
        return list(value.values())
    return list(value) if type(value) in (list, tuple) else ()


def _cells(function: FunctionType) -> list[Any]:
    """Return what a function holds beside its code."""
    held = map(cell_content, function.__closure__ or ())
    return [*held, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _size(value: Any) -> int:
    numpy = sys.modules.get("numpy")
    return int(value.size) if numpy is not None and isinstance(value, numpy.ndarray) else 0


def is_usual(kind: type) -> bool:
    """Say whether a class of modules is copied as torch's base class is."""
    base: Any = torch.nn.Module
    names = ("__getstate__", "__setstate__", "__reduce_ex__", "__reduce__", "__new__")
    return not hasattr(kind, "__deepcopy__") and all(
        getattr(kind, name) is getattr(base, name) for name in names
    )


def is_empty(value: Any) -> bool:
    """Say whether a value is a container with nothing in it."""
    return type(value) in PLAIN and not value


def cell_content(cell: CellType) -> Any:
    """Return what a cell holds; None of one that is not filled yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
