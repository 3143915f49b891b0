"""Assertions for your tests: they fail if ``rnnkit.verify`` finds a mistake in a model."""

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
    """Run :func:`rnnkit.verify`, and fail if it finds a mistake or could not check the model.

    Args:
        model: the module to check.
        *inputs: the arguments of a call of the model, as for ``verify``.
        **options: the options of ``verify``, such as ``causal=True``.

    Returns:
        The report of ``verify``.

    Raises:
        LeakError: if ``verify`` finds a mistake, such as an output that depends on another sample.
            It is an AssertionError, so test runners report a failed test.
        AssertionError: if ``verify`` could not run a check that you asked for with ``causal``,
            ``reset``, ``streaming`` or ``lengths``; or if it could check no dependency of an output
            on an input. With ``skip=["batch"]``, the latter does not fail.

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
    """Fail if a sequence that runs in chunks has different outputs than the sequence as a whole.

    The sequence runs once as a whole, then in two halves, then in three chunks: step 0, step 1 and
    the rest. Each chunk starts from the state that the chunk before returned. For a model that
    is called ``model(x, state)``, you can also use :func:`rnnkit.verify` with ``streaming=True``.

    Args:
        step: called ``output, state = step(x, state)`` with a chunk ``(batch, seq, ...)`` of ``x``.
            A module, or a method of one, runs as a copy in eval mode. A function runs as it is, so
            call ``eval()`` on its modules first.
        x: the whole sequences, ``(batch, seq, ...)``.
        state: the state before the first step.
        seq_dim: the seq axis of ``x``.
        out_seq_dim: the seq axis of the output; None lets rnnkit find it.

    Raises:
        LeakError: if an output differs; if ``step`` keeps data from one run to the next, such as a
            state in an attribute of the module; or if the same run returns different outputs the
            second time. It is an AssertionError.
        AssertionError: if ``step`` does not return a state, fails on a chunk, or returns outputs
            whose shapes do not match the chunk.
        ArgumentError: if ``x`` is not a tensor or has no axis ``seq_dim``, or if ``step`` is not a
            module or a function.

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
        message = f"streaming was not checked: {report.unjudged[0].detail}"
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
        fix = "pass a module, or a function: output, state = step(x, state)"
        refuse(ArgumentError, "step", sentence, fix=fix, code="streams-argument")
    if not isinstance(x, Tensor):
        sentence = f"x must be a tensor of whole sequences, got {brief(x)}"
        fixes = []
        if hasattr(x, "__array__"):
            fixes = [("fix", "torch.as_tensor(x, dtype=torch.float32)")]
        refuse(ArgumentError, "x", sentence, "", *fixes, code="streams-argument")


# Whoever imports this first has imported the diagnostics with it.
hide_frames()
