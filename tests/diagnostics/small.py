"""Small layers, and what ``verify`` says of a wrong model made of them."""

from typing import Any

import pytest
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, numbers, text


def gru(width: int = FEATURE, **options: Any) -> nn.GRU:
    """Make a batch-first layer."""
    return nn.GRU(width, HIDDEN, **{"batch_first": True, **options})


def lstm(width: int = FEATURE, **options: Any) -> nn.LSTM:
    """Make a batch-first layer."""
    return nn.LSTM(width, HIDDEN, **{"batch_first": True, **options})


def said(model: nn.Module, *inputs: Any, **options: Any) -> str:
    """Verify a wrong model, on a batch of numbers if no inputs are given; return what is said."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, *(inputs or (numbers(BATCH, SEQ, FEATURE),)), **options)
    return text(error.value)
