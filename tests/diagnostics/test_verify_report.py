"""What ``verify`` reports, how it calls a model, and what becomes of what is found."""

import html
import random
import re
import sys

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn

import rnnkit
from rnnkit.testing import assert_no_leak
from tests.diagnostics.models_of_users import (
    COUNTS,
    PADDED,
    X,
    gru,
    layered,
    model,
    numbers,
    reported,
    tokens,
    within,
)


def outputs_of(m, x):
    """Run."""
    return m.gru(x)[0]


def masked(m, x, n):
    """Run, and leave out what is beyond a length."""
    return within(outputs_of(m, x), n)


def text(report):
    """Write a report without the time that it took."""
    return re.sub(r"\d+\.\d\d s", "... s", str(report))


@pytest.mark.unhooked("beartype draws what it looks at of a list: a run more")
def test_report():
    """A report has a line for each probe, and what it costs."""
    mean = layered(lambda m, x, n: masked(m, x, n).sum(1) / n.unsqueeze(1))
    report = rnnkit.verify(mean, PADDED, COUNTS, lengths=COUNTS)

    assert text(report) == snapshot("""\
rnnkit.verify: no leak found (17 forward passes, ... s)
  ok  repeatable  the same input twice returns the same output
  ok  batch       no sample's output depends on another sample (4 of 4 tried)
  ok  alone       a sample by itself, cut to its length, returns what it returns in the batch (2 of 4 tried)
  ok  padding     no output depends on the padding
  ok  memory      the last output depends on earlier steps
  ok  coverage    every valid step (7 of 7) reaches an output
  ok  use         the outputs and states of 1 layer call are not mixed up
  ok  gradient    each parameter that the call reads gets a gradient
  axes  input[0] (batch, seq, 3), input[1] (batch), output (batch, 6)\
""")
    assert repr(report) == str(report)
    assert report.seconds > 0


@pytest.mark.unhooked("beartype draws what it looks at of a list: a run more")
def test_report_of_what_was_skipped():
    """What cannot be tried stands in the report with its reason; a report of nothing is one, too."""
    report = rnnkit.verify(nn.Linear(3, 2), numbers(1, 3), causal=True, skip="repeatable")

    assert text(report) == snapshot("""\
rnnkit.verify: no dependency could be checked: the batch has one sample: pass two or more (6 forward passes, ... s)
  ok  coverage    every valid step (3 of 3) reaches an output
  ok  gradient    each parameter that the call reads gets a gradient
  --  repeatable  not checked: left out by skip=
  --  batch       not checked: the batch has one sample: pass two or more
  --  alone       not checked: the batch has one sample: pass two or more
  --  padding     does not apply: no lengths were given
  --  causal      not checked: verify found no output with the steps of the input; if the first one has them, pass out_seq_dim=
  --  memory      does not apply: no recurrent module was seen; a loop of plain functions is not recognized
  --  use         does not apply: no recurrent module was seen
  axes  input (batch, seq), output (batch, 2)\
""")
    assert str(rnnkit.Report()) == snapshot(
        "rnnkit.verify: no dependency could be checked (0 forward passes, 0.00 s)"
    )


def test_axes_that_were_found():
    """The report names each input and output with its axes, by name or size; of many, the first."""

    def forward(m, x, pairs, *, bias):
        output, h_n = m.gru(x, pairs[0][None])
        return {"steps": output + bias, **{f"h{k}": h_n * k for k in range(1, 8)}}

    named = {"bias": numbers(2, 1, 7, 6)[0]}
    report = rnnkit.verify(layered(forward), numbers(5, 7, 3), [numbers(5, 6)], kwargs=named)

    assert report.axes["bias"] == (1, 7, 6)
    assert report.axes["output['h7']"] == (1, "batch", 6)
    assert str(report).splitlines()[-1] == snapshot(
        "  axes  input[0] (batch, seq, 3), input[1][0] (batch, 6), bias (1, 7, 6), output['steps'] (batch, seq, 6), output['h1'] (1, batch, 6), output['h2'] (1, batch, 6), output['h3'] (1, batch, 6), output['h4'] (1, batch, 6), and 3 more"
    )


