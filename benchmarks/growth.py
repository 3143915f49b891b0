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


class Growth:
    """What was measured for each column at each size; each once, however often it is shown."""

    def __init__(
        self,
        effort: Effort,
        base: Sizes,
        varied: Mapping[str, Sequence[float]],
        columns: Sequence[str],
        measure: Callable[[str, Sizes], Mapping[str, object]],
    ) -> None:
        """Say what is varied around which base, and how a column is measured: results by name.

        A column gives no results where it has not the size that is varied.
        """
        self.base = base
        self.varied = {size: values[: effort.sizes] for size, values in varied.items()}
        self.columns = columns
        self.measure = functools.cache(measure)

    def table(self, title: str, note: str, name: str) -> Table:
        """Show one of the results: a row for each value of each size."""
        held = ", ".join(f"{size} {getattr(self.base, size):g}" for size in self.varied)
        rows = []
        for size, values in self.varied.items():
            for value in values:
                sizes = self.base._replace(**{size: value})
                results = [self.measure(column, sizes) for column in self.columns]
                cells = (str(result.get(name, "")) for result in results)
                rows.append((f"{size} {value:g}", *cells))
        text = f"{note}\nOne size is varied at a time; the others are {held}."
        return Table(title, text, ("varied", *self.columns), rows)
