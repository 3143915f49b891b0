"""A small part of the fuzzers; ``nox -s fuzz -- 5000`` runs as many as it is told."""

import warnings

import pytest

from tests.fuzz import ours_alone, right_calls, wrong_calls


@pytest.mark.unhooked("the annotations refuse wrong arguments first")
@pytest.mark.parametrize(
    ("fuzzer", "draws"),
    [(right_calls, 150), (wrong_calls, 450), (ours_alone, 150)],
    ids=["right", "wrong", "ours"],
)
def test_draws(fuzzer: object, draws: int) -> None:
    """No draw ends otherwise than as torch's, or in an error of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problems = [fuzzer.check(seed) for seed in range(draws)]  # type: ignore[attr-defined]

    assert not [problem for problem in problems if problem]
