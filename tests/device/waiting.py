"""How often the host waits for a device: counted on the simulated one, refused on a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

IS_SIMULATED = "RNNKIT_DEVICE" in os.environ
#: What torch says in ``aten/src/ATen/native/cudnn/RNN.cpp``.
SCATTERED = "RNN module weights are not part of single contiguous chunk of memory."


@contextmanager
def at_most(budget: int, call: str) -> Iterator[None]:
    """Check that what is run within makes the host wait so often at most.

    A GPU does not count: there, torch raises an error where it would wait and may not at all.
    """
    if not IS_SIMULATED:
        torch.cuda.set_sync_debug_mode("default" if budget else "error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return
    from tests.device.simulated import forget_waits, waits  # noqa: PLC0415 - it makes the device

    forget_waits()
    yield
    counted = waits()
    assert sum(counted.values()) <= budget, (call, counted)
