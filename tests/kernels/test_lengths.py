"""``lengths``: each sample of a padded batch gives what it gives alone, cut to its length."""

from typing import Any

import numpy as np
import pytest
import torch

import rnnkit
from tests.covering import covers
from tests.kernels.paths import LENGTHS, PATHS, SEQ, case_of, layers, on
from tests.strategies import assert_same, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


@covers(
    1,
    given_as=[
        tuple,
        torch.tensor,
        lambda lengths: torch.tensor(lengths, dtype=torch.int32),
        lambda lengths: torch.tensor(lengths, dtype=torch.uint8),
        np.array,
        lambda lengths: np.array(lengths[::-1])[::-1],
        lambda lengths: np.broadcast_to(np.array(lengths), len(lengths)),
        lambda lengths: np.array(lengths, dtype=object),
        lambda lengths: np.array(lengths, dtype=">i4"),
        lambda lengths: [torch.tensor(length) for length in lengths],
        lambda lengths: [np.int64(length) for length in lengths],
    ],
    path=PATHS,
)
def test_lengths_may_come_as_any_integers(given_as: Any, path: str) -> None:
    """Lengths in a tensor, an array or a tuple are those in a list."""
    case = case_of("LSTM")
    layer, x = case.module(rnnkit), case.numbers()

    with on(path):
        assert_same(layer(x, lengths=list(LENGTHS)), layer(x, lengths=given_as(LENGTHS)))


@layers
@pytest.mark.parametrize("lengths", [[], (), torch.empty(0, dtype=torch.int64), torch.tensor([])])
def test_a_batch_of_no_samples(name: str, lengths: Any) -> None:
    """An empty batch takes no lengths, and gives an empty output and state."""
    output, state = getattr(rnnkit, name)(2, 3, 2)(torch.randn(SEQ, 0, 2), lengths=lengths)

    assert output.shape == (SEQ, 0, 3)
    assert all(tensor.shape == (2, 0, 3) for tensor in tensors_of(state))
