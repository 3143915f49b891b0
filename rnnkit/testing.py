"""A line in a project's tests: the model has none of the mistakes that no shape can show."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, LeakError, hide_frames
from rnnkit._base.message import brief, refuse
from rnnkit._diagnostics.probes.table import TABLE
from rnnkit._diagnostics.tell.report import Report
from rnnkit._diagnostics.verify import verify

__all__ = ["assert_no_leak", "assert_streams"]


def assert_no_leak(model: torch.nn.Module, *inputs: Any, **options: Any) -> Report:
    """Fail the test if :func:`rnnkit.verify` finds a mistake or can judge nothing.

    Raises:
        LeakError: if a mistake is found. It is an AssertionError, so test runners report a failure.
        AssertionError: if no probe that tests dependencies reached a verdict, unless ``skip``
            contains ``"batch"``; or if ``causal``, ``reset``, ``streaming`` or ``lengths`` could
            not be judged.

    >>> model = torch.nn.GRU(3, 4, batch_first=True)
    >>> report = rnnkit.testing.assert_no_leak(model, torch.randn(5, 7, 3))
    """
    # pytest leaves a frame with this local out of its traceback.
    __tracebackhide__ = True
    report = verify(model, *inputs, **options)
    judged = report.judged or "batch" in options.get("skip", ())
    if report.unjudged or not judged:
        raise AssertionError(str(report))
    return report


def assert_streams(
    step: Callable[[Tensor, Any], tuple[Tensor, Any]],
    x: Tensor,
    state: Any = None,
    *,
    seq_dim: int = 1,
    out_seq_dim: int | None = None,
) -> None:
    """Fail the test if a sequence in chunks gives other outputs than in one call.

    For models with an interface of their own; one that is called ``model(x, state)`` needs only
    :func:`rnnkit.verify` with ``streaming=True``. ``step`` takes a chunk ``(batch, seq, ...)`` of
    ``x`` and a state, None if no first ``state`` is given, and returns output and state. The seq
    axis of the output is ``out_seq_dim``, or is found by leaving out a step. The sequence is cut in
    two, then after two single steps. A module, or a method of one, runs as a copy in eval mode; a
    function runs as it is, so call ``eval()`` before.

    Raises:
        LeakError: at the first step that differs, an AssertionError; or if a new sequence
            remembers the one before, or the same one twice returns different outputs.
        AssertionError: if ``step`` does not return a state, rejects a chunk, or returns outputs of
            other shapes for it.
        ArgumentError: if there is no such axis, if ``step`` cannot be called, or if ``x`` is not a
            tensor.

    >>> gru, head = torch.nn.GRU(3, 4, batch_first=True), torch.nn.Linear(4, 2)
    >>> def step(x, state):
    ...     output, state = gru(x, state)
    ...     return head(output), state
    >>> rnnkit.testing.assert_streams(step, torch.randn(5, 7, 3))
    >>> rnnkit.testing.assert_streams(lambda x, state: step(x, None), torch.randn(5, 7, 3))
    Traceback (most recent call last):
    rnnkit.LeakError: output[0] of step 3 changes when the sequence runs in chunks of 3 and 4, ...
      fix        y, state = layer(x, state), and return that state
      more       python -m rnnkit explain streaming
    """
    __tracebackhide__ = True
    _check_stream(step, x)
    owner: Any = getattr(step, "__self__", step)
    is_copied = isinstance(owner, torch.nn.Module)

    def call(model: Any, x: Tensor, state: Any) -> Any:
        run: Any = getattr(step, "__func__", type(model).__call__)
        return run(model, x, state) if is_copied else step(x, state)

    report = verify(
        owner if is_copied else torch.nn.Module(),
        x,
        state,
        call=call,
        batch_dim=1 if seq_dim in (0, -x.dim()) else 0,
        seq_dim=seq_dim,
        out_seq_dim=out_seq_dim,
        streaming=True,
        skip=[one.name for one in TABLE if one.name not in ("repeatable", "streaming")],
        raises=False,
    )
    for error in report.findings:
        lines = [line for line in str(error).splitlines() if "intended?" not in line]
        raise LeakError("\n".join(lines), error.probe, error.module)
    if report.unjudged:
        message = f"streaming was not judged: {report.unjudged[0].detail}"
        raise AssertionError(message)


def _check_stream(step: Any, x: Any) -> None:
    """Check that what is to run over a sequence can be called, and that there is a sequence."""
    __tracebackhide__ = True
    if isinstance(step, type):
        sentence = f"step must be a module or a function, got {brief(step)}"
        fix = f"rnnkit.testing.assert_streams({step.__name__}(...), x)"
        refuse(ArgumentError, "step", sentence, fix=fix, code="streams-argument")
    if not callable(step):
        sentence = f"step must be a module or a function, got {brief(step)}"
        fix = "a module, or a function: output, state = step(x, state)"
        refuse(ArgumentError, "step", sentence, fix=fix, code="streams-argument")
    if not isinstance(x, Tensor):
        sentence = f"x must be a tensor of whole sequences, got {brief(x)}"
        fixes = []
        if hasattr(x, "__array__"):
            fixes = [("fix", "torch.as_tensor(x, dtype=torch.float32)")]
        refuse(ArgumentError, "x", sentence, "", *fixes, code="streams-argument")


# Whoever imports this first has imported the diagnostics with it.
hide_frames()
