"""The causes and fixes of findings: a fix, typed, makes of the wrong model the right one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tests.diagnostics.typed_models  # noqa: F401 - it registers its models
from tests.diagnostics.corpus.forward import options_of
from tests.diagnostics.models_of_users import (
    findings,
    mask,
    model,
    numbers,
    over,
    reported,
    tokens,
)
from tests.diagnostics.typed import FIXES


@pytest.mark.parametrize("row", FIXES, ids=lambda row: row.compute.__name__)
@settings(max_examples=3)
@given(batch=st.integers(3, 5), seq=st.integers(6, 9))
def test_the_fix_of_a_cause_makes_the_right_model(row, batch, seq):
    """The finding names the cause; its fix, typed, gives the right model's numbers, and is clean."""
    inputs = row.given(batch, seq)
    options = options_of(row.told, inputs)
    report = reported(row.make("wrong"), *inputs, **options)
    found = {finding.probe: str(finding) for finding in report.findings}

    assert row.probe in found, report
    for word in row.words:
        assert word in found[row.probe]
    torch.testing.assert_close(row.make("typed")(*inputs), row.make("right")(*inputs))
    assert findings(row.make("typed"), *inputs, **options) == set()


def forecast(m, x):
    """Read steps, and decode others."""
    _, h = m.rnn(x)
    return m.head(m.decoder(h[0].expand(11, -1, -1))[0])


def packed_tags(m, words, valid):
    """Read words ``(seq, batch)`` up to each sample's length."""
    packed = pack_padded_sequence(m.words(words), valid.sum(0).int(), enforce_sorted=False)
    return pad_packed_sequence(m.rnn(packed)[0])[0] * valid.unsqueeze(2)


VALID = mask(torch.tensor([6, 9, 4, 7, 8]), 9).T.float()

#: Models that read (seq, batch, feature), as they are called without ``batch_dim``.
SEQ_FIRST = {
    "a layer": (lambda m, x: m.rnn(x)[0], {"rnn": nn.GRU(3, 6)}),
    "a loop": (
        lambda m, x: over(m.cell, x.transpose(0, 1)).transpose(0, 1),
        {"cell": nn.GRUCell(3, 6)},
    ),
    "another length": (
        forecast,
        {"rnn": nn.GRU(3, 6), "decoder": nn.GRU(6, 6), "head": nn.Linear(6, 2)},
    ),
    "packed words, which *alone* judges": (
        packed_tags,
        {"words": nn.Embedding(11, 6), "rnn": nn.GRU(6, 5)},
        (tokens(9, 5) * VALID.long(), VALID),
    ),
}


@pytest.mark.parametrize("name", SEQ_FIRST)
def test_the_other_axis_is_advised_where_it_is_clean(name):
    """A model that reads (seq, batch, ...) is told of ``batch_dim=1``, which finds nothing."""
    compute, parts, *given = SEQ_FIRST[name]
    net = model(compute, **parts)
    (inputs,) = given or [(numbers(7, 4, 3),)]

    told = reported(net, *inputs)

    assert findings(net, *inputs, batch_dim=1) == set()
    advised = [*told.findings] or [told]
    for message in map(str, advised):
        assert "rnnkit.verify(..., batch_dim=1)" in message


def test_a_call_of_the_users_is_not_the_place_of_a_mistake():
    """Of a flatten in ``call=`` and a wrong reshape in the model, the finding names the reshape."""

    def forward(m, rows):
        return m.head(m.rnn(rows.reshape(6, -1, 3))[0].reshape(-1, 6))

    def call(m, x):
        return m(x.flatten(0, 1)).view(len(x), 6, 4)

    net = model(forward, rnn=nn.GRU(3, 6), head=nn.Linear(6, 4))
    report = reported(net, numbers(4, 6, 3), causal=True, call=call)

    assert {finding.probe for finding in report.findings} >= {"batch", "causal"}
    for finding in report.findings:
        assert "where      reshape(6, -1, 3)" in str(finding)
