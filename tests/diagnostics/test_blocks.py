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
  more       python -m rnnkit explain streaming\
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


def folded(m: Any, x: Tensor) -> Tensor:
    """All chunks in one call, as samples of a batch."""
    return m.lstm(x.unflatten(1, (3, 4)).flatten(0, 1))[0].unflatten(0, (-1, 3)).flatten(1, 2)


def folded_but_the_last(m: Any, x: Tensor) -> Tensor:
    """Two calls whose states have other sizes."""
    two = m.lstm(x[:, :8].unflatten(1, (2, 4)).flatten(0, 1))[0]
    return torch.cat([two.unflatten(0, (-1, 2)).flatten(1, 2), m.lstm(x[:, 8:])[0]], 1)


def from_the_last(m: Any, x: Tensor) -> Tensor:
    """Chunk by chunk, the last one first."""
    return torch.cat([m.lstm(part)[0] for part in x.split(4, 1)[::-1]][::-1], 1)


def without_what_is_no_number(m: Any, x: Tensor) -> Tensor:
    """Pass the state on, what is no number made zeros."""
    state, outputs = None, []
    for part in x.split(4, 1):
        output, new = m.lstm(part, state)
        state = tuple(one.nan_to_num() for one in new)
        outputs.append(output)
    return torch.cat(outputs, 1)


@pytest.mark.parametrize(
    "compute", [folded, folded_but_the_last, from_the_last, without_what_is_no_number]
)
def test_blocks_that_no_lost_state_makes(compute: Any) -> None:
    """Blocks are no finding where no call of a layer could have had the state of the one before."""
    x = numbers(BATCH, 12, FEATURE)
    report = rnnkit.verify(Model(compute, lstm=lstm()), x, streaming=True)
    assert reason(report, "streaming") == "the model returns no state that it takes"


def test_blocks_of_tokens_that_are_all_alike() -> None:
    """Where no other input can be drawn, blocks are no finding."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.cat([m.lstm(part)[0] for part in m.words(x).split(4, 1)], 1)

    model = Model(compute, words=nn.Embedding(11, FEATURE), lstm=lstm())
    report = rnnkit.verify(model, torch.full((BATCH, 12), 3), streaming=True)
    assert reason(report, "streaming") == "the model returns no state that it takes"


def test_map_of_a_step_that_is_not_read() -> None:
    """A map of which a step reaches no output is not looked at for blocks."""
    model = Model(lambda m, x: m.lstm(nn.functional.pad(x[:, :-1], (0, 0, 0, 1)))[0], lstm=lstm())
    assert rnnkit.dependency_map(model, numbers(BATCH, 12, FEATURE), dim=1).finding == (
        "each depends on its own and earlier inputs"
    )


def test_blocks_in_a_map() -> None:
    """A map says of blocks how long they are."""
    x = numbers(BATCH, 12, FEATURE)
    assert rnnkit.dependency_map(chunked(fixed=False), x, dim=1).finding == snapshot(
        "each depends on its own block of 4 alone: a state starts afresh"
    )
    assert rnnkit.dependency_map(chunked(fixed=True), x, dim=1).finding == (
        "each depends on its own and earlier inputs"
    )
