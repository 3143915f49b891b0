"""Copies of a model, all in the state that it had; weights are copied once."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from rnnkit._base.errors import ArgumentError
from rnnkit._diagnostics.contents import Contents

#: Of more numbers than this, and than the model has, a tensor is data, and not copied at all.
DATA = 2**26

#: What has more bytes than this is copied once, and again only if a run writes it.
LARGE = 2**20

#: How often copying is tried again, if another thread changes the model or a part refuses.
TRIES = 5

#: Where memory begins, and how many bytes it has; None of a kind that is copied as it is.
Place = tuple[int, int] | None


class Held(NamedTuple):
    """A tensor of the model, a copy of it, where it is, and how often both were written."""

    given: Tensor
    private: Tensor
    place: Place
    version: int | None
    private_version: int | None


class Pristine:
    """Copies of a model, all in the state that it has now.

    Attributes:
        model: a copy that is never run.
        shared: what copies have in common with the model itself, by name.
        originals: the modules of the model itself: what to call them, by id.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Copy the model."""
        self._limit = max(DATA, sum(t.numel() for t in [*model.parameters(), *model.buffers()]))
        self._names = {id(one): f"model.{name}" for name, one in model.named_modules()}
        self._names[id(model)] = "the model itself"
        refused: list[Any] = []
        tries = TRIES
        while True:
            self._contents = Contents(model, refused, self._limit)
            try:
                self._contents.write()
                self._take()
                self.model = self.copy()[0]
                break
            except ArgumentError:
                raise
            except Exception as error:
                found = _refusing(self._contents, refused)
                changed = "changed size during iteration" in str(error)
                if not tries or not (found or changed):
                    raise self._refusal(model, error) from error
                refused, tries = [*refused, *found], tries - 1
        self.shared = [*self._contents.shared.values()]
        self.originals = {key: self._name(one) for key, one in self._contents.modules.items()}

    def _name(self, module: torch.nn.Module) -> str:
        return self._names.get(id(module), f"a {type(module).__name__} of the model")

    def _refusal(self, module: torch.nn.Module, error: Exception) -> ArgumentError:
        where = self._name(module).removesuffix(" itself")
        return ArgumentError(
            f"{where} ({type(module).__name__}) cannot be copied, and the model itself is never "
            f"run: {error}; give the model as it was before it was wrapped or sharded",
            "model",
        )

    def _take(self) -> None:
        """Copy what is not written down."""
        shared = self._contents.shared
        kept = {key: one for key, one in self._contents.kept.items() if key not in shared}
        tensors = [one for one in kept.values() if isinstance(one, Tensor)]
        storages: dict[Place, torch.UntypedStorage] = {}
        common: set[Place] = set()
        for tensor in tensors:
            place = _place(tensor)
            # A piece of much data is copied without the rest.
            if place and 0 < place[1] <= 8 * self._limit:
                storages[place] = tensor.untyped_storage()
                if isinstance(tensor, Parameter) or place[1] > LARGE:
                    common.add(place)
        self._own = set(storages) - common
        self._memory = {place: (one, copy.deepcopy(one)) for place, one in storages.items()}
        self._held = {id(tensor): self._hold(tensor) for tensor in tensors}
        memo: dict[int, Any] = {key: held.private for key, held in self._held.items()}
        self._opaque: dict[int, Any] = {}
        for key, one in kept.items():
            if key not in self._held and hasattr(type(one), "__deepcopy__"):
                try:
                    self._opaque[key] = copy.deepcopy(one, memo)
                except Exception as error:
                    if isinstance(one, torch.nn.Module):
                        raise self._refusal(one, error) from error
                    shared[key] = type(one).__name__

    def _hold(self, tensor: Tensor) -> Held:
        place, count = _place(tensor), version(tensor)
        if place in self._memory:
            private = dressed(_placed(tensor, self._memory[place][1]), tensor)
        else:
            place, private = None, dressed(clone(tensor), tensor)
        return Held(tensor, private, place, count, version(private))

    def copy(self) -> tuple[torch.nn.Module, list[Tensor]]:
        """Return a copy to run, and its tensors that hang on a graph in the model itself."""
        own = {place: copy.deepcopy(self._memory[place][1]) for place in self._own}
        twins: dict[int, Any] = {}
        for key, (_, private, place, *_) in self._held.items():
            if place in own:
                plain = _placed(private, own[place])
            else:
                plain = clone(private) if place is None else private.detach()
            twins[key] = dressed(plain, private)
        opaque: dict[int, Any] = {}
        if self._opaque:
            memo = {id(held.private): twins[key] for key, held in self._held.items()}
            opaque = {key: copy.deepcopy(one, memo) for key, one in self._opaque.items()}
        model = self._contents.read({**self._contents.kept, **opaque, **twins}).eval()
        attached = [key for key, held in self._held.items() if held.given.grad_fn is not None]
        return model, [twins[key] for key in attached]

    def written(self, *, thorough: bool) -> bool:
        """Return whether the last run wrote what runs have in common; if so, that is put right."""
        held = [one for one in self._held.values() if one.place and one.place not in self._own]
        written = {one.place for one in held if version(one.private) != one.private_version}
        if thorough:
            changed = {one.place for one in held if version(one.given) != one.version}
            rest = {one.place for one in held} - written - changed
            written |= {place for place in rest if _differ(*self._memory[place])}
        for place in written:
            given, private = self._memory[place]
            private.copy_(given)
        self._own |= written
        return bool(written)


def clone(tensor: Tensor) -> Tensor:
    """Copy a tensor of any kind; the copy hangs on no graph."""
    plain, place = tensor.detach(), _place(tensor)
    if place is None or place[1] or not plain.numel():
        return plain.clone()
    # Its memory was given back: reading that would end the process.
    twin = torch.empty_like(plain)
    twin.untyped_storage().resize_(0)
    return twin


def dressed(twin: Tensor, tensor: Tensor) -> Tensor:
    """Give a tensor the class, the attributes and the wish for a gradient of another one."""
    wanted = tensor.requires_grad
    if type(tensor) is Parameter or (isinstance(tensor, Parameter) and type(twin) is not Tensor):
        twin = Parameter(twin, requires_grad=wanted)
    elif isinstance(tensor, Parameter):
        twin = twin.as_subclass(type(tensor)).requires_grad_(wanted)
    elif wanted and tensor.is_leaf:
        twin.requires_grad_()
    if held := getattr(tensor, "__dict__", None):
        vars(twin).update(held)
    return twin


def version(tensor: Tensor) -> int | None:
    """Return how often a tensor was written; None if nobody counts."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001


