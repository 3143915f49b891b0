"""The simulated device, once this is imported: ``"cuda"`` on a torch without CUDA.

``RNNKIT_DEVICE`` names the library that ``test_device.py`` has built from ``device.cpp``. torch asks for a
GPU when it is imported, and then once and for all: so a process of its own imports this first.
"""

import ctypes
import os
import sys
from typing import Any

assert "torch" not in sys.modules, "the device comes before torch"
LIBRARY = ctypes.CDLL(os.environ["RNNKIT_DEVICE"], mode=ctypes.RTLD_GLOBAL)
LIBRARY.waits_of_kind.restype = ctypes.c_long

import torch  # noqa: E402 - as the docstring says

#: For what a program waits, in the order of ``device.cpp``: copies to the host; copies to the device
#: that the caller waits for; numbers read; operators whose result has a size that depends on numbers.
KINDS = ("to host", "to device", "value", "unknown size")
#: What ``torch.cuda`` and ``torch.backends.cudnn`` answer as if there was one GPU. Their own answers
#: are compiled where there is CUDA.
ANSWERS = {
    torch.cuda: {
        "is_available": True,
        "is_initialized": True,
        "device_count": 1,
        "is_bf16_supported": True,
        "current_device": 0,
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
        "_lazy_init": None,
        "get_rng_state": torch.get_rng_state(),
        "set_rng_state": None,
    },
    torch.backends.cudnn: {"is_available": True, "version": 91000},
}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def waits() -> dict[str, int]:
    """Return for what the process has waited since ``forget_waits``, and how often."""
    counts = {kind: LIBRARY.waits_of_kind(place) for place, kind in enumerate(KINDS)}
    return {kind: count for kind, count in counts.items() if count}


def forget_waits():
    """Begin to count anew."""
    LIBRARY.forget_waits()


for module, answers in ANSWERS.items():
    for name, answer in answers.items():
        setattr(module, name, lambda *_, answer=answer, **__: answer)
cuda: Any = torch.cuda
cuda.default_generators = (torch.Generator("cpu"),)
cudnn: Any = torch.backends.cudnn
cudnn.is_acceptable = lambda one: cudnn.enabled and one.is_cuda and one.dtype in FLOATS
cudnn.rnn.get_cudnn_mode = ("RNN_RELU", "RNN_TANH", "LSTM", "GRU").index

import tests.device.cudnn  # noqa: E402, F401 - kernels of the device that is there now
