"""Where tensors lie in memory: which of them are the same, and which goes on where one ends."""

from typing import Any

from torch import Tensor


def place_of(x: Any) -> tuple[int, int, tuple[int, ...]]:
    """Return which memory a tensor shows: its start, its offset there, and its shape.

    Anything else, and a tensor without memory, is told by its id.
    """
    if not isinstance(x, Tensor):
        return id(x), 0, ()
    return x.untyped_storage().data_ptr() or id(x), int(x.storage_offset()), tuple(x.shape)


def goes_on(one: Tensor, other: Any, axis: int) -> bool:
    """Return whether ``other`` begins in memory where ``one`` ends, in the same sample.

    ``one`` is a view of a longer sequence, such as a window of it; ``axis`` has the steps.
    """
    base: Any = one._base  # noqa: SLF001
    end = one.storage_offset() + one.shape[axis] * one.stride(axis)
    if place_of(other)[:2] != (place_of(base)[0], end):
        return False
    # Behind the end of one sample lies another one.
    begin = one.storage_offset() - base.storage_offset()
    step = begin // max(base.stride(axis), 1) % base.shape[axis]
    return bool(step + one.shape[axis] < base.shape[axis])
