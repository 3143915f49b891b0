"""Which tensor is, or shares the memory of, or was computed from another."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

Edges = set[tuple[Any, int]]

#: So many nodes next to a tensor are asked whether backward has freed them.
NEAR = 64


@dataclass(frozen=True)
class Origin:
    """Where a state came from: a row of the trace, or elsewhere.

    Attributes:
        row: the call that returned it; None if no call did.
        member: which of h and c.
        how: ``""``, ``"a slice of"`` or ``"computed from"``.
        start: of a slice, its first index among the layers and directions.
    """

    row: int | None = None
    member: str = ""
    how: str = ""
    start: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is the tensor that the call returned."""
        return not self.how

    def __str__(self) -> str:
        """Write it for the table."""
        if self.row is None:
            return "from elsewhere"
        return f"{self.how} {self.member} of row {self.row}".strip()


class Flow:
    """Tensors that calls returned, kept alive so that their memory is not given to others."""

    def __init__(self, attached: Iterable[Tensor]) -> None:
        """Begin with copies of earlier tensors, whose originals hung on a graph."""
        self._attached = list(attached)
        self._known: dict[int, list[tuple[Tensor, Origin, int | None]]] = defaultdict(list)
        self._made: dict[tuple[Any, int], Origin] = {}
        self._learned: set[int] = set()
        with torch.enable_grad():
            # What has a smaller number was made before.
            self._first = (
                _age(torch.ones((), requires_grad=True, device="cpu").clone().grad_fn) or 0
            )

    def note(self, tensor: Tensor, origin: Origin, axis: int | None = None) -> None:
        """Remember what a call returned; along the axis, if there is one, its layers stand."""
        self._known[_storage(tensor)].append((tensor, origin, axis))
        if tensor.grad_fn is not None:
            self._made[tensor.grad_fn, tensor.output_nr] = origin
        if tensor.requires_grad:
            # It outlives the run on a tensor that is returned, and must not hold the others.
            learned, key = self._learned, id(tensor)
            tensor.register_hook(lambda _: learned.add(key))  # type: ignore[no-untyped-call]

    def origin(self, tensor: Tensor) -> Origin:
        """Say where a tensor came from: what it is, shares memory with, or was computed from."""
        if (stored := _storage(tensor)) in self._known:
            known, origin, axis = self._known[stored][-1]
            if self.same_place(known, tensor):
                return origin
            start = None if axis is None else _start(known, tensor, axis)
            return Origin(origin.row, origin.member, "a slice of", start)
        # What a call returned ends the search: its c is computed from what its h is, too.
        near = _nodes([(tensor.grad_fn, tensor.output_nr)], self._made.keys())
        origins = [self._made[edge] for edge in near if edge in self._made]
        if not origins:
            return Origin()
        last = max(origins, key=lambda origin: origin.row or 0)
        return Origin(last.row, last.member, "computed from")

    def same_place(self, one: Tensor, other: Tensor) -> bool:
        """Return whether two tensors are the same numbers in the same memory."""
        return (
            _storage(one) == _storage(other)
            and one.storage_offset() == other.storage_offset()
            and one.shape == other.shape
        )

    def shares(self, tensor: Tensor, others: Iterable[Tensor]) -> bool:
        """Return whether a tensor shares memory with one of others."""
        return any(_storage(tensor) == _storage(other) for other in others)

    def goes_on(self, one: Tensor, other: Tensor, axis: int) -> bool:
        """Return whether a tensor begins, along an axis, where another ends: two parts of a third.

        Not of one that has a further axis: its parts may be samples in their own right, as the
        sentences of a document are.
        """
        whole, apart = other._base, [k for k in range(one.dim()) if k != axis]  # noqa: SLF001
        return (
            whole is not None
            and whole is one._base  # noqa: SLF001
            and whole.dim() == one.dim() == other.dim()
            and one.stride() == other.stride()
            and whole.shape[axis] > one.shape[axis]
            and all(one.shape[k] == other.shape[k] for k in apart)
            and other.storage_offset() == one.storage_offset() + one.shape[axis] * one.stride(axis)
        )

    def length(self, part: Tensor, axis: int) -> int:
        """Return how long a tensor is along an axis that another one is a part of."""
        whole = part._base  # noqa: SLF001
        return 0 if whole is None else whole.shape[axis]

    def are_parts(self, one: Tensor, other: Tensor) -> bool:
        """Return whether two tensors are parts of a third that has one axis more."""
        whole = other._base  # noqa: SLF001
        return whole is not None and whole is one._base and whole.dim() == other.dim() + 1  # noqa: SLF001

    def is_attached(self, tensor: Tensor) -> bool:
        """Return whether a tensor was there before the run, on the graph of an earlier one."""
        whole = tensor if tensor._base is None else tensor._base  # noqa: SLF001
        age = _age(whole.grad_fn)
        return (age is not None and age < self._first) or self.shares(tensor, self._attached)

    def is_learned_from(self, tensor: Tensor) -> bool:
        """Return whether backward has been through a tensor: a loss was made of it."""
        return id(tensor) in self._learned

    def is_freed(self, tensor: Tensor) -> bool:
        """Return whether backward has gone through the graph on which a tensor is, and freed it."""
        near = islice(_nodes([(tensor.grad_fn, 0)]), NEAR)
        return any(_is_freed(node) for node, _ in near)

    def reached(self, tensors: Iterable[Tensor], until: Iterable[Tensor] = ()) -> Edges:
        """Return the outputs of operations that some tensors were computed from."""
        tensors = list(tensors)
        ends = {(t.grad_fn, t.output_nr) for t in until}
        return set(_nodes([(t.grad_fn, t.output_nr) for t in tensors], ends)) | {
            (_storage(t), -1) for t in tensors
        }

    def is_reached(self, tensor: Tensor, edges: Edges) -> bool:
        """Return whether others were computed from a tensor, or share its memory."""
        made = tensor.grad_fn is not None and (tensor.grad_fn, tensor.output_nr) in edges
        return made or (_storage(tensor), -1) in edges

    def joins(self, edges: Edges, size: int) -> Iterator[Edges]:
        """List what each concatenation was computed from, of those that give a size on its axis."""
        for node, number in edges:
            if type(node).__name__.startswith("CatBackward"):
                shape = node._input_metadata[0].shape  # noqa: SLF001
                if shape[node._saved_dim % len(shape)] == size:  # noqa: SLF001
                    yield set(_nodes([(node, number)]))


