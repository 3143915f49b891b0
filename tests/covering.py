"""Fewer rows of a product: each combination of values of any few axes is still in one of them."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import covertable
import torch


def covers(strength: int, **axes: Iterable[Any]) -> Callable[[Callable[..., None]], Any]:
    """Run one test for so many rows of a product that any so many values of its axes meet.

    A failure names the row that it comes from.
    """
    values = {name: list(each) for name, each in axes.items()}
    # Values need not be hashable, and their places are.
    places = [list(range(len(each))) for each in values.values()]
    rows = covertable.make(places, strength=min(strength, len(places)))

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures):
            for row in rows:
                pairs = zip(values, row, strict=True)
                given = {name: values[name][place] for name, place in pairs}
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
