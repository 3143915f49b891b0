"""Hold the laws on the simulated device: ``RNNKIT_DEVICE=library.so python -m tests.device``."""

import os
import pathlib
import sys

import pytest

import tests.device.simulated  # noqa: F401 - before the laws, which import torch

code = pytest.main([str(pathlib.Path(__file__).with_name("laws.py")), *sys.argv[1:]])
# Threads of the device do not end in order.
sys.stdout.flush()
os._exit(code)
