"""Copies of a model, all in the state that it had; they share its weights, which are copied once.

Python's deepcopy refuses a tensor on a graph, stops at the first lock, follows no weak reference,
and takes longer than the forward of a small model.
"""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.data import DataLoader, Dataset

from rnnkit._base.errors import ArgumentError
from rnnkit._diagnostics.outputs import same, widest

#: Tensors with more numbers than DATA, and than the model has, are data, and not copied; what has
#: more bytes than LARGE is copied once, like weights, until a run writes it.
DATA, LARGE = 2**26, 2**20

#: Objects that nobody can change, by their exact class; of these, many are met.
CONSTANT = {int, float, bool, str, bytes, complex, type(None), torch.dtype, torch.device}
CONSTANT |= {type, FunctionType, torch.Size, torch.layout, torch.jit.ScriptFunction}


class _Copier:
    """Makes a deep copy, with a memo of copies by the id of what was copied."""

    def __init__(self, memo: dict[int, Any], hold: Any, names: Mapping[int, str]) -> None:
        self.memo, self._hold, self._names = memo, hold, names
        self.shared: list[tuple[str, Any]] = []  # what was not copied, and the name that led there
        self.modules: dict[int, str] = {}  # what to call those that were copied, by id
        self._name = ""

    def copy(self, x: Any, _: Any = None) -> Any:
        """Copy an object with all that it holds."""
        kind = type(x)
        if kind in CONSTANT or isinstance(x, type | ModuleType):
            return x
        if (twin := self.memo.get(id(x))) is not None:
            return twin
        if kind is dict or kind is OrderedDict:
            twin = self.memo[id(x)] = kind()
            self._fill(twin, x)
        elif kind is list:
            twin = self.memo[id(x)] = []
            twin += [part if type(part) in CONSTANT else self.copy(part) for part in x]
        elif kind is tuple or kind is set:
            twin = kind(map(self.copy, x))
        elif isinstance(x, nn.Module):
            twin = self._module(x)
        elif isinstance(x, MethodType):
            twin = MethodType(x.__func__, self.copy(x.__self__))
        elif isinstance(x, ReferenceType):
            twin = ReferenceType(self.memo[id(x())]) if id(x()) in self.memo else x
        elif not isinstance(x, Dataset | DataLoader):
            try:
                twin = self._hold(x, self.memo) if isinstance(x, Tensor) else self._object(x)
            except ArgumentError:
                raise
            except Exception:  # noqa: BLE001 - it may refuse as it likes
                twin = None
        if twin is None:
            self.shared.append((self._name or kind.__name__, x))
        twin = self.memo[id(x)] = x if twin is None else twin
        return twin

    def _fill(self, twin: dict[Any, Any], held: dict[Any, Any]) -> None:
        for name, part in [*held.items()]:  # another thread may write it meanwhile
            if type(name) is str:
                self._name = name
            else:
                name = self.copy(name)  # noqa: PLW2901
            twin[name] = part if type(part) in CONSTANT else self.copy(part)

    def _module(self, x: nn.Module) -> Any:
        if (inner := unwrapped(x)) is not x:
            return self.copy(inner)
        kind = type(x)
        name = self.modules[id(x)] = self._names.get(id(x), f"a {kind.__name__} of the model")
        if hasattr(kind, "__deepcopy__") and not is_parametrized(x):
            for tensor in (*x.parameters(), *x.buffers()):
                self.copy(tensor)
            try:
                return copy.deepcopy(x, self.memo)
            except Exception as error:
                what = f"{name.removesuffix(' itself')} ({kind.__name__}) cannot be copied"
                fix = "give the model as it was before it was wrapped or sharded"
                message = f"{what}, and the model itself is never run: {error}; {fix}"
                raise ArgumentError(message, "model") from error
        # Not by a __getstate__ of its class: that is for files, and may leave things out.
        twin = self.memo[id(x)] = kind.__new__(kind)
        self._fill(vars(twin), vars(x))
        vars(twin).pop("_compiled_call_impl", None)
        return twin

    def _object(self, x: Any) -> Any:
        """Copy an object in the way of its class, as Python's deepcopy does."""
        if hasattr(type(x), "__deepcopy__"):
            return copy.deepcopy(x, self.memo)
        made: Any = x.__reduce_ex__(4)
        if isinstance(made, str):
            return x
        self.memo[id(made)] = made  # kept alive, so that no other object gets the same id
        python: Any = copy
        return python._reconstruct(x, self.memo, *made, deepcopy=self.copy)  # noqa: SLF001


