"""Fewer rows of a product: each combination of values of any few axes is still in one of them."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, product
from typing import Any

import torch

Row = tuple[tuple[str, Any], ...]


def covering(rows: Sequence[Row], strength: int) -> list[Row]:
    """Choose rows greedily, until they hold every combination of so many values that any row has."""
    parts = {row: set(combinations(row, min(strength, len(row)))) for row in rows}
    missing = set().union(*parts.values())
    chosen = []
    while missing:
        best = max(parts, key=lambda row: len(parts[row] & missing))
        missing -= parts[best]
        chosen.append(best)
    return chosen


def covers(strength: int, **axes: Iterable[Any]) -> Callable[[Callable[..., None]], Any]:
    """Run one test for so many rows of a product that any so many values of its axes meet.

    A failure names the row that it comes from.
    """
    values = {name: list(each) for name, each in axes.items()}

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any):
            # Values need not be hashable, and their places are.
            places = [product([name], range(len(each))) for name, each in values.items()]
            for row in covering([*product(*places)], strength):
                given = {name: values[name][place] for name, place in row}
                torch.manual_seed(2026)
                try:
                    test(**given, **fixtures)
                except Exception as error:
                    error.add_note(f"where {given}")
                    raise

        # pytest reads the names of the fixtures from it.
        parameters = inspect.signature(test).parameters.values()
        rest = [one for one in parameters if one.name not in values]
        run.__signature__ = inspect.Signature(rest)  # type: ignore[attr-defined]
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return decorate
