"""``verify`` over the corpus: what it finds, what it misses, and that it accuses nothing right."""

import runpy
import statistics
import sys
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rnnkit
from tests.diagnostics.corpus.case import CASES, Case, Subject
from tests.diagnostics.corpus.runner import ask, judge, subject
from tests.diagnostics.models_of_users import layered
from tests.diagnostics.write import OUTCOMES, entry, plain, written

#: The torch whose exceptions stand in ``outcomes.txt``.
QUOTED = torch.__version__.startswith("2.13")

pytestmark = pytest.mark.filterwarnings("ignore")  # of nested, quantized and scripted things
#: Cases that alone notice a fault, as tests of mutants showed: they belong to a quick run.
ALONE = (
    "loss: samples are averaged",
    "padding told: an additive mask",
    "units_at_their_ends",
    "state_in_another_layout",
    "leak_beside_a_quantized_layer",
    "strange: one axis of rows",
    "state_of_all_steps",
    "rows_that_are_features_steps_first",
)
#: Files of which each model stands for a law of its own.
LAWS = ("beside", "gaps", "notes", "results")
#: All cases, a third of the others in a quick run.
QUICK = [
    case
    for number, case in enumerate(CASES)
    if number % 3 == 0 or case.name in ALONE or case.file in LAWS
]
REST = [pytest.param(case, marks=pytest.mark.slow) for case in CASES if case not in QUICK]


@pytest.mark.parametrize("case", [*QUICK, *REST], ids=lambda case: case.name)
def test_case(case):
    """No right model is accused or left unjudged, and all that is said is what the table says.

    A right model takes 48 runs at most. A finding says what to change, in at most nine lines.
    """
    for seed in range(case.seeds):
        outcome = judge(case, seed=seed)

        assert outcome.faults == []
        assert outcome.right.report.passes <= 48
        if case.probe:
            assert case.probe in outcome.found
        else:
            assert outcome.found == set()
        said = outcome.wrong or outcome.right
        for finding in said.report.findings:
            labels = [line.split()[0] for line in str(finding).splitlines()[1:]]
            assert labels.count("fix") == 1
            assert len(labels) < 9
        if seed == 0 and QUOTED and not hasattr(rnnkit, "jaxtyping"):  # beartype draws numbers
            assert entry(outcome) == written(case)


def test_table():
    """The table has each case once, and a pair names the probe that finds it, or why none does."""
    names = [line[3:] for line in OUTCOMES.read_text("utf-8").splitlines() if line[:3] == "## "]

    assert names == [case.name for case in CASES]
    assert len({*names}) == len(names)
    assert all(bool(case.probe) != bool(case.missed) for case in CASES if case.is_pair)


@pytest.mark.slow
def test_a_right_model_costs_a_few_dozen_runs():
    """Half of the right models take 20 runs at most, as each ninth of them shows."""
    passes = [ask(case, right=True).report.passes for case in CASES[::9]]

    assert statistics.median(passes) <= 20


#: Pairs whose layers may be of either library, and run in each precision.
PAIRS = [case for case in CASES if case.file == "layouts" and case.probe == "batch"][:7]


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_same_text_for_both_libraries(case):
    """What is said of a model does not hang on whose classes it is made of, nor on its mode."""
    for right in (True, False):
        theirs, ours = (ask(case, right=right, library=library) for library in (nn, rnnkit.nn))

        assert plain(ours.text) == plain(theirs.text)
    torch.manual_seed(0)
    trained, inputs, options = subject(case.name)
    assert rnnkit.verify(trained.train(), *inputs, **options).judged


#: Models of the corpus: with tokens, loops, windows, plain numbers, and what is told of them.
ANYWHERE = [
    "logits_of_all_words",
    "cell_state_that_is_forgotten",
    "chunks_that_start_afresh",
    "output: numbers of Python beside",
    "padding_in_front",
    "target_that_is_not_shifted",
    "last_step_of_both_directions",
]


def told(run):
    """Return what a diagnostic says, but for the seconds; of an error, its text."""
    try:
        result = run()
    except (AssertionError, rnnkit.RnnkitError) as error:
        result = error
    return "\n".join(line.partition(" forward passes")[0] for line in f"{result}".split("\n"))


@pytest.mark.parametrize("name", ANYWHERE)
def test_same_text_on_another_default_device(name):
    """What a diagnostic says hangs on no ``torch.set_default_device``."""
    for right in (True, False):
        model, inputs, options = subject(name, right=right, library=rnnkit.nn)
        for run in (
            partial(rnnkit.verify, model, *inputs, **options, raises=False),
            partial(rnnkit.testing.assert_no_leak, model, *inputs, **options),
            partial(rnnkit.trace, model, *inputs),
            partial(rnnkit.dependency_map, model, *inputs),
        ):
            expected = told(run)
            with torch.device("meta"):
                assert told(run) == expected


#: Under autocast a wrapper hides the names of the inputs, by which these find their lengths.
UNNAMED = [case for case in CASES if case.file != "named"]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "autocast"])
@settings(max_examples=8)
@given(case=st.sampled_from(UNNAMED))
def test_right_models_in_each_precision(dtype, case):
    """No right model is accused in another precision; it may not run there, or lack a kernel."""
    faults = judge(case, dtype=dtype).faults

    assert [one for one in faults if one.startswith("alarm")] == []


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "autocast"])
def test_most_models_are_judged_in_each_precision(dtype):
    """A model is judged in another precision if it runs there, and the CPU has a kernel for it."""
    outcomes = [judge(case, dtype=dtype) for case in PAIRS]
    lacking = "could not create a primitive descriptor for the LSTM"
    judged = [one for one in outcomes if lacking not in one.right.text]

    assert len(judged) > len(outcomes) // 2
    assert [(one.case.name, one.faults) for one in judged if one.faults] == []


def test_faults():
    """An alarm on both twins is no finding, and a model that fails is a fault of the corpus."""

    def leaky(compute):
        made = layered(compute)
        return lambda _, __: Subject(made, (torch.randn(4, 6, 3),))

    outcome = judge(Case("leaky", leaky(lambda m, x: m.gru(x - x.mean(0))[0]), "batch"))
    assert "alarm: batch" in outcome.faults
    assert outcome.found == set()
    assert judge(Case("broken", leaky(lambda m, x: m.gru(x[..., :2])))).faults[0] == "RuntimeError"


def test_command(monkeypatch, capsys):
    """The command runs the cases that are named, and says what came of them."""
    names = ["highest_since", "radar_images", "data_of_a_state"]
    monkeypatch.setattr(sys, "argv", ["corpus", *names, "-v"])
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("tests.diagnostics.corpus", run_name="__main__")

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.splitlines()[-1] == "1 of 2 mistakes found, 0 faults"
    assert "highest_since: right ok, found causal, expected causal" in text
    assert "output of step" in text
