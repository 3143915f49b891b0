"""Fewer rows of a product: each combination of values of any few axes is still in one of them."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest

Row = tuple[tuple[str, Any], ...]


def covering(rows: Sequence[Row], strength: int) -> list[Row]:
    """Choose rows greedily, until they hold every combination of so many values that any row has."""
    parts = {row: set(combinations(row, min(strength, len(row)))) for row in rows}
    missing, chosen = set().union(*parts.values()), []
    while missing:
        best = max(parts, key=lambda row: len(parts[row] & missing))
        missing -= parts[best]
        chosen.append(best)
    return chosen


def cover(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the rows of each test marked ``covering(n)`` whose combinations others have."""
    tests: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("covering"):
            tests[item.nodeid.partition("[")[0]].append(item)
    left_out: set[pytest.Item] = set()
    for group in tests.values():
        # A plugin may have shuffled them: the same rows stay in every run.
        group.sort(key=lambda item: tuple(item.callspec.indices.values()))
        (strength,) = group[0].get_closest_marker("covering").args
        # The values are the same objects in all rows.
        rows = {
            tuple((name, id(value)) for name, value in item.callspec.params.items()): item
            for item in group
        }
        left_out |= set(group) - {rows[row] for row in covering(list(rows), strength)}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))