def test_ways_to_call_a_model():
    """What a model takes by keyword is changed, too, and it may be called by another function."""

    def forward(m, *, x, scale=1.0):
        return scale * m.gru(x)[0]

    right, wrong = (model(forward, gru=gru(batch_first=first)) for first in (True, False))
    named = {"x": X, "scale": 2.0}
    assert "causal" in rnnkit.verify(right, kwargs=named, causal=True).checked
    second = ({"scale": 2.0, "x": X + 1},)
    assert "causal" in rnnkit.verify(right, kwargs=named, other=second, causal=True).checked
    with pytest.raises(rnnkit.LeakError, match="batch_first=True"):
        rnnkit.verify(wrong, kwargs=named)
    assert "batch" in rnnkit.verify(right, X, call=lambda m, x: m.gru(x)[1][0]).checked
    with pytest.raises(rnnkit.LeakError, match="depends on the input of sample"):
        rnnkit.verify(right, X, call=lambda m, x: m(x=x.transpose(0, 1)))
    heads = layered(lambda m, x: (m.gru(x)[0], m.value(x)), value=nn.Linear(3, 1))
    assert "reaches value in this call" in str(rnnkit.verify(heads, X, call=lambda m, x: m(x)[0]))
    both = layered(lambda m, x: torch.cat([m.gru(x)[0], m.value(x)], -1), value=nn.Linear(3, 1))
    report = str(rnnkit.verify(both, X, call=lambda m, x: m(x)[..., :1]))
    assert "value.weight is zero in this call" in report
    listed = layered(lambda m, x: m.heads[0](m.gru(x)[0]), heads=[nn.Linear(6, 2)])
    with pytest.raises(rnnkit.LeakError, match="not registered"):
        rnnkit.verify(listed, X, call=lambda m, x: m(x))
    head = nn.Linear(6, 2)
    assert rnnkit.verify(gru(), X, call=lambda m, x: head(m(x)[0])).judged


def test_all_that_is_found():
    """All findings stand in a report, if they are not raised; the message of the first lists the others."""

    def forward(m, x):
        first, state = m.one(x)
        return m.two(x + x.mean(0), state)[0][:, -1:] + first

    wrong = model(forward, one=gru(), two=gru())
    report = reported(wrong, X, causal=True)
    assert [error.probe for error in report.findings] == ["batch", "causal"]
    assert str(report).partition(" (")[0] == "rnnkit.verify: 2 mistakes found"
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(wrong, X, causal=True)

    assert re.sub(r"\.py:\d+", ".py:...", str(error.value)) == snapshot("""\
output of sample 1 depends on the input of sample 0
  where      mean(0), which runs after one
  at         test_verify_report.py:...
  fix        do not reduce, normalize or join over the batch axis
  intended?  rnnkit.verify(..., skip=['batch'])
  also       the probe causal found: output of step 0 depends on the input of step 3 or later
  more       python -m rnnkit explain batch\
""")
    assert rnnkit.verify(wrong, X, skip=["batch"]).judged  # as the message says
    with pytest.raises(TypeError, match="multiple values for argument 'x'"):
        rnnkit.verify(wrong, X, kwargs={"x": X})


def test_a_test_fails_where_something_was_not_judged():
    """What was asked for and could not be judged fails a test; who leaves it out knows that."""
    last = layered(lambda m, x: m.gru(x)[1][0])
    with pytest.raises(AssertionError, match="not checked: verify found no output with the steps"):
        assert_no_leak(last, X, causal=True)
    assert_no_leak(last, X)

    loss = layered(lambda m, x: m.gru(x)[0].mean())
    assert not assert_no_leak(loss, X, skip=["batch"]).judged
    for make, x, reason in (
        (torch.argmax, X, "the model returns a single number"),
        (str, X, "the model returns nothing to compare"),
        (lambda y: y * torch.nan, X, "no number of an output is finite"),
        (lambda y: y.flatten(0, 1), X[:1], "the batch has one sample"),
    ):
        wrong = layered(lambda m, x, make=make: make(m.gru(x)[0]))
        with pytest.raises(
            AssertionError, match=f"no dependency could be checked: {reason}"
        ) as error:
            assert_no_leak(wrong, x)
        assert "refuses" not in str(error.value)


#: Tokens, one row of categories for each step, flags, and halves.
WORDS = tokens(4, 7)
CATEGORIES = [
    WORDS,
    nn.functional.one_hot(WORDS),
    nn.functional.one_hot(WORDS).float(),
    WORDS % 2 == 0,
    (WORDS % 2).to(torch.bfloat16),
]


