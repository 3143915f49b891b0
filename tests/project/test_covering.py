"""Rows that are left out of a product: what they would show, rows that stay show too."""

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.covering import covering

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@given(sizes, st.integers(1, 3))
def test_any_few_values_still_meet(sizes: list[int], strength: int) -> None:
    """Each combination of so many values is in one of the rows, and no row is there for nothing."""
    rows = [tuple(enumerate(values)) for values in product(*map(range, sizes))]

    chosen = covering(rows, strength)

    axes = combinations(range(len(sizes)), min(strength, len(sizes)))
    for few in axes:
        met = {tuple(row[axis] for axis in few) for row in chosen}
        assert met == {tuple(row[axis] for axis in few) for row in rows}
    assert len(set(chosen)) == len(chosen)


def test_few_rows_stay() -> None:
    """Of 720 rows in seven axes hardly more stay than three axes alone would have."""
    rows = [tuple(enumerate(values)) for values in product(*map(range, (5, 3, 3, 2, 2, 2, 2)))]

    assert len(covering(rows, 3)) < 60


@pytest.mark.covering(2)
@pytest.mark.parametrize("one", [0, 1])
@pytest.mark.parametrize("two", [0, 1])
@pytest.mark.parametrize("three", [0, 1])
def test_rows_of_a_marked_test(
    one: int, two: int, three: int, request: pytest.FixtureRequest
) -> None:
    """Half of eight rows stay, in which any two of three values meet."""
    names = [item.originalname for item in request.session.items]

    assert names.count("test_rows_of_a_marked_test") == 4
    assert {one, two, three} <= {0, 1}
