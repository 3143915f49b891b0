"""Copies of a model, all in the state that it had; they share one copy of its weights."""

import copy
import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from rnnkit._diagnostics.run.copier import Copier, read
from rnnkit._diagnostics.run.outputs import in_wider_dtype, same
from rnnkit._diagnostics.run.uncopied import UncopiedError, parts_of, refuse_to_copy

#: Tensors with more numbers than DATA, and than the model has, are data, and not copied; what has
#: more bytes than LARGE is copied once, like weights, until a run writes it.
DATA = 2**26
LARGE = 2**20


@dataclass(eq=False)
class CopiedTensor:
    """A tensor of a model and its private copy, which the copies of the model share or copy again.

    Attributes:
        number: its number among the parts of the model.
        original: the tensor of the user's model.
        private: the copy of it.
        is_per_copy: whether each copy of the model has its own copy; otherwise they share
            ``private``.
        original_writes: how often the original had been written when it was copied; None: not
            counted.
        writes: how often ``private`` had been written when no run had begun.
    """

    number: int
    original: Tensor
    private: Tensor
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
        private: a copy of the model with the private copies of tensors; it never runs.
        originals: by the id of a module of the user's model, what a message calls it.
        shared: names of what is not copied, but used by the copies as well.
    """

    def __init__(self, model: nn.Module, least: torch.dtype | None = None) -> None:
        """Copy the model, with numbers of at least a dtype."""
        self.least = least
        self.wide: Pristine | None = None
        self.held: list[CopiedTensor] = []
        self._self_copied: list[int] = []  # the numbers of modules that copy themselves
        self._limit = max(DATA, sum(x.numel() for x in (*model.parameters(), *model.buffers())))
        names = {id(one): f"model.{name}" for name, one in model.named_modules()}
        names[id(model)] = "the model itself"
        try:
            copier = Copier(model, partial(self._copied, {}), names)
            self.private, self._made = read(copier.text, copier.parts)
        except Exception as error:
            self.held.clear()  # since memory may have run out
            if isinstance(error, UncopiedError):
                raise
            refuse_to_copy(model, None, error)
        self._text = copier.text
        self._parts = copier.parts
        self.originals = copier.modules
        self.shared = names_of(copier.noted, model)
        for module in nn.Module.modules(self.private):
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # else cuDNN warns
        for one in self.held:
            one.writes = _write_count(one.private)

    def _copied(self, memo: dict[Any, Any], x: Any, number: int) -> Any:
        """Return a private copy of a tensor, or of a module that copies itself, and note it.

        None for what is not copied: data with more numbers than the limit, and tensors whose memory
        was given back, since reading them crashes. ``memo`` has the copies so far, by id.
        """
        if isinstance(x, nn.Module):
            self._self_copied.append(number)
            twin = copied_by_itself(x, memo)
            return twin if self.least is None else twin.to(self.least)
        odd = is_odd(x)
        size = 1 if odd else x.untyped_storage().nbytes()
        if x.numel() > (self._limit if size else 0):
            return None
        private = memo[id(x)] = _copied_tensor(x, memo, least=self.least)
        is_per_copy = odd or not (isinstance(x, Parameter) or size > LARGE)
        self.held.append(CopiedTensor(number, x, private, is_per_copy, _write_count(x)))
        return private

    def copy(self) -> nn.Module:
        """Return a new copy of the model in eval mode, in the state that the model had at first."""
        memo: dict[Any, Any] = {}  # of copies, by the id of what was copied
        parts = self._parts.copy()
        for one in self.held:
            try:
                twin = _copied_tensor(one.private, memo, has_own_memory=one.is_per_copy)
            except Exception as error:  # noqa: BLE001 - memory has run out
                refuse_to_copy(self.private, one.private, error)
            parts[one.number] = memo[id(one.private)] = twin
        for number in self._self_copied:
            parts[number] = copied_by_itself(parts[number], memo)
        model: nn.Module
        model, made = read(self._text, parts)
        self._made[:] = [one for one in self._made if one() is not None] + made
        return in_mode(model, training=False)

    def wider(self, least: torch.dtype) -> "Pristine":
        """Return the same for copies whose numbers have at least a dtype, such as float64."""
        if self.least is least:
            return self
        if self.wide is None or self.wide.least is not least:
            self.wide = None  # before there is another one
            self.wide = Pristine(self.private, least)
            self.wide.originals = self.originals
            per_copy = {id(one.private) for one in self.held if one.is_per_copy}
            for one in self.wide.held:  # such as what a run wrote
                one.is_per_copy = id(one.original) in per_copy
        return self.wide

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
        """Return whether a run wrote into a tensor that all copies share.

        Its counter of writes tells. If ``thorough``, its numbers are compared as well, unless the
        user's own model wrote the original meanwhile.
        """
        if _write_count(one.private) != one.writes:
            return True
        if not thorough or _write_count(one.original) != one.original_writes:
            return False
        original = one.original
        if self.least is not None:
            original = in_wider_dtype(original, self.least)
        return not same(original, one.private)

    def close(self) -> None:
        """Give back the memory of all copies, also of those in a cycle that the model makes."""
        if self.wide is not None:
            self.wide.close()
        self.held.clear()
        self._parts.clear()
        for reference in self._made:
            one = reference()
            if one is not None:
                vars(one).clear()


def in_mode(model: nn.Module, *, training: bool) -> nn.Module:
    """Put a model in train or eval mode, and return it."""
    train: Any = type(model).train
    if len(inspect.signature(train).parameters) != 2:  # a method of the user's, that takes data
        train = nn.Module.train
    train(model, training)
    return model


def _copied_tensor(
    tensor: Tensor,
    memo: dict[Any, Any],
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
        return Parameter(twin, requires_grad=tensor.requires_grad)
    return attached_like(tensor, twin.as_subclass(kind) if is_weight else twin)


def _clone_keeping_shared_memory(tensor: Tensor, memo: dict[Any, Any]) -> Tensor:
    """Return a clone; by the memo, tensors that share memory have clones that share it."""
    if is_odd(tensor):
        try:
            twin: Tensor = copy.deepcopy(tensor, memo)
        except RuntimeError:  # such as a class that has no memory of its own
            return tensor.clone()
        return twin
    # As deepcopy does, in half of its time.
    memory: Any = tensor.untyped_storage()
    key = (memory.device, memory.data_ptr())
    if key not in memo:
        memo[key] = memory.clone()
    twin = tensor.new_empty(0)
    return twin.set_(memo[key], tensor.storage_offset(), tensor.shape, tensor.stride())


def is_odd(x: Tensor) -> bool:
    """Return whether a tensor is more than a view of memory, such as a sparse or quantized one."""
    is_other_class = x.layout is not torch.strided or type(x.data) is not Tensor
    return is_other_class or x.is_nested or x.is_meta or x.is_quantized or x.is_conj() or x.is_neg()


def attached_like(tensor: Tensor, twin: Tensor | None = None) -> Tensor:
    """Return ``twin``, or a new copy, that is on a graph if the original is.

    It also requires a gradient if the original does.
    """
    twin = tensor.detach().clone() if twin is None else twin
    twin.requires_grad_(tensor.requires_grad)
    if tensor.is_leaf:
        return twin
    with torch.enable_grad():
        return twin.clone()


def _write_count(tensor: Tensor) -> int | None:
    """Return how often a tensor was written in place; None if nobody counts."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001


def copied_by_itself(x: nn.Module, memo: dict[Any, Any]) -> nn.Module:
    """Return what a module's ``__deepcopy__`` returns; the memo has copies of its tensors."""
    with torch.no_grad():  # else the copy of a scripted module is on a graph
        twin = copy.deepcopy(x, memo)
    for mine, its in zip(x.parameters(), twin.parameters(), strict=True):
        its.requires_grad_(mine.requires_grad)
    return twin


def names_of(parts: list[Any], model: nn.Module) -> list[str]:
    """Return what messages call some parts of a model: the last attribute on the way to each."""
    if not parts:
        return []
    paths = {id(one): path for path, one in parts_of(model)}
    ways = [paths.get(id(one), type(one).__name__) for one in parts]
    return [*dict.fromkeys(way.rpartition(".")[2].partition("[")[0] for way in ways)]