class Pristine:
    """Copies of a model, all in the state that it has now."""

    def __init__(self, model: nn.Module) -> None:
        """Copy the model."""
        # Tensors, their copies, and how often the tensors were written; copies that no runs share.
        self._held: list[tuple[Tensor, Tensor, int | None]] = []
        self._own: set[int] = set()
        self._limit = max(DATA, sum(x.numel() for x in (*model.parameters(), *model.buffers())))
        names = {id(one): f"model.{name}" for name, one in model.named_modules()}
        copier = _Copier({}, self._hold, names | {id(model): "the model itself"})
        self._private: nn.Module = copier.copy(model)
        self.originals = copier.modules  # what to call the modules of the model itself, by id
        self.shared = [*dict.fromkeys(name for name, _ in copier.shared)]  # names
        self._shared = {id(x): x for _, x in copier.shared}
        for module in self._private.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # else cuDNN warns
        self._versions = {id(private): _writes(private) for _, private, _ in self._held}

    def _hold(self, tensor: Tensor, memo: dict[int, Any]) -> Tensor | None:
        """Copy a tensor; None for data, and where memory was given back: reading that crashes."""
        odd = tensor.is_nested or tensor.is_meta or tensor.is_quantized
        odd |= tensor.layout is not torch.strided or type(tensor.data) is not Tensor
        size = 1 if odd else tensor.untyped_storage().nbytes()
        if tensor.numel() > (self._limit if size else 0):
            return None
        private = _twin(tensor, memo)
        self._held.append((tensor, private, _writes(tensor)))
        if odd or not (isinstance(tensor, Parameter) or size > LARGE):
            self._own.add(id(private))
        return private

    def copy(self, least: torch.dtype | None = None) -> nn.Module:
        """Return a copy in eval mode, in a wider dtype if one is given."""
        memo = dict(self._shared)
        for _, private, _ in self._held:
            own = least is not None or id(private) in self._own
            memo[id(private)] = _twin(private, memo, own=own, least=least)
        model: nn.Module = _Copier(memo, _twin, {}).copy(self._private).eval()
        if least is not None:  # also what copies itself, as a scripted module does
            model = model.double() if least is torch.float64 else model.float()
        return model

    def written(self, *, thorough: bool) -> bool:
        """Return whether the last run wrote what runs share (``.data``: thorough); undo it."""
        written = [
            (given, private)
            for given, private, version in self._held
            if id(private) not in self._own
            if _writes(private) != self._versions[id(private)]
            or (thorough and _writes(given) == version and not same(given, private))
        ]
        for given, private in written:
            private.data.copy_(given)
            self._own.add(id(private))
        return bool(written)


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside of compiled and distributed wrappers."""
    is_distributed = isinstance(module, DistributedDataParallel)
    inner: Any = getattr(module, "module" if is_distributed else "_orig_mod", None)
    return module if inner is None else unwrapped(inner)


def _twin(
    tensor: Tensor, memo: dict[int, Any], *, own: bool = True, least: torch.dtype | None = None
) -> Tensor:
    """Copy a tensor without its graph, into its ``own`` memory or into that of the tensor."""
    # What shares memory shares it in a copy, except weights.
    twin, kind, is_weight = tensor.detach(), type(tensor), isinstance(tensor, Parameter)
    try:
        twin = twin if not own else twin.clone() if is_weight else copy.deepcopy(twin, memo)
    except RuntimeError:
        twin = twin.clone()
    twin = twin if least is None else widest(twin, least)
    if kind is Parameter or (is_weight and type(twin) is not Tensor):
        twin = Parameter(twin, requires_grad=tensor.requires_grad)
    else:
        twin = attached_like(tensor, twin.as_subclass(kind) if is_weight else twin)
    vars(twin).update(getattr(tensor, "__dict__", {}))
    return twin


def attached_like(tensor: Tensor, twin: Tensor | None = None) -> Tensor:
    """Return a twin, or a copy, that requires a gradient, or has a graph, as the original."""
    twin = tensor.detach().clone() if twin is None else twin
    twin.requires_grad_(tensor.requires_grad)
    with torch.enable_grad():
        return twin if tensor.is_leaf else twin.clone()


def _writes(tensor: Tensor) -> int | None:
    """Return how often a tensor was written; None if nobody counts."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001
