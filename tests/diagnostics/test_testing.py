"""``rnnkit.testing``: one line in a project's tests."""

import subprocess
import sys

import pytest
import torch

import rnnkit
import rnnkit.testing
from tests.diagnostics.models_of_users import TWINS


def test_finding_is_a_failure() -> None:
    """What is found fails a test as an assertion does, with the text of ``verify``."""
    twin = TWINS["batch_first forgotten"]
    model = twin.make(torch.nn, False)
    with pytest.raises(AssertionError) as error:
        rnnkit.testing.assert_no_leak(model, *twin.inputs())

    assert type(error.value) is rnnkit.LeakError
    with pytest.raises(rnnkit.LeakError) as same:
        rnnkit.verify(model, *twin.inputs())
    assert str(error.value) == str(same.value)


def test_right_model() -> None:
    """A right model passes, and the report is returned; options are those of ``verify``."""
    twin = TWINS["bidirectional language model"]
    report = rnnkit.testing.assert_no_leak(
        twin.make(torch.nn, True), *twin.inputs(), causal=True, skip=["use"]
    )

    assert "causal" in report.checked
    assert "use" not in report.checked


def test_traceback_ends_in_the_test() -> None:
    """The frame of the helper is one that pytest leaves out."""
    twin = TWINS["never advanced"]
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.testing.assert_no_leak(twin.make(torch.nn, False), *twin.inputs())

    (helper,) = [entry for entry in error.traceback if entry.name == "assert_no_leak"]
    assert helper.ishidden(error)


@pytest.mark.slow
def test_it_needs_no_test_runner() -> None:
    """Neither pytest nor an optional extra is imported with it."""
    code = (
        "import sys, rnnkit.testing; "
        "print({'pytest', 'hypothesis', 'matplotlib'} & set(sys.modules))"
    )
    run = subprocess.run(  # noqa: S603 - our own line
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert run.stdout == "set()\n"
