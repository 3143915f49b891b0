"""How a cost grows: one size varied at a time, the others held."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.report import Table
from benchmarks.timing import Effort


class Sizes(NamedTuple):
    """The sizes of a batch and of the module that reads it; its input is as wide as its state."""

    batch: int
    seq: int
    hidden: int
    #: The mean length of a sample by that of the longest.
    fill: float = 1.0


def growth(
    title: str,
    note: str,
    effort: Effort,
    base: Sizes,
    varied: Mapping[str, Sequence[float]],
    columns: Sequence[str],
    measure: Callable[[str, Sizes], object],
) -> Table:
    """Show what is measured of each column at each size; the base, which comes often, once."""
    once = functools.cache(measure)
    held = ", ".join(f"{size} {getattr(base, size):g}" for size in varied)
    rows = [
        (f"{size} {n:g}", *(str(once(name, base._replace(**{size: n}))) for name in columns))
        for size, numbers in varied.items()
        for n in numbers[: effort.sizes]
    ]
    text = f"{note}\nOtherwise {held}."
    return Table(title, text, ("varied", *columns), rows)
