"""What every test stands on: one thread, one seed, and the same examples in every run."""

import gc
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import coverage
import pytest
import torch
from hypothesis import HealthCheck, settings

import rnnkit
from rnnkit._checks import diagnosis

WHOLE = settings(
    deadline=None,  # the first call of a kernel is slow, and machines are shared
    derandomize=True,
    max_examples=24,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("whole", WHOLE)
settings.register_profile("quick", WHOLE, max_examples=6)
ASKED = int(os.environ.get("DRAWS", "1"))
settings.register_profile("asked", WHOLE, max_examples=ASKED, derandomize=False)


def pytest_configure(config: pytest.Config):
    """Draw fewer examples where the slow tests are left out: that is the loop while working.

    By default Python looks for garbage after every 700 new objects, and a compiler makes millions.
    """
    gc.set_threshold(100_000)
    quick = "quick" if config.option.markexpr == "not slow" else "whole"
    settings.load_profile("asked" if "DRAWS" in os.environ else quick)


def pytest_collectstart():
    """Let a file draw the same models and inputs as it is read, whichever files are read before."""
    torch.manual_seed(2026)


def pytest_collection_finish():
    """Spare the collector all that was imported: it would look at a million objects again and again."""
    gc.freeze()


def pytest_sessionfinish():
    """Write down what coverage saw: xdist kills a worker that takes ten seconds to end."""
    running = coverage.Coverage.current()
    if running is not None:
        running.save()


@pytest.fixture(autouse=True)
def _alike():
    """Seed torch, and keep its kernels to one thread: sums then have one order."""
    torch.set_num_threads(1)
    torch.manual_seed(2026)
    # No test meets graphs that others compiled: Dynamo counts them by function, up to 8.
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _agree(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail where a guard refuses a call and the diagnosis finds no cause, whatever a test expects."""
    disagreed: list[str] = []
    refuse = diagnosis.refuse_without_cause

    def refuse_and_note(module, *tensors) -> NoReturn:
        disagreed.append(type(module).__name__)
        refuse(module, *tensors)

    monkeypatch.setattr(diagnosis, "refuse_without_cause", refuse_and_note)
    yield
    assert request.node.get_closest_marker("disagrees") or not disagreed


def pytest_collection_modifyitems(items: list[pytest.Item]):
    """Run the slow tests first, so that no worker waits at the end; skip what cannot hold here."""
    items.sort(key=lambda item: "slow" not in item.keywords)
    for item in items:
        if hasattr(rnnkit, "jaxtyping"):
            for mark in item.iter_markers("unhooked"):
                item.add_marker(pytest.mark.skip(reason=mark.args[0]))
        for mark in item.iter_markers("needs_torch"):
            version, reason = mark.args
            if torch.__version__ < version:
                item.add_marker(pytest.mark.skip(reason=f"torch {version}: {reason}"))
