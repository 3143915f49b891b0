"""One line in a project's tests: the model has none of the mistakes that no shape can show."""

from typing import Any

import torch

from rnnkit._report import Report
from rnnkit._verify import verify

__all__ = ["assert_no_leak"]


def assert_no_leak(model: torch.nn.Module, *inputs: Any, **options: Any) -> Report:
    """Fail the test, with what was found, if :func:`rnnkit.verify` finds something.

    Args:
        model: any module.
        *inputs: what it is called with.
        **options: those of :func:`rnnkit.verify`.

    Raises:
        LeakError: an AssertionError, so that a test runner shows a failure and no error.

    >>> model = torch.nn.GRU(3, 4, batch_first=True)
    >>> report = rnnkit.testing.assert_no_leak(model, torch.randn(5, 7, 3))
    """
    # pytest leaves a frame with this local out of its traceback.
    __tracebackhide__ = True
    return verify(model, *inputs, **options)
