"""Calls that end the process in torch, or that torch takes silently, raise StateError here."""

import subprocess
import sys

import pytest

SCRIPT = """
import torch
import rnnkit
from torch.nn.utils.rnn import pack_padded_sequence

packed = pack_padded_sequence(torch.randn(6, 3, 4), [6, 4, 1])
lstm, cell = rnnkit.LSTM(4, 5, num_layers=2), rnnkit.LSTMCell(4, 5)
calls = [
    lambda: lstm(packed, (torch.randn(2, 3, 5), torch.randn(1, 3, 5))),
    lambda: lstm(packed, (torch.randn(2, 1, 3, 5), torch.randn(2, 1, 3, 5))),
    lambda: cell(torch.randn(4), (torch.randn(5, 5), torch.randn(5, 5))),
]
for call in calls:
    try:
        call()
    except RuntimeError as error:
        print(type(error).__name__)
"""


@pytest.mark.slow
def test_a_call_that_ends_the_process_in_torch_is_refused():
    """What is a segmentation fault in torch is an exception, which a program can catch."""
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own words

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["StateError"] * 3
