"""What holds for every device, and can be asked without one."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from rnnkit._kernels.compiled.operators import ON_ANY_DEVICE
from rnnkit._kernels.padded import _closed

#: torch's keys of devices that it can lower calls on.
KEYS = [
    key
    for key in ("CPU", "CUDA", "HPU", "MPS", "MTIA", "XPU")
    if torch.amp.is_autocast_available(key.lower())
]
HALF = (torch.float16, torch.bfloat16)


@pytest.mark.parametrize("key", KEYS)
def test_closed_gates_are_finite(key):
    """What closes a gate is a number of the dtype that the kernel computes in, under autocast too."""
    device = key.lower()
    default = torch.get_autocast_dtype(device)
    for dtype, lowered in product((*HALF, torch.float32, torch.float64), (*HALF, None)):
        weight = SimpleNamespace(device=torch.device(device), dtype=dtype, is_complex=lambda: False)
        try:
            torch.set_autocast_enabled(device, lowered is not None)
            torch.set_autocast_dtype(device, lowered or torch.float16)
            closed = _closed(weight)
        finally:
            torch.set_autocast_enabled(device, False)
            torch.set_autocast_dtype(device, default)

        assert torch.tensor(closed, dtype=lowered or dtype).isfinite()
        assert torch.tensor(closed, dtype=dtype).isfinite()


def test_operators_have_a_kernel_for_every_device():
    """Their kernels are made of operators that each device has, so they are each device's."""
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("rnnkit::")]

    assert "rnnkit::layer" in names
    assert "rnnkit::resets_backward" in names
    for name in names:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(name, ON_ANY_DEVICE), name
        for key in (*KEYS, "PrivateUse1"):
            assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, key), (name, key)