def _place(tensor: Tensor) -> Place:
    """Return which memory a tensor is in; None if it is of a kind that is copied as a whole."""
    if tensor.layout is not torch.strided or type(tensor.data) is not Tensor or tensor.is_nested:
        return None
    if tensor.is_meta or tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
        return None
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def _placed(tensor: Tensor, storage: torch.UntypedStorage) -> Tensor:
    """Return a tensor that is in other memory as one is in its own."""
    # Not in the wider dtype that a mode may ask for: it would read beyond the end.
    with torch._C.DisableTorchFunction():  # noqa: SLF001
        empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return empty.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


def _differ(one: torch.UntypedStorage, other: torch.UntypedStorage) -> bool:
    """Compare memory, bit for bit."""
    wide = torch.uint8 if one.nbytes() % 8 else torch.int64
    bits = [torch.empty(0, dtype=wide, device=one.device).set_(each) for each in (one, other)]
    return not torch.equal(*bits)


def _refusing(contents: Contents, refused: list[Any]) -> list[Any]:
    """Return what cannot be read again, the innermost first."""
    found: list[Any] = []
    for one in reversed(contents.objects):
        if not isinstance(one, torch.nn.Module):
            try:
                part = Contents(one, [*refused, *found])
                part.write()
                part.read(part.kept)
            except Exception:  # noqa: BLE001 - it may refuse as it likes
                found.append(one)
    return found