def _nodes(
    start: Iterable[tuple[Any, int]], ends: AbstractSet[tuple[Any, int]] = frozenset()
) -> Iterator[tuple[Any, int]]:
    """List operations, and which output of each, that others came from; near ones first."""
    waiting = deque(edge for edge in start if edge[0] is not None)
    seen = set(waiting)
    while waiting:
        yield (edge := waiting.popleft())
        if edge in ends:
            continue
        new = [e for e in edge[0].next_functions if e[0] is not None and e not in seen]
        seen.update(new)
        waiting += new


def _age(node: Any) -> int | None:
    """Return when an operation was run, as a number that grows within a thread."""
    return None if node is None else int(node._sequence_nr())  # noqa: SLF001


def _is_freed(node: Any) -> bool:
    """Return whether what an operation kept for its backward is gone."""
    for name in dir(node):
        if name.startswith("_saved_") or name == "saved_tensors":
            try:
                getattr(node, name)
            except RuntimeError as error:
                # There are other reasons: what was saved was written in place.
                if "second time" in str(error):
                    return True
    return False


def _start(whole: Tensor, part: Tensor, axis: int) -> int:
    offset = int(part.storage_offset()) - int(whole.storage_offset())
    return offset // (whole.stride(axis) or 1) % whole.shape[axis]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)
