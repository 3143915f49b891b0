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
class CopiedTensor:
    """A tensor of a model and its private copy, which the copies of the model share or copy again.

    Attributes:
        original: the tensor of the user's model.
        private: the copy of it.
        place: where the model holds it, for messages.
        is_per_copy: whether each copy of the model has its own copy; otherwise they share
            ``private``.
        original_writes: how often the original had been written when it was copied; None: not
            counted.
        writes: how often ``private`` had been written when no run had begun.
    """

    original: Tensor
    private: Tensor
    place: Place | None
    is_per_copy: bool
    original_writes: int | None
    writes: int | None = None


class Pristine:
    """Keeps a model's state as it is now, and makes copies of the model in that state.

    Copies share one private copy of each weight: after each run :meth:`undo_writes` looks whether
    the run wrote into it.

    Attributes:
        held: the tensors of the model with their private copies.
        least: the dtype that numbers have at least, such as float64; None for the model's own.
        wide: the same in the wider dtype that was asked for last; None if none was.
        private: the copy of the model that others are copied from; it never runs.
        originals: by the id of a module of the user's model, what a message calls it.
        shared: names of what is not copied, but used by the copies as well.
    """

    def __init__(self, model: nn.Module) -> None:
        """Copy the model."""
        self.held: list[CopiedTensor] = []
        self.least: torch.dtype | None = None
        self.wide: Pristine | None = None
        self._limit = max(DATA, sum(x.numel() for x in (*model.parameters(), *model.buffers())))
        names = {id(one): f"model.{name}" for name, one in model.named_modules()}
        copier = Copier({}, self._copy_tensor, names | {id(model): "the model itself"})
        try:
            self.private: nn.Module = copier.model(model)
        except Exception:
            self.held.clear()  # since memory may have run out
            raise
        self.originals = copier.modules  # what to call the modules of the model itself, by id
        self.shared = [*dict.fromkeys(name for name, _ in copier.shared if name)]  # names
        self._shared = {id(x): x for _, x in copier.shared}
        self._made: list[ReferenceType[Any]] = copier.made  # by all copies, as far as it is there
        self.note_writes()

    def _copy_tensor(
        self, tensor: Tensor, place: Place | None, memo: dict[int, Any]
    ) -> Tensor | None:
        """Return a private copy of a tensor, and note it in ``held``.

        None for what is not copied: data with more numbers than the limit, and tensors whose memory
        was given back, since reading them crashes. ``memo`` has the copies so far, by id.
        """
        odd = tensor.is_nested or tensor.is_meta or tensor.is_quantized
        odd |= tensor.layout is not torch.strided or type(tensor.data) is not Tensor
        size = 1 if odd else tensor.untyped_storage().nbytes()
        if tensor.numel() > (self._limit if size else 0):
            return None
        private = _copied_tensor(tensor, place, memo)
        is_per_copy = odd or not (isinstance(tensor, Parameter) or size > LARGE)
        self.held.append(CopiedTensor(tensor, private, place, is_per_copy, _write_count(tensor)))
        return private

    def note_writes(self) -> None:
        """Note how often each shared tensor was written by now, so that a write of a run shows."""
        for module in self.private.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # else cuDNN warns
        for one in self.held:
            one.writes = _write_count(one.private)
        self._names = {id(one): f"model.{name}" for name, one in self.private.named_modules()}

    def copy(self) -> nn.Module:
        """Return a new copy of the model in eval mode, in the state that the model had at first."""
        copier = Copier(dict(self._shared), _copied_tensor, self._names)
        for one in self.held:
            copier.tensor(
                one.private, one.place, partial(_copied_tensor, has_own_memory=one.is_per_copy)
            )
        model: nn.Module = copier.model(self.private)
        self._made[:] = [one for one in self._made if one() is not None] + copier.made
        return model.eval()

    def wider(self, least: torch.dtype) -> "Pristine":
        """Return the same for copies whose numbers have at least a dtype, such as float64."""
        if self.least is least:
            return self
        if self.wide is not None and self.wide.least is least:
            return self.wide
        self.wide = None  # before there is another one
        wide = copy.copy(self)
        wide.least = least
        wide.held = []
        copier = Copier(dict(self._shared), _copied_tensor, self._names)
        for one in self.held:
            twin = copier.tensor(one.private, one.place, partial(_copied_tensor, least=least))
            original_writes = _write_count(one.private)
            wide.held.append(
                CopiedTensor(one.private, twin, one.place, one.is_per_copy, original_writes)
            )
        wide.private = copier.model(self.private)
        self._made += copier.made
        tensors = (*wide.private.parameters(), *wide.private.buffers())
        if any(in_wider_dtype(x, least) is not x for x in tensors):
            # What copies itself, as a scripted module does, has copied its tensors, too.
            wide.private = wide.private.to(least)
        wide.note_writes()
        self.wide = wide
        return wide

    def undo_writes(self, *, thorough: bool) -> bool:
        """Return whether the last run wrote into a shared tensor; if so, restore it.

        From then on each copy gets its own copy of that tensor. ``thorough`` also compares all
        numbers, since a write through ``.data`` counts nowhere.
        """
        written = [
            one for one in self.held if not one.is_per_copy and self._is_written(one, thorough)
        ]
        for one in written:
            one.private.data.copy_(one.original)
            one.is_per_copy = True
        return bool(written)

    def _is_written(self, one: CopiedTensor, thorough: bool) -> bool:
        """Return whether a run wrote into a shared tensor.

        The tensor's counter tells or, if ``thorough``, its numbers do; unless the user's own model
        wrote the original meanwhile.
        """
        if _write_count(one.private) != one.writes:
            return True
        if not thorough or _write_count(one.original) != one.original_writes:
            return False
        given = one.original if self.least is None else in_wider_dtype(one.original, self.least)
        return not same(given, one.private)

    def close(self) -> None:
        """Give back the memory of all copies, also of those in a cycle that the model makes."""
        if self.wide is not None:
            self.wide.close()
        self.held.clear()
        empty_objects(self._made)


