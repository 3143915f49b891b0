"""What ``verify`` reports, skips and refuses."""

import re
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    LENGTHS,
    SEQ,
    TWINS,
    Model,
    mask,
    numbers,
    padded,
    reason,
    tokens,
)
from tests.diagnostics.small import gru


def text(report: rnnkit.Report) -> str:
    """Write a report without the time that it took."""
    return re.sub(r"\d+\.\d\d s", "... s", str(report))


@pytest.mark.unhooked("beartype draws what it looks at of a list: a run more")
def test_report() -> None:
    """A report has a line for each probe."""
    twin = TWINS["pooled padding"]
    report = rnnkit.verify(twin.make(nn, True), *twin.inputs(), **twin.options)

    assert text(report) == snapshot("""\
rnnkit.verify: no leak found (8 probes judged; 19 forward passes, ... s)
  ok  repeatable  twice the same input, twice the same output
  ok  batch       4 samples, each on its own
  ok  alone       a sample alone, cut to its length, gives what it gives in the batch
  ok  padding     what is beyond a length does not matter
  ok  memory      the last output depends on earlier steps
  ok  coverage    6 of 7 steps, each reaches an output
  ok  use         outputs and states of 1 layer call
  ok  gradient    each recurrent module gets a gradient
  axes  input[0] (batch, seq, 3), input[1] (batch), output (batch, 2)\
""")
    assert repr(report) == str(report)
    assert report.seconds > 0


@pytest.mark.unhooked("beartype draws what it looks at of a list: a run more")
def test_report_of_what_was_skipped() -> None:
    """What cannot be tried stands in the report with its reason."""
    report = rnnkit.verify(nn.Linear(3, 2), numbers(1, 3), causal=True, skip=["repeatable"])

    assert text(report) == snapshot("""\
rnnkit.verify: nothing was judged: the batch has one sample; give two or more (1 probe judged, 1 skipped, 7 not possible; 5 forward passes, ... s)
  --  repeatable  left out by the caller
  --  batch       the batch has one sample; give two or more
  --  alone       the batch has one sample; give two or more
  --  padding     no lengths were given
  --  causal      no output has the steps of the input; give out_seq_dim
  --  memory      no module has a state; a loop over functions is not seen
  ok  coverage    2 of 3 steps, each reaches an output
  --  use         no module has a state
  --  gradient    no module with a state ran
  axes  input (batch, seq), output (batch, 2)\
""")


def test_fixed_batch_size() -> None:
    """A model that cannot run on one sample is judged by the other probes."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x, torch.zeros(1, BATCH, 6))[0]

    report = rnnkit.verify(Model(compute, gru=gru()), numbers(BATCH, SEQ, FEATURE))

    assert reason(report, "alone") == snapshot(
        "the model does not run on one sample: RuntimeError: Expected hidden size (1, 1, 6), got [1, 4, 6]"
    )
    assert {"batch", "memory", "repeatable"} <= set(report.checked)


def test_fixed_large_batch_size() -> None:
    """A model that runs on its own batch size alone is tried on all of the batch."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x, torch.zeros(1, 80, 6))[0]

    report = rnnkit.verify(Model(compute, gru=gru()), numbers(80, SEQ, FEATURE))

    assert {"batch", "memory", "repeatable"} <= set(report.checked)
    assert report.passes < 40


def test_scalar_output() -> None:
    """A loss has no axis to judge, which is said."""
    report = rnnkit.verify(
        Model(lambda m, x: m.gru(x)[0].mean(), gru=gru()), numbers(BATCH, SEQ, FEATURE)
    )

    assert reason(report, "batch") == snapshot("no output follows the batch")
    assert report.checked == ["repeatable", "use", "gradient"]


def test_lost_batch_axis() -> None:
    """A squeeze that takes the batch axis with it is noted."""
    model = Model(lambda m, x: m.gru(x)[1].squeeze(), gru=gru())

    assert rnnkit.verify(model, numbers(BATCH, SEQ, FEATURE)).notes == snapshot(
        ["a batch of one has lost its batch axis: output (6,)"]
    )


def test_padding_unknown() -> None:
    """A model that is told no lengths is not blamed for reading what it knows by its value."""

    def compute(m: Any, x: Tensor) -> Tensor:
        valid = (x != 0).any(-1, keepdim=True)
        return (m.gru(x)[0] * valid).sum(1) / valid.sum(1)

    report = rnnkit.verify(Model(compute, gru=gru()), padded()[0], lengths=LENGTHS)

    assert reason(report, "padding") == snapshot(
        "the model gets no lengths: it may know padding by its value"
    )
    assert "alone" in report.checked


