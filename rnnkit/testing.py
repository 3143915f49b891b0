"""One line in a project's tests: the model has none of the mistakes that no shape can show."""

from typing import Any

import torch

from rnnkit._diagnostics.report import Report
from rnnkit._diagnostics.verify import verify

__all__ = ["assert_no_leak"]


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
            not left out; or if one that was asked for could not be, by ``causal`` or ``lengths``.

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
