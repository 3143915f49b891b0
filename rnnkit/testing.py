"""A line in a project's tests: the model has none of the mistakes that no shape can show."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

from rnnkit._base.errors import hide_frames
from rnnkit._diagnostics.report import Report
from rnnkit._diagnostics.step_function import check_streams
from rnnkit._diagnostics.verify import verify

__all__ = ["assert_no_leak", "assert_streams"]

StateT = TypeVar("StateT")


def assert_no_leak(model: torch.nn.Module, *inputs: Any, **options: Any) -> Report:
    """Fail the test if :func:`rnnkit.verify` finds something, or if it can judge nothing.

    Args:
        model: any module.
        *inputs: what it is called with.
        **options: those of :func:`rnnkit.verify`.

    Raises:
        LeakError: what was found; an AssertionError, so that a test runner shows a failure and no
            error.
        AssertionError: if no dependency was judged, as of a loss, and the probe of the batch was
            not left out; or if one that was asked for could not be, by ``causal``, ``streaming`` or
            ``lengths``.

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


@overload
def assert_streams(
    step: Callable[[Tensor, StateT | None], tuple[Tensor, StateT]],
    x: Tensor,
    state: None = None,
    *,
    seq_dim: int = 1,
    out_seq_dim: int | None = None,
) -> None: ...
@overload
def assert_streams(
    step: Callable[[Tensor, StateT], tuple[Tensor, StateT]],
    x: Tensor,
    state: StateT,
    *,
    seq_dim: int = 1,
    out_seq_dim: int | None = None,
) -> None: ...
def assert_streams(
    step: Callable[..., tuple[Tensor, Any]],
    x: Tensor,
    state: Any = None,
    *,
    seq_dim: int = 1,
    out_seq_dim: int | None = None,
) -> None:
    """Fail the test if a sequence in chunks, the state passed on, differs from it at once.

    For models whose interface is their own; of one that is called ``model(x, state)``,
    :func:`rnnkit.verify` finds that out itself with ``streaming=True``. The steps are cut in two,
    and run one by one. A module, or a method of one, runs as a copy in eval mode; what a function
    leads to runs as it is, so call ``eval()`` before.

    Args:
        step: takes a chunk ``(batch, seq, ...)`` and a state, and returns output and state.
        x: a sequence.
        state: the first state; None if ``step`` takes None for it.
        seq_dim: the seq axis of ``x``.
        out_seq_dim: the seq axis of the output; None to find it by leaving a step out.

    Raises:
        LeakError: the first step at which the two differ, an AssertionError; or if a new sequence
            remembers the one before.
        AssertionError: if ``step`` does not take a chunk, or gives outputs of other shapes for it.
        ArgumentError: if ``step`` does not return a pair, or there is no such axis.

    >>> gru, head = torch.nn.GRU(3, 4, batch_first=True), torch.nn.Linear(4, 2)
    >>> def step(x, state):
    ...     output, state = gru(x, state)
    ...     return head(output), state
    >>> rnnkit.testing.assert_streams(step, torch.randn(5, 7, 3))
    >>> rnnkit.testing.assert_streams(lambda x, state: step(x, None), torch.randn(5, 7, 3))
    Traceback (most recent call last):
    rnnkit.LeakError: output[0] of step 3 differs in chunks of 3 and 4, the state passed on, ...
      evidence  the second chunk gives the same, whatever state it is given
      fix       y, state = layer(x, state), and return that state
      more      python -m rnnkit explain streaming
    """
    __tracebackhide__ = True
    check_streams(step, x, state, seq_dim=seq_dim, out_seq_dim=out_seq_dim)


# Whoever imports this first has imported the diagnostics with it.
hide_frames()
