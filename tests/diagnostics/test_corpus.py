"""``verify`` over the corpus: what it finds, what it misses, and that it accuses nothing right."""

import runpy
import sys

import pytest
import torch
from torch import nn

import rnnkit
from rnnkit._diagnostics.report import joined
from tests.diagnostics.corpus.case import CASES, Case, Net, Subject
from tests.diagnostics.corpus.runner import in_dtype, judge

BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@BY_NAME
def test_case(case: Case) -> None:
    """No right model is accused or left unjudged, and what is found is what the corpus says."""
    outcome = judge(case)

    assert outcome.faults == []
    if case.probe and not case.ask:
        assert case.probe in outcome.found
    else:
        assert outcome.found == set()


def test_every_miss_has_a_reason() -> None:
    """A pair names the probe that finds it, or says why none does."""
    pairs = [case for case in CASES if case.is_pair]

    assert all(bool(case.probe) != bool(case.missed) for case in pairs)
    assert len({case.name for case in CASES}) == len(CASES)


def leaky(nn_: object, right: bool) -> Subject:  # noqa: ARG001 - as each case is made
    """Make a model that takes the mean of the batch off, in both twins."""
    model = Net(lambda m, x: m.gru(x - x.mean(0))[0], gru=nn.GRU(3, 4, batch_first=True))
    return Subject(model, (torch.randn(4, 6, 3),))


def test_alarm_on_the_right_twin() -> None:
    """What is said of both twins is no finding, but an alarm."""
    outcome = judge(Case("leaky", leaky, "batch"))

    assert "alarm: batch" in outcome.faults
    assert outcome.found == set()


def test_names_of_probes_are_passed_on() -> None:
    """What is asked for reaches ``verify``, which knows no such probe."""
    assert judge(CASES[0], asked=["dreaming"]).faults == ["TypeError"]


def broken(nn_: object, right: bool) -> Subject:  # noqa: ARG001 - as each case is made
    """Make a model that does not take its input."""
    return Subject(nn.GRU(3, 4), (torch.randn(4, 6, 5),))


def test_model_that_fails() -> None:
    """A right model that does not run is a fault of the corpus, and told."""
    (fault, *_) = judge(Case("broken", broken)).faults

    assert fault == "RuntimeError"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "autocast"])
def test_dtypes(dtype: str) -> None:
    """A model computes in the dtype that is asked for; tokens stay tokens."""
    embed = nn.Embedding(5, 3)
    model = Net(
        lambda m, tokens, x: m.linear(m.embed(tokens) + x), linear=nn.Linear(3, 2), embed=embed
    )
    subject = in_dtype(Subject(model, (torch.tensor([1]), torch.ones(1, 3))), dtype)

    assert subject.inputs[0].dtype == torch.long
    assert subject.model(*subject.inputs).dtype == (
        torch.float32 if dtype == "float32" else torch.bfloat16
    )


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command runs the cases that are named, and says what came of them."""
    names = ["highest_since", "echo_state", "state_cut"]
    monkeypatch.setattr(sys, "argv", ["corpus", *names, "-v"])
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("tests.diagnostics.corpus", run_name="__main__")

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.splitlines()[-1] == "1 of 2 mistakes found, 0 faults"
    assert "wrong: causal (expected: causal)" in text
    assert "output of step" in text


@BY_NAME
def test_finding_has_a_fix_and_nine_lines(case: Case) -> None:
    """What is raised says what to change, in at most nine lines, whatever was found besides."""
    torch.manual_seed(0)
    subject = case.make(nn, False)  # type: ignore[arg-type]
    report = rnnkit.verify(subject.model, *subject.inputs, raises=False, **subject.options)
    for finding in [*report.findings, *map(joined, [report.findings] * bool(report.findings))]:
        labels = [line.split()[0] for line in str(finding).splitlines()[1:]]
        assert labels.count("fix") == 1
        assert len(labels) < 9
