"""A model copied any number of times: what :func:`copy.deepcopy` does, faster and of more kinds."""

import copy
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._diagnostics.contents import (
    ATOMS,
    TORCHS,
    Contents,
    Part,
    cell_content,
    is_empty,
    is_usual,
)

#: How often a copy is tried while another thread changes what is copied.
TRIES = 5


class Usual:
    """A module that is copied attribute by attribute: what deepcopy does, faster."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Sort its attributes."""
        self.module, self.kind = module, type(module)
        held = vars(module)
        self._atoms = {name: value for name, value in held.items() if type(value) in ATOMS}
        # Most tables of a module are empty: those of hooks.
        empty = (name for name, value in held.items() if name in TORCHS and is_empty(value))
        self._tables = [(name, type(held[name])) for name in empty]
        names = {*self._atoms, *(name for name, _ in self._tables), "_compiled_call_impl"}
        self._rest = [(name, value) for name, value in held.items() if name not in names]

    def empty(self) -> torch.nn.Module:
        """Return a module without attributes."""
        return self.kind.__new__(self.kind)

    def fill(self, memo: dict[Any, Any]) -> None:
        """Copy the attributes into the module that the memo has in the place of this one."""
        held = vars(memo[id(self.module)])
        held.update(self._atoms)
        for name, kind in self._tables:
            held[name] = kind()
        for name, value in self._rest:
            held[name] = _twin(value, memo)


def _twin(value: Any, memo: dict[Any, Any]) -> Any:
    """Return the copy that a memo has, also of a function, or make one."""
    return memo[id(value)] if id(value) in memo else copy.deepcopy(value, memo)


#: Returns how one tensor is copied; None to leave that to :func:`copy.deepcopy`.
Twins = Callable[[Tensor], Tensor | None]


class Copier:
    """Copies one model any number of times.

    Attributes:
        model: what is copied.
        contents: what it holds.
    """

    def __init__(self, model: torch.nn.Module, large: float = torch.inf) -> None:
        """Look at what the model holds.

        Args:
            model: what is to be copied.
            large: of more numbers than this, an array is data, and shared.
        """
        self.model = model
        self.contents = Contents.of(model, large)
        held = (part.value for part in self.contents.modules.values())
        self._usual = [Usual(module) for module in held if is_usual(type(module))]

    def copy(self, twins: Twins, storages: dict[int, Any]) -> tuple[torch.nn.Module, list[Any]]:
        """Return a copy of the model, and of each of its tensors.

        Args:
            twins: copies tensors.
            storages: memory that is given in the place of other memory, by its ``_cdata``.

        Raises:
            ArgumentError: if a module cannot be copied.
        """
        pairs = [(part.value, twins(part.value)) for part in self.contents.tensors]
        given = {id(tensor): twin for tensor, twin in pairs if twin is not None}
        left = TRIES
        while True:
            try:
                memo = self._memo(given, storages)
                made = self._copied(memo)
                return made, [memo.get(id(tensor)) for tensor, _ in pairs]
            except Exception as error:
                left -= 1
                changed = "changed size during iteration" in str(error)
                if not left or not (changed or self._share_more(given)):
                    raise self._refusal(given, error) from error

    def _memo(self, given: dict[int, Any], storages: dict[int, Any]) -> dict[Any, Any]:
        contents = self.contents
        memo: dict[Any, Any] = dict(given)
        memo["torch"] = dict(storages)
        memo.update((id(part.value), part.value) for part in contents.shared)
        memo.update((id(value), value.copy()) for value in contents.plain)
        return memo

    def _copied(self, memo: dict[Any, Any]) -> torch.nn.Module:
        leads = self.contents.leads_back
        functions = [(one, _unfilled(one, leads)) for one in self.contents.functions]
        memo.update((id(function), twin) for function, twin in functions)
        memo.update((id(usual.module), usual.empty()) for usual in self._usual)
        for wrapper, inner in self.contents.wrapped:
            memo[id(wrapper)] = _twin(inner, memo)
        for reference in self.contents.references:
            if isinstance(module := memo.get(id(reference())), torch.nn.Module):
                memo[id(reference)] = ReferenceType(module)
        for usual in reversed(self._usual):
            usual.fill(memo)
        made: torch.nn.Module = copy.deepcopy(self.model, memo)
        for function, twin in functions:
            self._fill(function, twin, memo)
        return made

    def _fill(self, function: FunctionType, twin: FunctionType, memo: dict[Any, Any]) -> None:
        twin.__defaults__ = copy.deepcopy(function.__defaults__, memo)
        twin.__kwdefaults__ = copy.deepcopy(function.__kwdefaults__, memo)
        for cell, other in zip(function.__closure__ or (), twin.__closure__ or (), strict=True):
            if cell is not other:
                other.cell_contents = copy.deepcopy(cell.cell_contents, memo)

    def _refused(self, value: Any, given: dict[int, Any]) -> Exception | None:
        """Return what a value raises when it is copied alone; None if nothing."""
        try:
            copy.deepcopy(value, self._memo(given, {}))
        except Exception as reason:  # noqa: BLE001 - it may refuse as it likes
            return reason
        return None

    def _share_more(self, given: dict[int, Any]) -> bool:
        """Share what refuses to be copied, the innermost first; say whether anything did."""
        shared = self.contents.shared
        before = len(shared)
        for part in reversed(self.contents.others):
            if self._refused(part.value, given) is not None:
                shared.append(part)
        return len(shared) > before

    def _refusal(self, given: dict[int, Any], error: Exception) -> ArgumentError:
        """Name the innermost module that refuses to be copied."""
        inner_first = reversed(self.contents.modules.values())
        refusals = ((part, self._refused(part.value, given)) for part in inner_first)
        found = ((part, reason) for part, reason in refusals if reason is not None)
        part, error = next(found, (Part("", self.model), error))
        where = f"model.{part.path}" if part.path else "the model"
        return ArgumentError(
            f"{where} ({type(part.value).__name__}) cannot be copied, and the model itself is "
            f"never run: {error}; give the model as it was before it was wrapped or sharded",
            "model",
        )


def _unfilled(function: FunctionType, leads_back: Callable[[Any], bool]) -> FunctionType:
    """Return a copy of a function whose closure is empty where the first one's leads to a model."""
    cells = function.__closure__ or ()
    closure = tuple(CellType() if leads_back(cell_content(cell)) else cell for cell in cells)
    twin = FunctionType(function.__code__, function.__globals__, function.__name__, None, closure)
    twin.__dict__.update(function.__dict__)
    return twin
