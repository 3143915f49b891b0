"""How far rounding may move what a model returns: measured, and never guessed from one dtype."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.compare import (
    AMPLIFIED,
    Computation,
    apart,
    change_last_digit,
    compute,
    eps_of,
    is_number,
    largest,
    scale,
    tolerance,
)
from rnnkit._diagnostics.isolation import Session, Watch
from rnnkit._diagnostics.outputs import Leaves, same


class Rounding:
    """What the model makes of rounding, on one batch.

    What costs runs of the model is measured when it is asked for first.
    """

    def __init__(
        self, session: Session, batch: Batch, normal: Leaves, apart: list[tuple[int, ...]]
    ) -> None:
        """Measure nothing yet.

        Args:
            session: runs the model.
            batch: the inputs.
            normal: the leaves of the output.
            apart: of each leaf, the axes that are no feature's: batch and seq.
        """
        self._session, self._batch, self._normal, self._axes = session, batch, normal, apart
        self._scales: dict[int, Tensor] = {}

    @cached_property
    def computation(self) -> Computation:
        """What ran on the batch as it is."""
        return compute(self._session, self._batch.tree())

    def tolerance(self, *tensors: Tensor) -> float:
        """Return by how much rounding may part two kernels, relative to the largest number."""
        eps = max([self.computation.eps, *map(eps_of, tensors)])
        return tolerance(eps, self._batch.steps or 1)

    def limits(self, index: int) -> Iterator[Tensor]:
        """Yield how far each number of an output may move at least, and at most.

        The first costs no run of the model, the next a run, the last two more.
        """
        leaf, axes = self._normal[index], self._axes[index]
        if index not in self._scales:
            self._scales[index] = scale(leaf, axes)
        size = self._scales[index]
        yield tolerance(eps_of(leaf), self._batch.steps or 1) * size
        limit = self.tolerance(leaf) * size
        yield limit
        moved = self._moved[index]
        # At one place it may have moved little by chance.
        usual = moved.amax(axes, keepdim=True) if axes else moved
        yield limit + AMPLIFIED * torch.maximum(moved, usual / 4)

    def hides(self, before: Tensor, after: Tensor) -> bool:
        """Say whether two tensors inside the model differ by no more than rounding explains."""
        if not is_number(before):
            return same(before, after)
        off = apart(before, after)
        return not off.numel() or off.max().item() <= self.tolerance(before) * largest(before)

    @cached_property
    def _moved(self) -> list[Tensor]:
        """By how much each output moves, if the last digits of all that modules return are changed.

        So it is with the numbers of the inputs.
        """
        moved = [torch.zeros(leaf.shape) if is_number(leaf) else leaf for leaf in self._normal]
        for phase in (0, 1):
            inputs = change_last_digit(self._batch.tree(), phase)
            output = self._session.run(inputs, watch=_changing(phase))
            for index, (before, after) in enumerate(zip(self._normal, output, strict=False)):
                if is_number(before) and is_number(after) and before.shape == after.shape:
                    moved[index] = torch.maximum(moved[index].double(), apart(before, after))
        return moved


def _changing(phase: int) -> Watch:
    """Return what puts hooks on all modules that change the last digits of what they return."""

    def change(module: Any, args: Any, output: Any) -> Any:  # noqa: ARG001
        return change_last_digit(output, phase)

    def watch(model: torch.nn.Module) -> list[Any]:
        modules = (m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule))
        return [module.register_forward_hook(change) for module in modules]

    return watch
