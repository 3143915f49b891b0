"""The table of probes: pages have what it has, and no answer hides what could not be judged."""

import pathlib
import re
from typing import get_args

import pytest
import torch
from torch import nn

from rnnkit._diagnostics.probes.table import PROBES, TABLE, ProbeName
from rnnkit._diagnostics.tell.outcome import Passed, Skipped
from tests.diagnostics.models_of_users import COUNTS, X, model, reported

LEAKS = pathlib.Path(__file__).parents[2] / "docs" / "leaks.md"


def test_the_page_has_the_questions():
    """The page of leaks has each probe once, in the order in which they run, with its question."""
    rows = re.findall(r"(?m)^\| (\w+) \| (.+?) \| .+ \|$", LEAKS.read_text("utf-8"))

    assert rows[1:] == [(probe.name, probe.question) for probe in TABLE]


def test_type_checkers_know_its_names():
    """The names that ``skip=`` takes, for a type checker, are those of the table."""
    assert get_args(ProbeName) == tuple(PROBES)


def test_it_refers_to_itself_alone():
    """Each name that a probe gives of another one is one of an earlier probe."""
    for place, probe in enumerate(TABLE):
        earlier = [one.name for one in TABLE[:place]]

        assert {*probe.hidden_by} <= {*earlier}
        assert probe.goes_with in ("", *earlier)


class Doubtful:
    """A run that could not be judged."""

    doubt = "nobody knows"


def test_an_ok_rests_on_no_doubt():
    """An answer that rests on a run in doubt is none; it keeps its notes, and no run."""
    answer = Passed("it holds", [Doubtful()], notes=["a note"]).settled()
    assert answer == Skipped("nobody knows", notes=["a note"])

    certain = Doubtful()
    certain.doubt = ""
    assert Passed("it holds", [certain]).settled() == Passed("it holds", ())


class Rounding(nn.Module):
    """Moves each number a little by all others, as a layer that takes its scale from a batch."""

    __module__ = "torch.ao.nn.quantized.dynamic.modules"

    def forward(self, x):
        """Move the numbers."""
        return x + 1e-6 * x.sum()


def each(m, x, *_):
    """Read nothing at a step but the step itself, and round by all."""
    x = x.detach()
    if m.cell is not None:
        x = torch.stack([m.cell(x_t) for x_t in x.unbind(1)], 1)
    return m.head(x)


@pytest.mark.parametrize("name", [one.name for one in TABLE if one.is_judging or one.absence])
def test_no_ok_of_what_rounds_by_all(name):
    """A layer that takes its scale from the whole batch shows any change everywhere: no ok."""
    cell = nn.GRUCell(3, 4) if name in ("memory", "use", "coverage") else None
    flags = torch.zeros(4, 7)
    flags[:, 3] = 1
    options = {"causal": True, "reset": 2, "streaming": True, "lengths": {0: COUNTS}}
    report = reported(model(each, cell=cell, head=Rounding()), X, COUNTS, flags, **options)

    assert name not in report.checked
