"""Which axis of an input the batch is, where several axes are as long or none may be it."""

import itertools
from collections.abc import Callable

from torch import Tensor

from rnnkit._batches import Batch
from rnnkit._cost import TRIES

Shape = tuple[int, ...]


def settle(batch: Batch, runs: Callable[[Batch], bool]) -> None:
    """Try axes for the inputs after the first until the model takes a batch of fewer samples.

    Inputs of one shape, as the two states of an LSTM, have the batch at the same axis; the last
    choice is that they have none, as a mask over steps. Of the first input the caller has said it.

    Args:
        batch: the inputs; its axes are settled.
        runs: says whether the model takes a batch.
    """
    choices: dict[Shape, list[int | None]] = {}
    for index, axis in _open(batch):
        shape = tuple(batch.leaves[index].shape)
        others = [k for k, length in enumerate(shape) if length == batch.size and k != axis]
        choices[shape] = [axis, *others, None]
    given = list(batch.axes)
    if batch.size > 1:
        for chosen in itertools.islice(itertools.product(*choices.values()), TRIES):
            _lay(batch, dict(zip(choices, chosen, strict=True)))
            if runs(batch.samples(range(min(batch.size - 1, 2)))):
                return
            batch.axes = list(given)
    # The model takes no other batch: what may lie one way or another is left as it is.
    _lay(batch, {shape: None for shape, axes in choices.items() if len(axes) > 2})


def _open(batch: Batch) -> list[tuple[int, int]]:
    return [
        (index, axis)
        for index, axis in enumerate(batch.axes)
        if axis is not None and isinstance(batch.leaves[index], Tensor) and index != batch.first
    ]


def _lay(batch: Batch, axes: dict[Shape, int | None]) -> None:
    for index, axis in _open(batch):
        batch.axes[index] = axes.get(tuple(batch.leaves[index].shape), axis)
