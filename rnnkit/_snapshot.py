"""What a model holds, noted so that it can be put back."""

from types import ModuleType
from typing import Any
from weakref import CallableProxyType, ProxyType, ReferenceType

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from rnnkit._kept import KINDS, Kept, content, in_slots, is_array, kept, slots

#: Whose objects hold nothing of a model's: they reach far, and locks among them cannot be copied.
LIBRARIES = {"torch", "builtins", "weakref", "logging", "threading", "_thread", "functools", "re"}

#: Objects that hold much, and nothing that a forward pass writes.
FOREIGN = (type, ModuleType, Dataset, DataLoader, Optimizer)

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
        self._kept: list[Kept] = []
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
    return not library and not isinstance(value, FOREIGN)


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
