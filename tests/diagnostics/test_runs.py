"""How many runs ``verify`` makes, and what it says where they are spent."""

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rnnkit
from rnnkit._diagnostics import verify
from rnnkit._diagnostics.tell.outcome import SPENT
from tests.diagnostics.models_of_users import (
    COUNTS,
    FEATURE,
    PADDED,
    SEQ,
    X,
    gru,
    layered,
    numbers,
    reported,
)


@settings(max_examples=6)
@given(
    inputs=st.integers(1, 6),
    outputs=st.integers(1, 5),
    unread=st.integers(0, 12),
    is_fixed=st.booleans(),
)
def test_runs_do_not_grow_with_inputs_and_outputs(inputs, outputs, unread, is_fixed):
    """A model of many inputs and outputs runs 48 times at most; a note says what was left out."""

    def forward(m, *parts):
        xs = parts[:inputs]
        places = m.places if is_fixed else m.places[: xs[0].shape[1]]
        y, h = m.gru(sum(xs) + places, lengths=parts[inputs])
        return [y * (k + 1) for k in range(outputs)], (h, h + 1)

    layer = rnnkit.GRU(FEATURE, 6, batch_first=True, bidirectional=True)
    net = layered(forward, gru=layer, places=nn.Parameter(numbers(SEQ, FEATURE)))
    parts = [PADDED] * inputs + [COUNTS] + [numbers(4, 5)] * unread
    report = reported(net, *parts, lengths=dict.fromkeys(range(inputs), COUNTS))

    assert report.findings == []
    assert report.passes <= 48
    told = sum("no output depends on" in note for note in report.notes)
    is_left_out = any("after 48 runs, verify wrote no notes on" in note for note in report.notes)
    assert told == unread or is_left_out
    assert "batch" in report.checked


def test_runs_of_a_loss_whose_samples_mix():
    """The other axis of waves ``(batch, 144)`` is tried as the samples, and not in 144 runs."""

    def forward(m, waves, targets):
        return (m.gru(waves.view(4, 12, 12))[0].sum((1, 2)) - targets).square().mean()

    net = layered(forward, gru=nn.GRU(12, 6))
    report = reported(net, numbers(4, 144), numbers(4))

    assert [found.probe for found in report.findings] == ["batch"]
    assert report.passes <= 60


@pytest.mark.parametrize("runs", [1, 8, 12, 16])
def test_what_is_not_asked_after_too_many_runs(runs):
    """Where the runs are spent a probe is skipped, never ok: the first line names it, or the reason."""
    full = reported(gru(), X)
    with mock.patch.object(verify, "RUNS", runs):
        report = reported(gru(), X)

    skipped = [one for one in report.checks if one.detail == SPENT]
    checks = [one for one in report.checks if one not in skipped]
    assert all(one in full.checks for one in checks)
    assert bool(skipped) == (runs < 10)
    assert any("verify wrote no notes on" in note for note in report.notes) == (runs < full.passes)
    assert all(one.probe in report.headline for one in skipped) or not report.judged
    assert report.passes <= max(runs, 5)  # verify itself takes five to find dtype and axes
