"""A number that is not finite hides no finding, makes none, and is reported."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnkit
from tests.diagnostics.corpus.runner import subject
from tests.diagnostics.models_of_users import (
    X,
    findings,
    gru,
    padded,
)

PADDED, LENGTHS = padded()


#: Mistakes of the corpus, of each probe that judges, with numbers in their input.
SPOILED = [
    "last_step_of_both_directions",
    "first_step_only",
    "state_cut_at_each_step",
    "chunks_that_start_afresh",
    "pooled_padding",
    "samples_that_stay_sorted",
    "two_steps_ahead",
    "output: steps first",
    "targets_without_an_axis",
]


@pytest.mark.parametrize("name", SPOILED)
@settings(max_examples=3)  # each verifies four times
@given(data=st.data(), value=st.sampled_from([torch.nan, torch.inf, -torch.inf]))
def test_one_number_that_is_not_finite_hides_no_finding(name, data, value):
    """What is found on a batch is found with one number in it that is not finite; nothing else is."""
    for right in (True, False):
        torch.manual_seed(0)
        net, (x, *rest), options = subject(name, right=right)
        place = data.draw(st.integers(0, x.numel() - 1))
        spoiled = x.clone(memory_format=torch.contiguous_format)
        spoiled.view(-1)[place] = value

        assert findings(net, spoiled, *rest, **options) == findings(net, x, *rest, **options)


@settings(max_examples=3)  # each draws eight maps
@given(place=st.integers(0, X.numel() - 1), value=st.sampled_from([torch.nan, torch.inf]))
def test_a_map_has_no_holes(place, value):
    """A map of a batch with a number that is not finite is the map without it, and says so."""
    spoiled = X.clone()
    spoiled.view(-1)[place] = value
    layer = gru()
    for dim in (0, 1):
        expected, found = (rnnkit.dependency_map(layer, x, dim=dim) for x in (X, spoiled))

        assert torch.equal(expected.matrix, found.matrix)
        assert "input has 1 number that is not finite" in found.notes[0]
