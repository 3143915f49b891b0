"""Flags of samples that meet features, where these are as many."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model
from tests.diagnostics.small import said

SEQ, FEATURE = 5, 3


def resetting(size: int, *, right: bool, refuses: bool = False) -> Model:
    """Starts samples again where a flag says so; the state has as many features as the batch."""

    def compute(m: Any, x: Tensor, done: Tensor) -> Tensor:
        assert not refuses or not done[0].any()
        h = x.new_zeros(len(x), size)
        steps = []
        for t in range(x.shape[1]):
            keep = 1 - done[:, t].float()
            h = m.cell(x[:, t], h * (keep.unsqueeze(1) if right else keep))
            steps.append(h)
        return m.head(torch.stack(steps, 1))

    return Model(compute, cell=nn.GRUCell(FEATURE, size), head=nn.Linear(size, 2))


def rollout(size: int) -> tuple[Tensor, Tensor]:
    """Steps of episodes, some of which end inside."""
    done = torch.zeros(size, SEQ, dtype=torch.bool)
    done[1, 2] = done[2, 3] = True
    return torch.randn(size, SEQ, FEATURE), done


@pytest.mark.parametrize("size", [3, 4, 6])
@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.float])
def test_flags_of_samples_beside_features(size: int, dtype: torch.dtype) -> None:
    """Flags that switch features of all samples off are found; the right twin is not accused."""
    x, done = rollout(size)

    assert "depends on input 1 of sample 0" in said(resetting(size, right=False), x, done.to(dtype))
    report = rnnkit.verify(resetting(size, right=True), x, done.to(dtype))
    assert "batch" in report.checked
    assert report.notes == []


def test_what_is_said() -> None:
    """The message says which input meets what, and what to type."""
    assert said(resetting(6, right=False), *rollout(6)) == snapshot("""\
output of sample 1 depends on input 1 of sample 0
  first      cell (GRUCell), input of call 1
  cause      input 1, (batch, seq), meets features that are as many as samples
  fix        flags.unsqueeze(-1), where they meet (batch, feature)
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_flags_that_the_model_refuses() -> None:
    """Where the model takes no other flags, nothing is said."""
    report = rnnkit.verify(resetting(6, right=False, refuses=True), *rollout(6))

    assert "batch" in report.checked


def test_flags_of_steps_that_are_as_many() -> None:
    """A mask from steps to steps is none of samples, nor are flags that nothing reads."""

    def attend(m: Any, x: Tensor, seen: Tensor) -> Tensor:
        scores = (x @ x.mT).masked_fill(~seen, -torch.inf)
        return m.head(scores.softmax(2) @ x)

    head = nn.Linear(FEATURE, 2)
    x = torch.randn(SEQ, SEQ, FEATURE)
    report = rnnkit.verify(Model(attend, head=head), x, torch.ones(SEQ, SEQ).tril().bool())
    assert "batch" in report.checked

    def ignore(m: Any, x: Tensor, flags: Tensor) -> Tensor:
        assert len(flags) == 4
        return m.head(x)

    report = rnnkit.verify(Model(ignore, head=head), *rollout(4))
    assert "batch" in report.checked


def test_a_number_for_each_sample_or_feature() -> None:
    """Of one number each it is not known whether they are of samples or of features: a note."""
    model = Model(lambda m, x, w: m.gru(x)[1][0] * w, gru=nn.GRU(FEATURE, 6, batch_first=True))
    report = rnnkit.verify(model, torch.randn(6, SEQ, FEATURE), torch.tensor([0, 1] * 3))

    assert report.notes == snapshot(
        [
            "input 1, 6 numbers, is not cut with the samples: one for each sample meets (batch, feature) by .unsqueeze(-1)"
        ]
    )


@pytest.mark.parametrize(
    "take", [lambda pairs: pairs.mean(1), lambda pairs: pairs[0]], ids=["mean", "pick"]
)
def test_place_of_broadcasting(take: Any) -> None:
    """Where ``(batch, 1)`` meets ``(batch,)``, the place is there, and not what is made of it."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h = m.gru(x)[1][0]
        values = m.value(h)
        scale = h.sum(1)
        pairs = values * scale
        result: Tensor = take(pairs)
        return result

    gru, value = nn.GRU(FEATURE, 6, batch_first=True), nn.Linear(6, 1)
    message = said(Model(compute, gru=gru, value=value), torch.randn(4, SEQ, FEATURE))
    assert "by         mul\n" in message
