"""The page "Which error is it?" and rnnkit name the same cause of a state with wrong sizes."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnkit
from tests.places import ROOT

PAGE = (ROOT / "docs" / "which-error.md").read_text("utf-8").partition("\n## Other messages")[0]
#: The conditions of the page in their order, each with the code of its cause.
QUESTIONS = re.findall(
    r"^\d+\. \*\*(?:`(.+?)`|(otherwise))\*\*.*?`([a-z-]+)`$", PAGE, re.MULTILINE | re.DOTALL
)
#: What a layer that has batch_first=True says of the other layout.
SAME = {"layout-seq-first": "layout-batch-first"}


def asked(sizes):
    """Return the code of the first question of the page that sizes answer with yes."""
    for condition, _, code in QUESTIONS:
        if not condition or eval(condition, dict(sizes)):  # noqa: S307 - our own page
            return code
    return ""


@settings(max_examples=200)
@given(data=st.data(), kind=st.sampled_from(["RNN", "LSTM", "GRU"]))
def test_the_page_asks_as_the_checks_do(data, kind):
    """The first condition that holds has the code of the error, whatever sizes the state has."""
    size = st.integers(1, 6)
    layers = data.draw(size)
    hidden = data.draw(size)
    bidirectional = data.draw(st.booleans())
    steps = data.draw(size)
    batch = data.draw(size)
    batch_first = data.draw(st.booleans())
    rows = layers * (1 + bidirectional)
    came = (
        data.draw(st.sampled_from([rows, 2 * rows, rows // 2, batch, steps, 1, 3])),
        data.draw(st.sampled_from([batch, steps, rows, 1, 2 * batch, 5])),
        data.draw(st.sampled_from([hidden, hidden // 2, hidden * (1 + bidirectional), 2])),
    )
    layer = getattr(rnnkit, kind)(
        3, hidden, layers, bidirectional=bidirectional, batch_first=batch_first
    )
    x = torch.zeros((batch, steps, 3) if batch_first else (steps, batch, 3))
    state = torch.zeros(came)
    if 0 in came or came == (rows, batch, hidden):
        return

    with pytest.raises(rnnkit.ShapeError) as caught:
        layer(x, (state, state) if kind == "LSTM" else state)

    sizes = dict(zip("ABHabh", (rows, batch, hidden, *came), strict=True))
    known = {"T": steps, "bidirectional": bidirectional, "output": layer(x)[0]}
    expected = asked({**sizes, **known})
    assert SAME.get(caught.value.code, caught.value.code) == expected


def test_the_page_has_all_causes():
    """Each cause that the law above can meet is on the page, and the last one needs no condition."""
    assert len(QUESTIONS) == len(re.findall(r"^\d+\. ", PAGE, re.MULTILINE))
    assert QUESTIONS[-1][1] == "otherwise"
