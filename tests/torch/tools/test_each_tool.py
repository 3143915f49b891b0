"""Each tool by recurrent core by class by call.

The loss reads each number of output and state, so that a gradient that is lost shows.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch

from tests.compiles import by_inductor
from tests.torch.models import CALLS, CORES, WIDTH, call_of, model_of, rows_of
from tests.torch.tools.tools import TOOLS, Onnx, check, compare, marks

pytestmark = marks

#: No two axes have one size, also in none of two calls: a compiler takes equal sizes for one.
STEPS = (5, 6)
BATCH = (8, 9)


@pytest.fixture(autouse=True)
def _loops_are_forgotten() -> Iterator[None]:
    """Torch 2.15 puts a loop in its kernels' place while it exports; what has cached it keeps it."""
    yield
    for kernel in (torch.ops.aten.gru.input, torch.ops.aten.lstm.input):
        kernel._dispatch_cache.clear()


def is_possible(tool: str, core: str, name: str, call: str) -> bool:
    """Return whether a row is there: inductor takes its time, and torch has no such class."""
    if tool == "Dynamo":
        return False  # for corners, since it is a part of what compiles
    if tool == "inductor":
        return (core, name, call) == ("stack", "LSTM", "batch first")
    if tool == "compile, as it is" and core != "layer":
        return not CALLS[call] & {"lengths", "reset"}  # Dynamo cuts that to pieces, in a minute
    if tool == "ONNX" and core in {"unroll", "Recurrent"}:
        return False  # as a user's cell in a Recurrent, which takes seconds
    if tool == "script":
        takes = call in {"plain", "state", "unbatched"}
        return (
            core in {"layer", "stack", "step"} and takes and (core, name) != ("step", "projected")
        )
    return name != "projected" or "ONNX" not in tool


def has_fixed_steps(tool: str, core: str, call: str) -> bool:
    """Return whether a tool writes down each step."""
    if tool == "ONNX, older":
        return "reset" in CALLS[call] or core == "user's"
    if tool == "ONNX":  # it takes torch's kernels, which fix the number of steps
        return core in {"layer", "stack"}
    if tool in {"export, fixed steps", "trace"}:
        return True
    # Dynamo unrolls what a user's cell does.
    return core == "user's" and tool.startswith(("compile", "export, strict"))


#: What looks into no loop of steps, and needs no torch of today.
OLD = {"ONNX, older", "trace", "script"}


def all_rows() -> Iterator[Any]:
    """Return rows in which any two values meet: tool, core, class and call."""
    young = pytest.mark.needs_torch("2.13", "older ones fix the number of steps, or unroll them")
    for tool, *row in rows_of(2, is_possible, tool=TOOLS):
        # Both exporters, and what they call, warn of themselves.
        own = [pytest.mark.filterwarnings("ignore")] if "ONNX" in tool else []
        own += [] if tool in OLD else [young]
        own += [by_inductor] if tool == "inductor" else []
        yield pytest.param(tool, *row, marks=own)


@pytest.mark.parametrize(("tool", "core", "name", "call"), [*all_rows()])
def test_a_tool(tool, core, name, call):
    """What a tool makes of a model keeps the law."""
    model = model_of(core, name, call)
    steps = (3, 3) if has_fixed_steps(tool, core, call) else STEPS
    calls = [call_of(model, core, call, *sizes) for sizes in zip(steps, BATCH, strict=True)]
    # A state of one layer in one direction has an axis of 1, whose strides are their own case.
    check(tool, model, calls, graphs=1 + (core == "layer" and "hx" in CALLS[call]))


@pytest.mark.filterwarnings("ignore")
def test_the_older_exporter_takes_a_bare_module():
    """It hands over each parameter of ``forward`` by position, those by name alone included."""
    for core, name in product(("layer", "Recurrent", "step"), ("RNN", "LSTM", "GRU")):
        module = CORES[core](name).eval()
        sizes = zip(BATCH) if core == "step" else zip(STEPS, BATCH, strict=True)
        calls = [((torch.randn(*size, WIDTH),), {}) for size in sizes]
        compare(module, Onnx(module, calls, dynamo=False), calls[1])