@pytest.mark.parametrize("x", CATEGORIES, ids=lambda x: f"{x.dtype}, {x.dim()} axes")
def test_rows_that_occur(x):
    """A model of categories is given no row of features that the batch has not."""
    rows = {tuple(row) for row in x.reshape(28, -1).tolist()}
    strange = []

    def forward(m, x):
        given = x.reshape(x.shape[0] * x.shape[1], -1).tolist()
        strange.extend(row for row in given if tuple(row) not in rows and row[0] == row[0])
        return m.gru(m.embed(x.long().reshape(*x.shape[:2], -1)).sum(2))[0]

    rnnkit.verify(layered(forward, embed=nn.Embedding(11, 3)), x, skip=["coverage"])
    assert strange == []


def cause(draw):
    """Verify a model that is not repeatable; return the line that says why."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(layered(lambda m, x: m.gru(x)[0] + draw()), X)
    return re.search(r"cause +(.*)", str(error.value))[1]


def test_sources_of_chance(monkeypatch):
    """Random numbers are looked for without NumPy, and on a GPU that is in use."""
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "numpy", None)
        assert cause(random.random) == "the call draws random numbers from random"

    generator = torch.Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", (generator,))
    drawn = cause(lambda: torch.rand(1, generator=generator))

    assert drawn == "the call draws random numbers from torch.cuda:0"


LABELS = torch.arange(4)

#: A loader's batch, what is computed of its parts, and what is typed for it.
LOADED = {
    "all parts": (masked, (X, COUNTS), "*batch"),
    "one part": (outputs_of, [X], "*batch"),
    "with labels": (outputs_of, [X, LABELS], "batch[0]"),
    "lengths, with labels": (masked, [X, COUNTS, LABELS], "*batch[:2]"),
}


@pytest.mark.parametrize("tool", ["verify", "trace", "dependency_map"])
def test_batch_of_a_loader(tool):
    """A batch that was given as one input is refused with what to type; other lists are the model's."""
    run = getattr(rnnkit, tool)
    for compute, batch, typed in LOADED.values():
        made = layered(compute)
        with pytest.raises(rnnkit.ArgumentError) as error:
            run(made, batch)
        (fix,) = re.findall(r"^  fix +(.*)$", str(error.value), re.MULTILINE)
        assert fix.startswith(f"rnnkit.{tool}(model, {typed})")
        assert eval(fix.partition(", if")[0], {"rnnkit": rnnkit, "model": made, "batch": batch})  # noqa: S307
    for lists in ([LABELS, X],), ([X, LABELS], [X, LABELS]):
        with pytest.raises((TypeError, AttributeError)) as raised:
            run(layered(outputs_of), *lists)
        assert not isinstance(raised.value, rnnkit.RnnkitError)
    assert run(layered(lambda m, xs: m.gru(xs[0] + xs[1])[0]), [X, X])


#: A layer whose chunks start afresh.
AFRESH = layered(lambda m, x: torch.cat([m.gru(chunk)[0] for chunk in x.split(4, 1)], 1))
#: What is shown, and how its lines that are wrong begin.
SHOWN = {
    "a finding": (lambda: reported(gru(batch_first=False), X), "!!"),
    "a report": (lambda: rnnkit.verify(gru(), X), ""),
    "a trace": (lambda: rnnkit.trace(AFRESH, X), "^"),
    "a map": (lambda: rnnkit.dependency_map(gru(), X, dim=1, out_dim=1), ""),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_the_text(name):
    """The page has the text in its own colors; only the ground of a wrong line is tinted, thinly."""
    make, sign = SHOWN[name]
    shown = make()
    page = shown._repr_html_()
    red = [html.unescape(line) for line in re.findall("<b [^>]*>(.*?)</b>", page, re.DOTALL)]
    grounds = re.findall(r"background:#\w{6}(\w*)", page)

    assert html.unescape(re.sub("<[^>]*>", "", page)) == str(shown)
    assert bool(red) == bool(sign)
    assert all(line.strip().startswith(sign) for line in red)
    assert len(grounds) == len(red)
    assert all(int(opacity, 16) < 128 for opacity in grounds)
    assert not re.search("[^-]color:", page)


@pytest.mark.parametrize("times", [1, 2])
def test_a_second_source_of_random_numbers(times):
    """What draws beside a draw that may be meant is named as well, each place once."""

    def forward(m, x):
        y = m.gru(x)[0]
        for _ in range(times):
            y = y + torch.randn_like(y)
        return nn.functional.dropout(y, 0.3) if m.drops else y

    for drops in (False, True):
        [found] = reported(layered(forward, drops=drops), X).findings
        rows = [line.split()[:2] for line in str(found).splitlines()[1:]]

        assert ["where", "randn_like"] in rows
        assert (["then", "dropout"] in rows) == drops
        assert sum(label == "at" for label, _ in rows) == 1 + drops
        assert len(rows) < 9
