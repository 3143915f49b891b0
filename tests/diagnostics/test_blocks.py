"""A state that starts afresh inside of one call: what depends on what has exact blocks then."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, Model, numbers, reason
from tests.diagnostics.models_that_stream import lstm


def test_text_of_blocks() -> None:
    """Chunks inside of one call that start afresh are found when streaming is asked for."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(chunked(fixed=False), numbers(BATCH, 12, FEATURE), streaming=True)

    assert str(error.value) == snapshot("""\
step 4 of the output reads no earlier step, though step 3 does
  first      lstm (LSTM), called 3 times
  cause      it starts each block from zeros: the state that it returned is lost
  fix        y, state = layer(x, state)
  intended?  rnnkit.verify(..., skip=['streaming'])
  more       streaming, in the docs under "Errors"\
""")
    report = rnnkit.verify(chunked(fixed=True), numbers(BATCH, 12, FEATURE), streaming=True)
    assert reason(report, "streaming") == "the model returns no state that it takes"


def chunked(fixed: bool) -> nn.Module:
    """Cut the sequence in chunks of four, inside of forward."""

    def compute(m: Any, x: Tensor) -> Tensor:
        state, outputs = None, []
        for part in x.split(4, 1):
            output, new = m.lstm(part, state)
            state = new if fixed else None
            outputs.append(output)
        return torch.cat(outputs, 1)

    return Model(compute, lstm=lstm())


def test_blocks_are_a_note() -> None:
    """Unasked, a dependency in exact blocks is a note; a state that goes on is none."""
    x = numbers(BATCH, 12, FEATURE)
    assert rnnkit.verify(chunked(fixed=False), x).notes == snapshot(
        ["the output reads the input in blocks of 4 steps: a state starts afresh there"]
    )
    assert rnnkit.verify(chunked(fixed=True), x).notes == []


def test_blocks_in_a_map() -> None:
    """A map says of blocks how long they are."""
    x = numbers(BATCH, 12, FEATURE)
    assert rnnkit.dependency_map(chunked(fixed=False), x, dim=1).finding == snapshot(
        "each depends on its own block of 4 alone: a state starts afresh"
    )
    assert rnnkit.dependency_map(chunked(fixed=True), x, dim=1).finding == (
        "each depends on its own and earlier inputs"
    )