def _copied_tensor(
    tensor: Tensor,
    _: Place | None,
    memo: dict[int, Any],
    *,
    has_own_memory: bool = True,
    least: torch.dtype | None = None,
) -> Tensor:
    """Return a copy of a tensor without its graph.

    It has memory of its own, or shares that of the tensor. It stays a Parameter if it was one; with
    ``least``, its dtype is at least that. ``memo`` has the copies so far, by id.
    """
    kind = type(tensor)
    is_weight = isinstance(tensor, Parameter)
    twin = tensor.detach()
    if has_own_memory:
        twin = twin.clone() if is_weight else _clone_keeping_shared_memory(twin, memo)
    if least is not None:
        twin = in_wider_dtype(twin, least)
    if kind is Parameter or (is_weight and type(twin) is not Tensor):
        twin = Parameter(twin, requires_grad=tensor.requires_grad)
    else:
        twin = attached_like(tensor, twin.as_subclass(kind) if is_weight else twin)
    return twin


def _clone_keeping_shared_memory(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """Return a clone; by the memo, tensors that share memory have clones that share it."""
    try:
        twin: Tensor = copy.deepcopy(tensor, memo)
    except RuntimeError:  # such as a class that has no memory of its own
        return tensor.clone()
    return twin


def attached_like(tensor: Tensor, twin: Tensor | None = None) -> Tensor:
    """Return ``twin``, or a new copy, that is on a graph if the original is.

    It also requires a gradient if the original does.
    """
    twin = tensor.detach().clone() if twin is None else twin
    twin.requires_grad_(tensor.requires_grad)
    with torch.enable_grad():
        return twin if tensor.is_leaf else twin.clone()


def _write_count(tensor: Tensor) -> int | None:
    """Return how often a tensor was written in place; None if nobody counts."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001
