"""What the tests of strangers' uses share: twins of torch's modules, and a state for each."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.strategies import CELLS, LAYERS

SEQ, BATCH, INPUT, HIDDEN = 7, 5, 3, 4
X = torch.linspace(-1, 1, SEQ * BATCH * INPUT).view(SEQ, BATCH, INPUT)

layers = pytest.mark.parametrize("name", LAYERS)
cells = pytest.mark.parametrize("name", CELLS)


def state(name: str, batch: int = BATCH, *, kind: Callable[[Tensor], Tensor] = torch.clone) -> Any:
    """A state of one layer or one cell."""
    size = (batch, HIDDEN) if name in CELLS else (1, batch, HIDDEN)
    h, c = kind(torch.randn(size)), kind(torch.randn(size))
    return (h, c) if "LSTM" in name else h


def twins(name: str) -> tuple[Any, Any]:
    """Torch's module and ours, with the same weights."""
    theirs, ours = (getattr(space, name)(INPUT, HIDDEN) for space in (nn, rnnkit))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def step_by_step(cell: Any, x: Tensor, hx: Any = None) -> Tensor:
    """Call a cell in a loop."""
    outputs = []
    for x_t in x:
        hx = cell(x_t, hx)
        outputs.append(hx if isinstance(hx, Tensor) else hx[0])
    return torch.stack(outputs)


#: Sequences in no order of length.
PACKED = pack_padded_sequence(X, [3, 7, 2, 1, 5], enforce_sorted=False)
