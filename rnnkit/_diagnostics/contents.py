"""What a model holds: bytes for what can be written down, and the rest as it is."""

import copyreg
import io
import pickle
import sys
from collections.abc import Mapping
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.data import DataLoader, Dataset

#: What pickle writes down by itself, with its members.
PLAIN = {int, float, bool, type(None), bytes, dict, list, set, tuple, frozenset}

#: What cannot be changed, or is no matter of a model's.
CONSTANT = (type, FunctionType, ModuleType, torch.jit.ScriptFunction, torch.layout)

#: What is shared without a try: data, and what belongs to the world outside.
SHARED = (Dataset, DataLoader, io.IOBase, GeneratorType)


class Contents(pickle.Pickler):
    """What a model holds, written down once, to be read any number of times.

    Attributes:
        modules: all modules that the model leads to, by id.
        kept: what is not written down, by id; a reader says what stands in its place.
        shared: of that, what a copy has in common with the model: names by id.
        objects: what is written down by way of its own class, the outermost first.
    """

    def __init__(self, model: Any, refused: list[Any], data: int = sys.maxsize) -> None:
        """Prepare to write down a model, or a part of one."""
        self._file = io.BytesIO()
        super().__init__(self._file, protocol=5)
        self._model, self._refused, self._data = model, set(map(id, refused)), data
        self._inside = set(map(id, model.modules())) if isinstance(model, nn.Module) else set()
        self._made: dict[int, Any] = {}
        self._name = ""
        self.modules: dict[int, nn.Module] = {}
        self.kept: dict[int, Any] = {}
        self.shared: dict[int, str] = {}
        self.objects: list[Any] = []

    def write(self) -> None:
        """Write it down."""
        self.dump(self._model)
        self._bytes = self._file.getvalue()
        self.clear_memo()

    def read(self, stand_ins: Mapping[int, Any]) -> Any:
        """Make what was written down, with others instead of what was kept."""
        return _Reader(io.BytesIO(self._bytes), stand_ins).load()

    def persistent_id(self, obj: Any) -> int | None:
        """Return whether an object is kept: a method of the base class, which is asked of all."""
        key, kind = id(obj), type(obj)
        if kind is str:
            # The key in front of what it leads to.
            self._name = obj
        if kind is str or kind in PLAIN or key in self._made:
            return None
        if key not in self.kept and (made := self._reduced(obj)) is not None:
            self._made[key] = made
            self.objects.append(obj)
            return None
        self.kept[key] = obj
        return key

    def reducer_override(self, obj: Any) -> Any:
        """Say how an object is made again: another method of the base class."""
        return self._made[id(obj)]

    def _reduced(self, obj: Any) -> Any:
        """Return how an object is made again, as ``__reduce__`` does; None if it is kept."""
        if isinstance(obj, nn.Module):
            return self._reduced_module(obj)
        if isinstance(obj, ReferenceType):
            known = isinstance(obj(), Tensor) or id(obj()) in self._inside
            return (ReferenceType, (obj(),)) if known else None
        if isinstance(obj, MethodType):
            return MethodType, (obj.__func__, obj.__self__)
        if isinstance(obj, SHARED) or id(obj) in self._refused or _size(obj) > self._data:
            self.shared[id(obj)] = self._name
        elif not isinstance(obj, CONSTANT) and not hasattr(type(obj), "__deepcopy__"):
            try:
                reduce: Any = copyreg.dispatch_table.get(type(obj))
                made = reduce(obj) if reduce else obj.__reduce_ex__(5)
            except Exception:  # noqa: BLE001 - it may refuse as it likes
                self.shared[id(obj)] = self._name
            else:
                return None if isinstance(made, str) else made
        return None

    def _reduced_module(self, module: nn.Module) -> Any:
        if (inner := unwrapped(module)) is not module:
            return (lambda same: same), (inner,)
        self.modules[id(module)] = module
        if hasattr(type(module), "__deepcopy__") and not is_parametrized(module):
            if not isinstance(module, torch.jit.ScriptModule):
                tensors = [*module.parameters(), *module.buffers()]
                self.kept.update((id(tensor), tensor) for tensor in tensors)
            return None
        # Past the class's own ways of writing: those are for files, and may leave things out.
        state = {name: v for name, v in vars(module).items() if name != "_compiled_call_impl"}
        return _empty, (type(module),), state, None, None, _fill


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, stand_ins: Mapping[int, Any]) -> None:
        # Asked for each class and tensor: no function of Python's should stand between.
        self.persistent_load = stand_ins.__getitem__  # type: ignore[method-assign]
        super().__init__(file)


def _empty(kind: type[nn.Module]) -> nn.Module:
    return kind.__new__(kind)


def _fill(module: nn.Module, state: dict[str, Any]) -> None:
    vars(module).update(state)


def _size(obj: Any) -> int:
    if isinstance(obj, Tensor):
        return obj.numel()
    return obj.size if type(obj).__module__ == "numpy" and hasattr(obj, "size") else 0


def unwrapped(module: nn.Module) -> nn.Module:
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
