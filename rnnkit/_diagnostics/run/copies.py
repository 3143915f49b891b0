"""Copies of a model, all in the state that it had; they share one copy of its weights."""

import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from rnnkit._diagnostics.run.copier import Copier
from rnnkit._diagnostics.run.objects import empty_objects
from rnnkit._diagnostics.run.outputs import in_wider_dtype, same
from rnnkit._diagnostics.run.uncopied import Place

if TYPE_CHECKING:
    from weakref import ReferenceType

#: Tensors with more numbers than DATA, and than the model has, are data, and not copied; what has
#: more bytes than LARGE is copied once, like weights, until a run writes it.
DATA = 2**26
LARGE = 2**20


@dataclass(eq=False)
class Held:
    """A tensor of a model and its copy, which the copies of the model share, or copy again."""

    given: Tensor
    private: Tensor
    place: Place | None
    is_own: bool  # whether each copy of the model has its own
    given_writes: int | None  # how often it was written when it was copied
    writes: int | None = None  # how often the copy was written when no run had begun


class Pristine:
    """Copies of a model, all in the state that it has now."""

    def __init__(self, model: nn.Module) -> None:
        """Copy the model."""
        self.held: list[Held] = []
        self.least: torch.dtype | None = None  # the dtype of numbers, at least, if one was asked
        self.wide: Pristine | None = None  # the same in the wider dtype that was asked for last
        self._limit = max(DATA, sum(x.numel() for x in (*model.parameters(), *model.buffers())))
        names = {id(one): f"model.{name}" for name, one in model.named_modules()}
        copier = Copier({}, self._hold, names | {id(model): "the model itself"})
        try:
            self.private: nn.Module = copier.model(model)
        except Exception:
            self.held.clear()  # since memory may have run out
            raise
        self.originals = copier.modules  # what to call the modules of the model itself, by id
        self.shared = [*dict.fromkeys(name for name, _ in copier.shared if name)]  # names
        self._shared = {id(x): x for _, x in copier.shared}
        self._made: list[ReferenceType[Any]] = copier.made  # by all copies, as far as it is there
        self.begin()

    def _hold(self, tensor: Tensor, place: Place | None, memo: dict[int, Any]) -> Tensor | None:
        """Copy a tensor; None for data, and where memory was given back: reading that crashes."""
        odd = tensor.is_nested or tensor.is_meta or tensor.is_quantized
        odd |= tensor.layout is not torch.strided or type(tensor.data) is not Tensor
        size = 1 if odd else tensor.untyped_storage().nbytes()
        if tensor.numel() > (self._limit if size else 0):
            return None
        private = _twin(tensor, place, memo)
        is_own = odd or not (isinstance(tensor, Parameter) or size > LARGE)
        self.held.append(Held(tensor, private, place, is_own, _writes(tensor)))
        return private

    def begin(self) -> None:
        """Note how often what runs share was written by now."""
        for module in self.private.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # else cuDNN warns
        for one in self.held:
            one.writes = _writes(one.private)
        self._names = {id(one): f"model.{name}" for name, one in self.private.named_modules()}

    def copy(self) -> nn.Module:
        """Return a copy in eval mode."""
        copier = Copier(dict(self._shared), _twin, self._names)
        for one in self.held:
            copier.tensor(one.private, one.place, partial(_twin, own=one.is_own))
        model: nn.Module = copier.model(self.private)
        self._made[:] = [one for one in self._made if one() is not None] + copier.made
        return model.eval()

    def wider(self, least: torch.dtype) -> "Pristine":
        """Return the same for copies in a wider dtype."""
        if self.least is least:
            return self
        if self.wide is not None and self.wide.least is least:
            return self.wide
        self.wide = None  # before there is another one
        wide = copy.copy(self)
        wide.least = least
        wide.held = []
        copier = Copier(dict(self._shared), _twin, self._names)
        for one in self.held:
            twin = copier.tensor(one.private, one.place, partial(_twin, least=least))
            given_writes = _writes(one.private)
            wide.held.append(Held(one.private, twin, one.place, one.is_own, given_writes))
        wide.private = copier.model(self.private)
        self._made += copier.made
        tensors = (*wide.private.parameters(), *wide.private.buffers())
        if any(in_wider_dtype(x, least) is not x for x in tensors):
            # What copies itself, as a scripted module does, has copied its tensors, too.
            wide.private = wide.private.double() if least is torch.float64 else wide.private.float()
        wide.begin()
        self.wide = wide
        return wide

    def written(self, *, thorough: bool) -> bool:
        """Return whether the last run wrote what runs share (``.data``: thorough); undo it."""
        written = [one for one in self.held if not one.is_own and self._is_written(one, thorough)]
        for one in written:
            one.private.data.copy_(one.given)
            one.is_own = True
        return bool(written)

    def _is_written(self, one: Held, thorough: bool) -> bool:
        if _writes(one.private) != one.writes:
            return True
        if not thorough or _writes(one.given) != one.given_writes:
            return False
        given = one.given if self.least is None else in_wider_dtype(one.given, self.least)
        return not same(given, one.private)

    def close(self) -> None:
        """Give back the memory of all copies, also of those in a cycle that the model makes."""
        if self.wide is not None:
            self.wide.close()
        self.held.clear()
        empty_objects(self._made)


def _twin(
    tensor: Tensor,
    _: Place | None,
    memo: dict[int, Any],
    *,
    own: bool = True,
    least: torch.dtype | None = None,
) -> Tensor:
    """Copy a tensor without its graph, into its ``own`` memory or into that of the tensor."""
    kind = type(tensor)
    is_weight = isinstance(tensor, Parameter)
    twin = tensor.detach()
    if own:
        twin = twin.clone() if is_weight else _cloned(twin, memo)
    if least is not None:
        twin = in_wider_dtype(twin, least)
    if kind is Parameter or (is_weight and type(twin) is not Tensor):
        twin = Parameter(twin, requires_grad=tensor.requires_grad)
    else:
        twin = attached_like(tensor, twin.as_subclass(kind) if is_weight else twin)
    return twin


def _cloned(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """Copy numbers so that tensors which share their memory share it in the copy, too."""
    try:
        twin: Tensor = copy.deepcopy(tensor, memo)
    except RuntimeError:  # as of a class that has no memory of its own
        return tensor.clone()
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
