"""A model in float64: what rounding makes is gone there, and what depends on an input is not."""

import contextlib
import functools
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.isolation import Session, session

#: Of more weights than this, a copy in float64 would be too large.
WEIGHTS = 2**25

#: Casts to a narrower dtype, by the names of methods.
CASTS = {"half", "bfloat16", "float", "cfloat", "chalf"}

#: Attributes of a module that are torch's own.
TORCHS = frozenset(vars(torch.nn.Module()))


class Widened(TorchFunctionMode):
    """Computes in float64, or float32, what is asked for in less, and turns autocast off."""

    def __init__(self, least: torch.dtype, devices: set[str]) -> None:
        """Take the narrowest dtype that may occur, and the types of devices that compute."""
        super().__init__()
        self._least, self._devices = least, devices

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function with a wider dtype where it is asked for less."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in CASTS and args and isinstance(args[0], Tensor):
            kind = torch.complex32 if func.__name__.startswith("c") else torch.float16
            return args[0].to(wider(kind, self._least))
        if any(isinstance(one, torch.dtype) for one in (*args, *kwargs.values())):
            args = tuple(map(self._of, args))
            kwargs = {name: self._of(value) for name, value in kwargs.items()}
        with contextlib.ExitStack() as stack:
            for device in self._devices if torch._C._is_any_autocast_enabled() else ():  # noqa: SLF001
                stack.enter_context(torch.autocast(device, enabled=False))
            result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            return self._widest(result)
        plain = type(result) in (tuple, list)
        return pytree.tree_map_only(Tensor, self._widest, result) if plain else result

    def _of(self, value: Any) -> Any:
        return wider(value, self._least) if isinstance(value, torch.dtype) else value

    def _widest(self, tensor: Tensor) -> Tensor:
        return widest(tensor, self._least)


def wider(dtype: torch.dtype, least: torch.dtype) -> torch.dtype:
    """Return a dtype that is at least as wide as another one, of the same kind."""
    if dtype.is_complex:
        return torch.promote_types(dtype, least)
    narrow = dtype.is_floating_point and torch.finfo(dtype).bits < torch.finfo(least).bits
    return least if narrow else dtype


def widest(tensor: Tensor, least: torch.dtype = torch.float64) -> Tensor:
    """Return a tensor of numbers in float64, or in two such; any other tensor as it is."""
    return tensor if tensor.is_nested else tensor.to(wider(tensor.dtype, least))


def _widen(model: torch.nn.Module, least: torch.dtype) -> None:
    """Turn the numbers of a model wider: weights, buffers, plain tensors, unregistered modules."""
    turn = torch.nn.Module.double if least is torch.float64 else torch.nn.Module.float
    turn(model)
    waiting, seen = [model], set[int]()
    while waiting:
        module = waiting.pop()
        seen.add(id(module))
        for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            tensor.data = widest(tensor.data, least)
        for name, value in vars(module).items():
            leaves = pytree.tree_leaves(value)
            others = [one for one in leaves if isinstance(one, torch.nn.Module)]
            for other in others if name not in TORCHS else ():
                turn(other)
            waiting += [one for one in others if id(one) not in seen]
            tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
            if name not in TORCHS and any(widest(one, least) is not one for one in tensors):
                wide = pytree.tree_map_only(Tensor, lambda one: widest(one, least), value)
                vars(module)[name] = wide


def open_wide(opened: Session, least: torch.dtype) -> Session:
    """Open a session on a copy in a wider dtype, as long as the first one is open."""
    weights = [*opened.model.parameters(), *opened.model.buffers()]
    if sum(weight.numel() for weight in weights) > WEIGHTS:
        message = "too large for a wider copy"
        raise MemoryError(message)
    copy = opened.pristine.copy()[0]
    _widen(copy, least)

    devices = {"cpu", *(weight.device.type for weight in weights)}

    @functools.wraps(opened.call)  # its arguments tell which is the state
    def call(model: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        with Widened(least, devices):
            return opened.call(model, *args, **kwargs)

    other = opened.stack.enter_context(session(copy, call))
    other.is_wrapped = opened.is_wrapped
    opened.wider.append(other)
    return other
