"""``rnnkit.testing``: one line in a project's tests."""

import subprocess
import sys
from collections.abc import Callable

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


#: Wrong calls; the name of the last function that a traceback shows: the caller's, or torch's.
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "verify": (lambda: rnnkit.verify(torch.nn.GRU(3, 4), torch.randn(5, 7, 3)), "<lambda>"),
    "verify of nothing": (lambda: rnnkit.verify(None), "<lambda>"),
    "constructor": (lambda: rnnkit.GRU(3, -4), "<lambda>"),
    "call": (lambda: rnnkit.GRU(3, 4)(torch.ones(7, 5, 2)), "_call_impl"),
    "cell": (lambda: rnnkit.GRUCell(3, 4)(torch.ones(5, 2)), "_call_impl"),
    "unroll": (lambda: rnnkit.unroll(rnnkit.GRUCell(3, 4), torch.ones(7, 5, 2)), "<lambda>"),
    "states": (lambda: rnnkit.states.repeat(torch.ones(2, 4), -1), "<lambda>"),
    "convert": (lambda: rnnkit.convert(None), "<lambda>"),
}


@pytest.mark.unhooked("the annotation refuses it first")
@pytest.mark.parametrize(("act", "last"), WRONG.values(), ids=WRONG)
def test_traceback_of_ours_shows_no_frame_of_ours(act: Callable[[], object], last: str) -> None:
    """Whoever reads of an error of ours wants the line that called."""
    with pytest.raises(rnnkit.RnnkitError) as error:
        act()

    shown = [entry for entry in error.traceback if not entry.ishidden(error)]
    assert shown[-1].name == last


@pytest.mark.unhooked("the annotation asks for a module that has a first state")
def test_traceback_of_another_error_is_whole() -> None:
    """What a user's code raises below ours keeps all its frames."""

    class Fails(torch.nn.Module):
        def forward(self, input: torch.Tensor, hx: torch.Tensor) -> torch.Tensor:
            raise ValueError(input.shape, hx)

    with pytest.raises(ValueError, match="Size") as error:
        rnnkit.unroll(Fails(), torch.ones(7, 5, 3), torch.ones(5, 4))

    assert not any(entry.ishidden(error) for entry in error.traceback)


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