def test_padding_beside_a_mask() -> None:
    """A mask of booleans is no sequence of tokens: the padding is tried."""

    def compute(m: Any, x: Tensor, valid: Tensor) -> Tensor:
        return m.gru(x)[0] * valid.unsqueeze(-1)

    x, lengths = padded()
    report = rnnkit.verify(Model(compute, gru=gru()), x, mask(lengths), lengths=LENGTHS)

    assert "padding" in report.checked


def test_padding_read() -> None:
    """Padding that is read shows in the padding probe, where samples are not run alone."""
    twin = TWINS["pooled padding"]
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(twin.make(nn, False), *twin.inputs(), **twin.options, skip=["alone"])

    assert str(error.value) == snapshot("""\
output of sample 0 depends on what is beyond its length of 3 steps
  fix        mask what is beyond each length before it is pooled or passed on, or pack it
  intended?  rnnkit.verify(..., skip=['padding'])
  more       python -m rnnkit explain padding\
""")


def test_padding_in_front() -> None:
    """Padding may be before a sample, and is then found there."""

    def compute(m: Any, x: Tensor, valid: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 6)
        for x_t, now in zip(x.unbind(1), valid.unbind(1), strict=True):
            h = torch.where(now.unsqueeze(1), m.cell(x_t, h), h)
        return h

    x, lengths = padded()
    model, turned = Model(compute, cell=nn.GRUCell(FEATURE, 6)), mask(lengths).flip(1)
    report = rnnkit.verify(model, x.flip(1), turned, lengths=LENGTHS, pad="pre")
    assert "alone" in report.checked

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(gru(), x.flip(1), lengths=LENGTHS, pad="pre")
    assert error.value.probe == "alone"


@pytest.mark.parametrize("dim", [0, 1])
def test_model_that_ignores_its_input(dim: int) -> None:
    """A model without a recurrent module is not asked to remember, as a loop of its own is not."""
    report = rnnkit.verify(nn.Linear(3, 2), numbers(4, 5, 3), batch_dim=dim)

    assert reason(report, "memory") == snapshot(
        "no module has a state; a loop over functions is not seen"
    )


def test_exception_of_the_model() -> None:
    """What the model raises on the batch as it is reaches the caller."""
    with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size"):
        rnnkit.verify(gru(), numbers(BATCH, SEQ, 5))


def test_tokens_are_replaced_by_tokens() -> None:
    """A model of few tokens is never given one that the batch has not."""
    seen: set[int] = set()

    def compute(m: Any, x: Tensor) -> Tensor:
        seen.update(x.flatten().tolist())
        return m.gru(m.embed(x))[0]

    x = tokens(BATCH, SEQ)
    rnnkit.verify(Model(compute, embed=nn.Embedding(11, FEATURE), gru=gru()), x, causal=True)

    assert seen == set(x.flatten().tolist())


class Named(nn.Module):
    """Takes what it adds by keyword, and returns its output many times."""

    def __init__(self) -> None:
        """Make a layer."""
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: Tensor, pairs: list[Tensor], *, bias: Tensor) -> dict[str, Any]:
        """Return the steps, and multiples of the state."""
        output, h_n = self.gru(x, pairs[0][None])
        return {"steps": output + bias, **{f"h{k}": h_n * k for k in range(1, 8)}}


def test_axes_that_were_found() -> None:
    """The report names each input and output with its axes, by name or size; of many, the first."""
    report = rnnkit.verify(
        Named(), numbers(5, 7, 3), [numbers(5, 4)], kwargs={"bias": numbers(2, 1, 7, 4)[0]}
    )

    assert report.axes["bias"] == (1, 7, 4)
    assert report.axes["output['h7']"] == (1, "batch", 4)
    assert str(report).splitlines()[-1] == snapshot(
        "  axes  input[0] (batch, seq, 3), input[1][0] (batch, 4), bias (1, 7, 4), output['steps'] (batch, seq, 4), output['h1'] (1, batch, 4), output['h2'] (1, batch, 4), output['h3'] (1, batch, 4), output['h4'] (1, batch, 4), and 3 more"
    )
