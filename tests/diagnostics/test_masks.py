"""Masks as people give them: they say what padding is, and are no content that may be changed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, LENGTHS, SEQ, Model, numbers
from tests.diagnostics.models_of_users import mask as valid_steps

VALID = valid_steps(torch.tensor(LENGTHS))

#: A mask as it is given, from one of flags, ``(batch, seq)``.
GIVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "flags": lambda valid: valid,
    "numbers": lambda valid: valid.float(),
    "integers": lambda valid: valid.long(),
    "a feature": lambda valid: valid.unsqueeze(2).float(),
    "an integer as a feature": lambda valid: valid.unsqueeze(2).long(),
}


def averaging(is_right: bool, seq: int) -> Model:
    """Take the mean over what a mask says is valid, or over all steps."""

    def compute(m: Any, x: Tensor, mask: Tensor) -> Tensor:
        y = m.gru(x)[0]
        kept = mask.reshape(mask.shape[0], mask.shape[1], 1).to(y.dtype)
        return (y * kept).sum(seq) / kept.sum(seq) if is_right else y.mean(seq) + 0 * kept.sum(seq)

    return Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=seq == 1))


@pytest.mark.parametrize("seq", [1, 0], ids=["batch first", "steps first"])
@pytest.mark.parametrize("name", GIVEN)
def test_mask_of_padding(name: str, seq: int) -> None:
    """A model that reads the valid steps alone is judged and right, whatever is in the padding."""
    x, mask = numbers(BATCH, SEQ, FEATURE), GIVEN[name](VALID)
    inputs = (x, mask) if seq == 1 else (x.transpose(0, 1), mask.transpose(0, 1))
    report = rnnkit.verify(averaging(True, seq), *inputs, batch_dim=1 - seq, lengths=LENGTHS)

    assert {"batch", "alone", "padding"} <= {*report.checked}
    with pytest.raises(rnnkit.LeakError):
        rnnkit.verify(averaging(False, seq), *inputs, batch_dim=1 - seq, lengths=LENGTHS)
