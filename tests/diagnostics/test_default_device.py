"""The diagnostics judge a model on the CPU, whatever ``torch.set_default_device`` says."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

import rnnkit
from tests.diagnostics.corpus.runner import subject

#: Models of the corpus: with tokens, loops, windows, plain numbers, and what is told of them.
NAMES = [
    "logits_of_all_words",
    "cell_state_that_is_forgotten",
    "chunks_that_start_afresh",
    "output: numbers of Python beside",
    "padding_in_front",
    "target_that_is_not_shifted",
    "last_step_of_both_directions",
]


def told(run: Callable[[], Any]) -> str:
    """Return what a diagnostic says, but for the seconds; of an error, its text."""
    try:
        result = run()
    except (AssertionError, rnnkit.RnnkitError) as error:
        result = error
    return "\n".join(line.partition(" forward passes")[0] for line in f"{result}".split("\n"))


@pytest.mark.parametrize("name", NAMES)
def test_same_text(name: str) -> None:
    """What a diagnostic says of a model, right or wrong, is the same."""
    for right in (True, False):
        model, inputs, options = subject(name, right=right, library=rnnkit.nn)
        for run in (
            partial(rnnkit.verify, model, *inputs, **options, raises=False),
            partial(rnnkit.testing.assert_no_leak, model, *inputs, **options),
            partial(rnnkit.trace, model, *inputs),
            partial(rnnkit.dependency_map, model, *inputs),
        ):
            expected = told(run)
            with torch.device("meta"):
                assert told(run) == expected
