"""A number that is not finite hides no finding, makes none, and is reported."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rnnkit
from tests.diagnostics.corpus.runner import subject
from tests.diagnostics.models_of_users import (
    X,
    findings,
    gru,
    layered,
    mask,
    model,
    numbers,
    padded,
    reported,
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


def test_numbers_that_are_not_finite_are_counted():
    """The report says of which input numbers were replaced, and how many."""
    x = X.clone()
    x[1, 2, 0] = torch.nan
    x[3, 1, 1] = torch.inf
    report = rnnkit.verify(gru(), x)

    what = "input has 2 numbers that are not finite: it was judged with others in their place"
    assert report.notes[0] == what
    handled = layered(lambda m, x: m.gru(x.nan_to_num(0, 0, 0))[0])
    assert not any("not finite" in note for note in rnnkit.verify(handled, x).notes)


@pytest.mark.parametrize("width", [2, 5])
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_numbers_that_are_not_finite_beside_the_sequence(width, value):
    """A number of each sample that is not finite hides no finding, and makes none."""
    beside = numbers(4, width)
    spoiled = beside.clone()
    spoiled[2, 1] = value
    for leaks in (False, True):

        def forward(m, x, y, leaks=leaks):
            return m.gru(x)[0] + m.head(y - y.mean(0) * leaks).unsqueeze(1)

        net = layered(forward, head=nn.Linear(width, 6))
        report = reported(net, X, spoiled)

        assert {one.probe for one in report.findings} == findings(net, X, beside)
        assert "input[1] has 1 number that is not finite" in report.notes[0]


@pytest.mark.parametrize("refuses", [False, True])
def test_numbers_that_are_not_finite_where_no_gradient_shows_them(refuses):
    """A model is judged with finite numbers if its slopes are finite anyway, or if it needs them."""
    x = X.clone()
    x[1, 2, 0] = torch.nan
    for leaks in (False, True):

        def forward(m, x, leaks=leaks):
            assert not refuses or x.isfinite().all()
            return m.head(x - x.mean(0) * leaks).cumsum(1)

        net = model(forward, head=nn.Linear(3, 6))
        report = reported(net, x)

        assert {one.probe for one in report.findings} == ({"batch"} if leaks else set())
        assert "input has 1 number that is not finite" in report.notes[0]


def test_padding_of_nans_is_padding():
    """Padding that holds NaN tells the lengths as zeros do."""

    def pooled_with_mask(m, x, pad_mask):  # noqa: ARG001 - its name tells
        return m.gru(x)[0].mean(1)

    pooled = layered(pooled_with_mask)
    told = mask(LENGTHS).float()
    spoiled = PADDED.masked_fill(~mask(LENGTHS).unsqueeze(2), torch.nan)
    for x in (PADDED, spoiled):
        assert "alone" in findings(pooled, x, told)


def test_one_nan_within_padding_is_padding():
    """It gets the number of the other padding, by which a model may know where that is."""

    def known_by_zeros(m, x):
        valid = x.ne(0).any(2, keepdim=True)
        return (m.gru(x)[0] * valid).sum(1) / valid.sum(1)

    spoiled = PADDED.clone()
    spoiled[0, 5] = torch.nan
    for lengths in (None, LENGTHS):
        report = reported(layered(known_by_zeros), spoiled, lengths=lengths)

        assert report.findings == []
        assert "input has 3 numbers that are not finite" in report.notes[0]


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


def test_a_gradient_too_large_once_enlarged_is_a_number():
    """What is a NaN only since the sum is enlarged is judged by the sum as it is."""
    half = torch.tensor([1.0, 0.0]).repeat(3)
    net = layered(lambda m, x: m.gru(x)[0] * half * 1e25)

    assert "gradient" in rnnkit.verify(net, X).checked


def test_outputs_without_a_finite_number():
    """No probe says ok of what such outputs use, nor does a note that an input reaches none."""
    report = reported(layered(lambda m, x: m.gru(x)[0] * torch.nan), X)

    assert report.checked == ["repeatable"]
    assert not report.notes
