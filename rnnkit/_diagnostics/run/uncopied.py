"""What is not copied: constants, wrappers, what is shared with the model, and what is refused."""

import copyreg
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, NoReturn
from weakref import CallableProxyType, ProxyType, ReferenceType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refuse
from rnnkit._diagnostics.tell.report import in_short

#: Objects that nobody can change, by their exact class; of these, many are met.
CONSTANT = {int, float, bool, str, bytes, complex, type(None), torch.dtype, torch.device}
CONSTANT |= {type, torch.Size, torch.layout, torch.jit.ScriptFunction}
#: References that keep nothing alive; a proxy also stands for what it refers to.
PROXIES = {ProxyType, CallableProxyType}
WEAK = {ReferenceType, *PROXIES}
#: Data, and what reads data.
DATA = (Dataset, DataLoader, _BaseDataLoaderIter)
#: What a model never computes with, whatever it holds: data, and the logs of the process.
APART = (type, ModuleType, *DATA, logging.Filterer)
#: Objects that hold nothing which a copy of the model might write.
LEAVES = CONSTANT | WEAK | {FunctionType}
#: The dictionaries of a module whose parts people write as its attributes.
REGISTERED = ("_parameters", "_buffers", "_modules")


class UncopiedError(ArgumentError):
    """Something that a run might write cannot be copied."""


def refuse_to_copy(model: Any, part: Any, error: Exception | None) -> NoReturn:
    """Raise an UncopiedError: say which part of a model is not copied, and what its class raised.

    If nobody knows which part that is, it is None.
    """
    what = f"({type(part).__name__}) cannot be copied"
    fix = "pass the model as it was before it was wrapped or sharded"
    if isinstance(part, Tensor):
        fix = "use a plain tensor instead, or a smaller model if memory has run out"
    elif part is None:
        what = "holds what cannot be copied"
        fix = "leave that out"
    elif not isinstance(part, nn.Module):
        what = f"({type(part).__name__}) holds tensors and cannot be copied"
        fix = "register the tensors in the model itself"
    path = next((path for path, one in parts_of(model) if one is part and one is not model), "")
    sentence = f"{path or 'the model'} {what}, but rnnkit runs only copies of a model"
    headline = in_short(error) if error is not None else ""
    refuse(UncopiedError, "model", sentence, headline, fix=fix, code="model-uncopied", source=error)


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside of torch's wrappers for compiled and distributed modules."""
    is_distributed = isinstance(module, DistributedDataParallel)
    inner: Any = getattr(module, "module" if is_distributed else "_orig_mod", None)
    return module if inner is None else unwrapped(inner)


def tensors_in(x: Any) -> list[Any]:
    """Return the tensors and modules that an object holds, directly or in what it holds."""
    return [one for _, one in parts_of(x) if isinstance(one, Tensor | nn.Module)]


def parts_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield a model, or another object, and all that it holds, also in what that holds.

    Each comes with the way to it, as people write it, such as ``model.head.bias``. Data sets,
    loggers and classes are not looked into.
    """
    seen = {id(model)}
    waiting = deque([("model", model)])
    while waiting:
        path, one = waiting.popleft()
        yield path, one
        if isinstance(one, APART):
            continue
        for key, part in _held_by(one).items():
            if id(part) not in seen and type(part) not in LEAVES:
                seen.add(id(part))
                waiting.append((path + key, part))


def _held_by(x: Any) -> dict[str, Any]:
    """Return what an object holds directly, by how it is written: ``.name``, ``['key']``."""
    python: Any = copyreg
    slots = [name for name in python._slotnames(type(x)) if hasattr(x, name)]  # noqa: SLF001
    held = {**getattr(x, "__dict__", {})} | {name: getattr(x, name) for name in slots}
    if isinstance(x, nn.Module):
        for name in REGISTERED:
            held |= held.pop(name)
    items: Iterable[tuple[Any, Any]] = []
    if isinstance(x, Mapping):
        items = x.items()
    elif isinstance(x, list | tuple | set | frozenset | deque):
        items = enumerate(x)
    elif isinstance(x, ReferenceType):  # of a class that is not copied, as in a WeakValueDictionary
        items = [("()", x())]
    parts = {f".{name}": part for name, part in held.items()}
    return parts | {f"[{key!r}]": part for key, part in items}
