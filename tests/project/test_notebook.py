"""The notebook of the manual does what its text says."""

import json

import matplotlib.pyplot as plt
import pytest

from tests.places import ROOT

CELLS = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def names():
    """What the names of the notebook stand for after its cells have run from top to bottom."""
    found = {}
    for cell in CODE:
        exec("".join(cell["source"]), found)  # noqa: S102 - the code is the project's own
    yield found
    plt.close("all")


def test_the_loss_falls_after_the_repair(names):
    """Before the repair the loss is that of guessing among four classes; after it, almost 0."""
    assert min(names["before"][-10:]) > 1.3
    assert max(names["after"][-10:]) < 0.1


def test_the_report_has_the_rows_that_the_text_explains(names):
    """The samples mix; the report names the layer, the cause and what to type, and draws one map."""
    rows = [line.split()[0] for line in str(names["report"]).splitlines()]

    assert names["report"].found("batch")
    assert {"where", "cause", "fix", "axes"} <= {*rows}
    assert len(names["figure"].axes) == 1


def test_the_notebook_stores_no_output():
    """Outputs are made as the pages are built, so that none is out of date."""
    assert [cell["id"] for cell in CODE if cell["outputs"] or cell["execution_count"]] == []
