"""Which short expression brings a tensor to the shape that is wanted.

A mend is tried on the shape before it is offered.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Mend = tuple[str, Callable[[Tensor], Tensor]]

PLAIN: tuple[Mend, ...] = (
    (".squeeze(0)", lambda t: t.squeeze(0)),
    (".squeeze(1)", lambda t: t.squeeze(1)),
    (".squeeze(2)", lambda t: t.squeeze(2)),
    (".squeeze(-1)", lambda t: t.squeeze(-1)),
    (".unsqueeze(0)", lambda t: t.unsqueeze(0)),
    (".unsqueeze(-1)", lambda t: t.unsqueeze(-1)),
    (".unsqueeze(1)", lambda t: t.unsqueeze(1)),
    (".t()", lambda t: t.t()),
    (".transpose(0, 1).contiguous()", lambda t: t.transpose(0, 1)),
    (".flatten(0, 1)", lambda t: t.flatten(0, 1)),
    ("[-1]", lambda t: t[-1]),
)


def reshaped(name: str, shape: Sequence[int], wanted: Sequence[int | None]) -> str | None:
    """Return the expression that makes ``shape`` the ``wanted`` one; None if no short one does.

    >>> reshaped("hx", (5, 4), (1, 5, 4))
    'hx.unsqueeze(0)'
    >>> reshaped("hx", (2, 1, 4), (2, 5, 4))
    'hx.repeat(1, 5, 1), if they start alike'
    """
    tensor = torch.empty(tuple(shape), device="meta")
    for text, mend in (*PLAIN, *_repeating(wanted)):
        try:
            result = mend(tensor).shape
        except (RuntimeError, IndexError):
            continue
        if len(result) == len(wanted) and all(
            want in (size, None) for size, want in zip(result, wanted, strict=True)
        ):
            return name + text
    return None


def _repeating(wanted: Sequence[int | None]) -> list[Mend]:
    """Return the mends that give every layer, or every sample, the same state."""
    mends: list[Mend] = []
    for axis, size in enumerate(wanted[:-1]):
        if size is None or size < 2:
            continue
        times = [size if place == axis else 1 for place in range(len(wanted))]
        alike = ", if they start alike"
        repeat = f".repeat({', '.join(map(str, times))})"

        def plain(t: Tensor, times: list[int] = times) -> Tensor:
            return t.repeat(times)

        def added(t: Tensor, times: list[int] = times, axis: int = axis) -> Tensor:
            return t.unsqueeze(axis).repeat(times)

        mends += [(repeat + alike, plain), (f".unsqueeze({axis}){repeat}{alike}", added)]
    return mends
