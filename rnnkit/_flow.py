"""Which tensor is, or shares the memory of, or was computed from another."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Edges = set[tuple[Any, int]]


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

    def __init__(self, old: Iterable[Any]) -> None:
        """Remember what there was before the run."""
        self._old = [tensor for tensor in old if isinstance(tensor, Tensor)]
        self._known: list[tuple[Tensor, Origin, int | None]] = []

    def note(self, tensor: Tensor, origin: Origin, axis: int | None = None) -> None:
        """Remember what a call returned; along the axis, if there is one, lie its layers."""
        self._known.append((tensor, origin, axis))

    def origin(self, tensor: Tensor) -> Origin:
        """Say where a tensor came from: what it is, shares memory with, or was computed from."""
        for known, origin, axis in reversed(self._known):
            if _storage(known) == _storage(tensor):
                if self.same_place(known, tensor):
                    return origin
                start = None if axis is None else _start(known, tensor, axis)
                return Origin(origin.row, origin.member, "a slice of", start)
        edges = self.reached([tensor])
        for known, origin, _ in reversed(self._known):
            if self.is_reached(known, edges):
                return Origin(origin.row, origin.member, "computed from")
        return Origin()

    def same_place(self, one: Tensor, other: Tensor) -> bool:
        """Say whether two tensors are the same numbers in the same memory."""
        return (
            _storage(one) == _storage(other)
            and one.storage_offset() == other.storage_offset()
            and one.shape == other.shape
        )

    def shares(self, tensor: Tensor, others: Iterable[Tensor]) -> bool:
        """Say whether a tensor shares memory with one of others."""
        return any(_storage(tensor) == _storage(other) for other in others)

    def is_old(self, tensor: Tensor) -> bool:
        """Say whether a tensor was there before the run."""
        return self.shares(tensor, self._old)

    def reached(self, tensors: Iterable[Tensor]) -> Edges:
        """Return the outputs of operations that some tensors were computed from."""
        tensors = list(tensors)
        waiting: list[tuple[Any, int]] = [
            (t.grad_fn, t.output_nr) for t in tensors if t.grad_fn is not None
        ]
        waiting += [(_storage(t), -1) for t in tensors]
        edges: Edges = set()
        while waiting:
            edge = waiting.pop()
            if edge not in edges:
                edges.add(edge)
                waiting += [e for e in getattr(edge[0], "next_functions", ()) if e[0] is not None]
        return edges

    def is_reached(self, tensor: Tensor, edges: Edges) -> bool:
        """Say whether a tensor is among those that others were computed from, or shares memory."""
        made = tensor.grad_fn is not None and (tensor.grad_fn, tensor.output_nr) in edges
        return made or (_storage(tensor), -1) in edges


def _start(whole: Tensor, part: Tensor, axis: int) -> int:
    offset = int(part.storage_offset()) - int(whole.storage_offset())
    return offset // (whole.stride(axis) or 1) % whole.shape[axis]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)
