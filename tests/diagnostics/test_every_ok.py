"""``verify`` says ok only of what it looked at: laws over steps, samples, lengths and losses."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import (
    X,
    findings,
    gru,
    layered,
    mask,
    model,
    numbers,
    over,
    padded,
    reported,
    tokens,
)

PADDED, LENGTHS = padded()


def looping(forward, **attributes):
    """Make a model of a forward and a cell, ``m.cell``, beside its attributes."""
    return model(forward, cell=nn.GRUCell(3, 6), **attributes)


@settings(max_examples=20)
@given(data=st.data(), steps=st.integers(4, 24), how=st.sampled_from(["zero", "cut", "token"]))
def test_coverage_is_ok_only_if_each_step_is_read(data, steps, how):
    """Coverage is ok if no step is left out; else its row, and the first line, name the steps."""
    gone = data.draw(st.sets(st.integers(1, steps - 1), max_size=3))
    keep = torch.tensor([step not in gone for step in range(steps)])

    def forward(m, x):
        if how == "token":
            x = m.embedding(x)
        return over(m.cell, x * keep[:, None] if how == "zero" else x[:, keep])

    net = looping(forward, embedding=nn.Embedding(11, 3))
    x = tokens(4, steps) if how == "token" else numbers(4, steps, 3)
    report = reported(net, x, skip=["gradient"])
    [check] = [check for check in report.checks if check.probe == "coverage"]

    assert (check.outcome == "passed") == (not gone)
    if gone and not report.findings:
        assert check.detail in report.headline
        assert all(str(step) in check.detail for step in (min(gone), max(gone)))


@pytest.mark.parametrize("name", ["x_lengths", "n", "valid", "sizes"])
def test_lengths_are_seen_through_a_call_and_other_names(name):
    """With ``call=``, lengths are known by its arguments; of another name, a line points at them."""
    pooled = layered(lambda m, x, _: m.gru(x)[0].mean(1))
    call = eval(f"lambda model, x, {name}: model(x, {name})")  # noqa: S307
    report = reported(pooled, PADDED, LENGTHS, call=call)
    is_told = any(f"input[1] looks like lengths: pass lengths={name}" in x for x in report.notes)

    assert bool(report.findings) == (name == "x_lengths")
    assert is_told == (name != "x_lengths")
    unpadded = reported(pooled, X, LENGTHS, call=call)
    assert not any("looks like lengths" in note for note in unpadded.notes)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), batch=st.integers(2, 6), batch_first=st.booleans())
def test_a_batch_with_one_longest_sample(seed, batch, batch_first):
    """Swapped axes are found, and right ones judged, if the model cuts the batch to its longest."""
    generator = torch.Generator().manual_seed(seed)
    n = torch.randperm(9, generator=generator)[:batch] + 2
    x = torch.randint(2, 50, (batch, 12), generator=generator)
    x = torch.where(mask(n, 12), x, 1)

    def forward(m, x, sizes):
        return m.gru(m.embedding(x[:, : sizes.max()]))[0]

    net = model(forward, gru=gru(batch_first=batch_first), embedding=nn.Embedding(50, 3))

    assert findings(net, x, n) == (set() if batch_first else {"batch"})
    if batch_first:
        assert {"batch", "alone"} <= set(rnnkit.verify(net, x, n).checked)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_state_that_is_dropped_in_a_call_over_samples(batch):
    """Memory is judged if ``call=`` runs over samples, and each of them over its steps."""

    def forward(m: Any, x_t: Tensor, h: Tensor | None = None) -> Any:
        h = h if m.right or h is None else torch.zeros_like(h)
        y, h = m.gru(x_t.view(1, 1, -1), h)
        return y.view(-1), h

    def steps_of(net, sample):
        h = None
        for x_t in sample:
            y, h = net(x_t, h)
            yield y

    def call(net, x):
        return torch.stack([torch.stack([*steps_of(net, sample)]) for sample in x])

    x = numbers(batch, 9, 3)
    for right in (True, False):
        net = layered(forward, gru=nn.GRU(3, 6), right=right)

        assert ("memory" in findings(net, x, call=call)) == (not right)
