"""Right models whose values hide what a probe looks for: saturated, flagged, switched off, picked."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers, reason

X = numbers(BATCH, SEQ, FEATURE)
TIMES = torch.rand(BATCH, SEQ, device="cpu").cumsum(1)


def cells(m: Any, x: Tensor, *others: Tensor) -> Tensor:
    """Run a cell over the steps: state and input are wiped where a flag says so."""
    h, ys = x.new_zeros(len(x), HIDDEN), []
    for step in range(x.shape[1]):
        flag = others[0][:, step].unsqueeze(1) if others else torch.zeros(1, 1, device="cpu")
        if m.what == "start":
            h = h * (1 - flag)
        new = m.cell(x[:, step], h)
        h = torch.where(flag > 0, h, new) if m.what == "missing" else new
        ys.append(h)
    return torch.stack(ys, 1)


def model(what: str) -> Model:
    """Make a model of one cell, with or without flags."""
    torch.manual_seed(0)
    made = Model(cells, cell=nn.GRUCell(FEATURE, HIDDEN))
    made.what = what
    return made


def flags(step: int) -> Tensor:
    """Return flags that mark one step of all samples, beside some of single samples."""
    made = torch.zeros(BATCH, SEQ, device="cpu")
    made[0, 1] = 1.0
    made[:, step] = 1.0
    return made


def test_every_sample_starts_anew_at_the_last_step() -> None:
    """Episodes that end together hide the memory, and another flag shows it."""
    report = rnnkit.verify(model("start"), X, flags(SEQ - 1), causal=True)
    assert "memory" in report.checked


def test_state_that_is_kept_at_the_flags_alone_is_found() -> None:
    """The flags the wrong way round are no reason: what is usual is at the last step."""
    with pytest.raises(rnnkit.LeakError, match="nothing is remembered"):
        rnnkit.verify(model("start"), X, 1 - flags(2))


def test_step_that_is_missing_in_every_sample() -> None:
    """A step that a flag switches off in the whole batch need not reach an output."""
    report = rnnkit.verify(model("missing"), X, flags(3), causal=True)
    assert "coverage" in report.checked


def test_large_numbers_hold_the_units_at_their_ends() -> None:
    """What is saturated shows its memory with smaller numbers."""

    def saturated(m: Any, x: Tensor) -> Tensor:
        h, ys = x.new_zeros(len(x), HIDDEN), []
        for step in range(x.shape[1]):
            h = m.cell(x[:, step], h)
            ys.append(torch.tanh(x[:, step] @ m.weight + h))
        return torch.stack(ys, 1)

    torch.manual_seed(0)
    made = Model(saturated, cell=nn.GRUCell(FEATURE, HIDDEN))
    made.weight = nn.Parameter(torch.randn(FEATURE, HIDDEN, device="cpu"))
    assert "memory" in rnnkit.verify(made, X * 1e5).checked


def test_cell_whose_state_no_further_step_takes() -> None:
    """Of a sequence of one step, the cell at the end of a loop is used by nobody: a note says so."""

    def prior(m: Any, x: Tensor) -> Tensor:
        h, ys = x.new_zeros(len(x), HIDDEN), []
        for step in range(x.shape[1]):
            ys.append(m.head(torch.cat([x[:, step], h], 1)))
            h = m.cell(x[:, step], h)
        return torch.stack(ys, 1)

    made = Model(prior, cell=nn.GRUCell(FEATURE, HIDDEN), head=nn.Linear(FEATURE + HIDDEN, 2))
    report = rnnkit.verify(made, X[:, :1])
    assert any("of one step" in note for note in report.notes)


def nearest(m: Any, x: Tensor) -> Tensor:
    """Return the nearest of many codes, in mixed precision."""
    with torch.autocast("cpu", torch.bfloat16):
        y = m.gru(x)[0]
        code = m.codes[torch.cdist(y.float(), m.codes.expand(len(y), -1, -1)).argmin(2)]
    return y + (code - y).detach()


def test_codes_that_rounding_picks() -> None:
    """In a batch of other sizes rounding picks another code, and in float64 it does not."""
    for seed in range(6):
        torch.manual_seed(seed)
        gru = nn.GRU(FEATURE, HIDDEN, batch_first=True)
        made = Model(nearest, gru=gru)
        made.codes = nn.Parameter(torch.randn(200, HIDDEN, device="cpu") * 0.3)
        report = rnnkit.verify(made, numbers(4, 30, FEATURE), causal=True, raises=False)
        assert report.findings == []


def test_numbers_that_are_refused_out_of_their_range() -> None:
    """What is refused is tried within the range that occurs, and times stay in order."""

    def timed(m: Any, x: Tensor, times: Tensor) -> Tensor:
        assert bool(((x >= 0) & (x <= 1)).all())
        assert bool((times.diff(dim=1) >= 0).all())
        return m.gru(torch.cat([x, times.unsqueeze(2)], 2))[0]

    torch.manual_seed(0)
    made = Model(timed, gru=nn.GRU(FEATURE + 1, HIDDEN, batch_first=True))
    report = rnnkit.verify(made, X.sigmoid(), TIMES, causal=True)
    assert {"batch", "causal", "memory"} <= set(report.checked)


def test_times_in_order_hide_no_lost_state() -> None:
    """Other values within the range are those of the inputs that were changed, not of the first."""

    def forgetful(m: Any, x: Tensor, times: Tensor) -> Tensor:
        assert bool((times.diff(dim=1) >= 0).all())
        steps = torch.cat([x, times.unsqueeze(2)], 2)
        start = x.new_zeros(len(x), HIDDEN)
        return torch.stack([m.cell(steps[:, step], start) for step in range(x.shape[1])], 1)

    made = Model(forgetful, cell=nn.GRUCell(FEATURE + 1, HIDDEN))
    with pytest.raises(rnnkit.LeakError, match="nothing is remembered"):
        rnnkit.verify(made, X, TIMES * 10, skip=["use"])


def test_what_is_refused_all_the_same() -> None:
    """Times that may not be others at all leave nothing to change."""

    def exact(m: Any, times: Tensor) -> Tensor:
        assert bool(torch.isin(times, TIMES).all())
        return m.gru(times.unsqueeze(2))[0]

    made = Model(exact, gru=nn.GRU(1, HIDDEN, batch_first=True))
    report = rnnkit.verify(made, TIMES)
    assert "refuses" in reason(report, "batch")
