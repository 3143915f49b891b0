"""A private copy of a model in the state that it had, of which copies are made to be run."""

from collections import Counter
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rnnkit._diagnostics.copies import Copier
from rnnkit._diagnostics.tensors import (
    DATA,
    LARGE,
    alias,
    clone,
    dressed,
    is_freed,
    is_plain,
    same_bits,
    version,
)


@dataclass(eq=False)
class Held:
    """A tensor of a model, and the one that copies of it have in its place.

    Attributes:
        given: the model's own.
        version: how often that was written when it was copied.
        private: the copy of it, as it was; runs have it, or copies of it.
        is_common: whether runs have it in common, since none of them writes it.
        private_version: how often the copy was written.
    """

    given: Tensor
    version: int | None
    private: Tensor
    is_common: bool
    private_version: int | None = None

    def was_written(self, *, thorough: bool) -> bool:
        """Say whether a run wrote the copy, by its count of versions or by its bits."""
        if version(self.private) != self.private_version:
            return True
        # What is written through .data counts no versions.
        untouched = version(self.given) == self.version
        return thorough and untouched and not same_bits(self.given, self.private)

    def restore(self) -> None:
        """Take the numbers from the model again; from now on each run has its own."""
        with torch.no_grad():
            self.private.copy_(self.given)
        self.is_common = False


class Pristine:
    """Copies of a model, all in the state that it has now.

    Attributes:
        model: a copy that is never run.
        shared: what copies have in common with the model itself, by name.
        attached: the ids of tensors of the model that hang on a graph.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Copy the model, and see to its modes.

        Raises:
            ArgumentError: if a module cannot be copied.
        """
        own = sum(tensor.numel() for tensor in [*model.parameters(), *model.buffers()])
        data = max(DATA, own)
        outer = Copier(model, data)
        self.originals = outer.contents.modules
        tensors = [part.value for part in outer.contents.tensors]
        versions = [version(tensor) for tensor in tensors]
        large = {id(tensor) for tensor in tensors if tensor.numel() > data}
        storages = _memory(tensors)

        def private(tensor: Tensor) -> Tensor | None:
            if id(tensor) in large:
                return alias(tensor)
            if isinstance(tensor, Parameter):
                return _in_memory(tensor, storages)
            return None if is_plain(tensor) else clone(tensor)

        self.model, twins = outer.copy(private, storages)
        self.model.eval()
        self.shared = [
            *(p.path for p in outer.contents.shared if not isinstance(p.value, ModuleType)),
            *(part.path for part in outer.contents.tensors if id(part.value) in large),
        ]
        self._copier = Copier(self.model, data)
        found = {id(part.value) for part in self._copier.contents.tensors}
        self._held = {
            id(twin): Held(tensor, count, twin, _is_common(tensor))
            for tensor, count, twin in zip(tensors, versions, twins, strict=True)
            if id(twin) in found and id(tensor) not in large
        }
        self._data = {
            id(twin) for tensor, twin in zip(tensors, twins, strict=True) if id(tensor) in large
        }
        self._attached = {
            id(twin)
            for tensor, twin in zip(tensors, twins, strict=True)
            if tensor.grad_fn is not None
        }

    def copy(self) -> tuple[torch.nn.Module, list[Tensor]]:
        """Return a copy to run, and its tensors that hang on a graph in the model itself."""
        common = [held for held in self._held.values() if held.is_common]
        for held in common:
            held.private_version = version(held.private)
        known = (_storage(held.private) for held in common)
        storages = {one._cdata: one for one in known if one is not None}  # noqa: SLF001

        def twin(tensor: Tensor) -> Tensor | None:
            held = self._held.get(id(tensor))
            if id(tensor) in self._data or (held is not None and held.is_common):
                return alias(tensor)
            return None if is_plain(tensor) else clone(tensor)

        made, twins = self._copier.copy(twin, storages)
        parts = self._copier.contents.tensors
        attached = [
            other
            for part, other in zip(parts, twins, strict=True)
            if id(part.value) in self._attached
        ]
        return made, attached

    def written(self, *, thorough: bool) -> bool:
        """Say whether the last run wrote what runs have in common; if so, that is put right."""
        written = [
            held
            for held in self._held.values()
            if held.is_common and held.was_written(thorough=thorough)
        ]
        for held in written:
            held.restore()
        return bool(written)


def _is_common(tensor: Tensor) -> bool:
    return isinstance(tensor, Parameter) or tensor.numel() > LARGE


def _storage(tensor: Tensor) -> Any:
    """Return the memory of a tensor; None if it is of a kind that has none of its own."""
    usual = tensor.layout is torch.strided and type(tensor.data) is Tensor
    if not usual or tensor.device.type == "meta" or tensor.is_quantized or tensor.is_nested:
        return None
    return (
        None
        if is_freed(tensor) or tensor.is_conj() or tensor.is_neg()
        else (tensor.untyped_storage())
    )


def _memory(tensors: list[Tensor]) -> dict[int, Any]:
    """Copy the memory of weights, as a whole where several lie in it."""
    storages: dict[int, Any] = {}
    used: Counter[int] = Counter()
    for tensor in tensors:
        storage = _storage(tensor) if isinstance(tensor, Parameter) else None
        if storage is not None:
            storages[storage._cdata] = storage  # noqa: SLF001
            used[storage._cdata] += tensor.nbytes  # noqa: SLF001
    return {
        key: storage.clone()
        for key, storage in storages.items()
        # Of much memory with few weights in it, the weights are copied alone.
        if storage.nbytes() <= 4 * used[key]
    }


def _in_memory(tensor: Tensor, storages: dict[int, Any]) -> Tensor:
    """Copy a weight into memory that is copied already; or alone, if that is not."""
    storage = _storage(tensor)
    place = None if storage is None else storages.get(storage._cdata)  # noqa: SLF001
    if place is None:
        return clone(tensor)
    twin = tensor.detach().new_empty(0)
    return dressed(twin.set_(place, tensor.storage_offset(), tensor.shape, tensor.stride()), tensor)
