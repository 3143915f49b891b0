"""One test for the rows of a product that are needed: it runs once for each of them."""

import pytest

from tests.covering import covers


def test_one_test_for_all_rows(tmp_path):
    """A test runs once for each row that stays, beside its fixtures; a failure names its row."""
    met = []

    @covers(2, one=[0, 1], two=[["a"], ["b"]], three=[True, False])
    def test(one, two, *, three, tmp_path):
        assert tmp_path.exists()
        met.append((one, two))
        assert len(met) < 4, three

    with pytest.raises(AssertionError) as caught:
        test(tmp_path=tmp_path)
    one, two = met[3]
    assert f"where {{'one': {one}, 'two': {two}, " in caught.value.__notes__[0]
    assert all(met.count(row) == 1 for row in met)
