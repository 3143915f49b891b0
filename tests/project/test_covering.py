"""Rows that are left out of a product: what they would show, rows that stay show too."""

import inspect
import pathlib
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.covering import covering, covers

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@given(sizes, st.integers(1, 3))
def test_any_few_values_still_meet(sizes, strength):
    """Each combination of so many values is in one of the rows, and no row is there for nothing."""
    rows = [tuple(enumerate(values)) for values in product(*map(range, sizes))]

    chosen = covering(rows, strength)

    axes = combinations(range(len(sizes)), min(strength, len(sizes)))
    for few in axes:
        met = {tuple(row[axis] for axis in few) for row in chosen}
        assert met == {tuple(row[axis] for axis in few) for row in rows}
    assert len(set(chosen)) == len(chosen)


def test_few_rows_stay():
    """Of 720 rows in seven axes hardly more stay than three axes alone would have."""
    rows = [tuple(enumerate(values)) for values in product(*map(range, (5, 3, 3, 2, 2, 2, 2)))]

    assert len(covering(rows, 3)) < 60


def test_one_test_for_all_rows(tmp_path):
    """A test runs once for each row that stays, beside its fixtures; a failure names its row."""
    met = []

    @covers(2, one=[0, 1], two=[["a"], ["b"]], three=[True, False])
    def test(one: int, two: list[str], *, three: bool, tmp_path: pathlib.Path):
        assert tmp_path.exists()
        met.append((one, two))
        assert len(met) < 4, three

    assert list(inspect.signature(test).parameters) == ["tmp_path"]
    with pytest.raises(AssertionError) as caught:
        test(tmp_path=tmp_path)
    one, two = met[3]
    assert caught.value.__notes__[0].startswith(f"where {{'one': {one}, 'two': {two}, ")
    assert len({(one, *two) for one, two in met}) == 4
