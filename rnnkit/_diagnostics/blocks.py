"""A dependency in exact blocks: each block of steps reads itself, and nothing before it."""

from collections.abc import Mapping

from torch import Tensor

#: The last step of the output that a step of the input reaches.
Reach = Mapping[int, int]


def block_size(reach: Reach, steps: int) -> int | None:
    """Return the length of blocks in which the steps read; None if there are none.

    A state that starts afresh every so many steps looks like that: the last step of a block reaches
    itself alone, the one before it both, and so on.

    >>> from rnnkit._diagnostics.blocks import block_size
    >>> block_size({0: 2, 1: 2, 2: 2, 3: 5, 4: 5}, 6)
    3
    >>> block_size({0: 5, 1: 5, 2: 5, 3: 5, 4: 5}, 6) is None
    True
    """
    if not reach:
        return None
    size = reach[min(reach)] + 1
    starts = {step // size for step in reach}
    fits = all(last == min(steps, (step // size + 1) * size) - 1 for step, last in reach.items())
    # In each of two blocks, one step that reaches a later one at least.
    held = {step // size for step, last in reach.items() if last > step}
    return size if 2 <= size < steps and len(starts) > 1 and len(held) > 1 and fits else None


def blocks_of(matrix: Tensor) -> int | None:
    """Return the length of blocks in a map ``(outputs, inputs)`` that is square and has all steps.

    >>> import torch
    >>> from rnnkit._diagnostics.blocks import blocks_of
    >>> blocks_of(torch.block_diag(*[torch.ones(2, 2).tril()] * 3).bool())
    2
    """
    steps, inputs = matrix.shape
    if steps != inputs or not bool(matrix.any(0).all()):
        return None
    reach = {step: int(matrix[:, step].nonzero().max()) for step in range(steps)}
    size = block_size(reach, steps)
    before = size is not None and any(
        bool(matrix[: step // size * size, step].any()) for step in reach
    )
    return None if before else size
