"""What a cell is run over, and how."""

from typing import Any, NamedTuple

from torch import Tensor

from rnnkit._kernels.lengths import Lengths


class UnrollArgs(NamedTuple):
    """What a cell is run over, ``(seq, batch, feature)``, and how, as ``unroll`` describes it.

    ``hx`` is None if the cell makes it; ``reset`` ``(seq, batch)`` returns to ``initial``.
    """

    input: Tensor
    hx: Any
    lengths: Lengths | None = None
    reset: Tensor | None = None
    initial: Any = None
    reverse: bool = False
    return_states: bool = False
