"""What is not copied: constants, wrappers, what is shared with the model, and what is refused."""

import copyreg
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import Any, NoReturn
from weakref import CallableProxyType, ProxyType, ReferenceType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refuse
from rnnkit._diagnostics.tell.report import in_short

#: Objects that nobody can change, by their exact class; of these, many are met.
CONSTANT = {int, float, bool, str, bytes, complex, type(None), torch.dtype, torch.device}
CONSTANT |= {type, torch.Size, torch.layout, torch.jit.ScriptFunction}
CONSTANT |= {pytree.TreeSpec, pytree.LeafSpec}  # a trainer has them, and to make one warns
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

#: Where something is held: the place of what holds it, its name there, and how that is written.
Place = tuple["Place | None", Any, str]


class UncopiedError(ArgumentError):
    """Something that a run might write cannot be copied."""


def refuse_to_copy(place: Place | None, what: str, fix: str, error: Exception | None) -> NoReturn:
    """Raise an UncopiedError: say which part of a model is not copied, and how its class refused.

    ``place`` is where the part is held, ``what`` goes on "model.part ...", ``fix`` is what to do
    instead, and ``error`` what the class raised.
    """
    sentence = f"{path_in_words(place)} {what}, but rnnkit runs only copies of a model"
    headline = in_short(error) if error is not None else ""
    row = ("fix", fix)
    refuse(UncopiedError, "model", sentence, headline, row, code="model-uncopied", source=error)


def path_in_words(place: Place | None) -> str:
    """Write where something is held, as people write it: ``model.rnn.weight_ih_l0``.

    A place is a linked list: (the place of what holds it, its name there, ``"."`` or ``"["``).
    """
    steps: list[str] = []
    while place is not None:
        place, name, mark = place
        if mark == "[":
            steps.append(f"[{name!r}]")
        elif name not in REGISTERED:
            steps.append(f".{name}")
    return "".join(["model", *reversed(steps)]) if steps else "the model"


def last_name(place: Place | None) -> str:
    """Return the last name on the way to something; empty if there is none."""
    while place is not None:
        place, name, _ = place
        if isinstance(name, str) and name not in REGISTERED:
            return name
    return ""


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside of torch's wrappers for compiled and distributed modules."""
    is_distributed = isinstance(module, DistributedDataParallel)
    inner: Any = getattr(module, "module" if is_distributed else "_orig_mod", None)
    return module if inner is None else unwrapped(inner)


def tensors_in(x: Any) -> dict[int, Any]:
    """Return the tensors and modules that an object holds, directly or in what it holds, by id.

    Modules are not looked into, nor are data sets, loggers and classes.
    """
    found = dict[int, Any]()
    seen = set[int]()
    waiting = [x]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or type(one) in LEAVES or isinstance(one, APART):
            continue
        seen.add(id(one))
        if isinstance(one, Tensor | nn.Module):
            found[id(one)] = one
        else:
            waiting += _parts(one)
    return found


def _parts(x: Any) -> list[Any]:
    """Return what an object holds directly: in attributes, slots, items and values."""
    parts = [*getattr(x, "__dict__", {}).values()]
    python: Any = copyreg
    slots = python._slotnames(type(x))  # noqa: SLF001
    parts += [getattr(x, name) for name in slots if hasattr(x, name)]
    if isinstance(x, Mapping):
        with suppress(Exception):  # a class of a user's
            parts += x.values()
    elif isinstance(x, list | tuple | set | frozenset | deque):
        parts += x
    return parts
