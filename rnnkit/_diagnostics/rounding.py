"""How far rounding may move what a model returns: measured, and never guessed from one dtype."""

from collections.abc import Iterable, Iterator
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
from rnnkit._diagnostics.isolation import Given, Session, Watch
from rnnkit._diagnostics.outputs import Leaves, same
from rnnkit._diagnostics.report import DROWNED, skip
from rnnkit._diagnostics.widened import run_wide

#: A feature that rounding moves by this part of its size moves by chance.
CHAOTIC = 0.1

#: How many times its size the last digit has grown then: in half precision a tenth is little.
GROWTH = 50


class Rounding:
    """What the model makes of rounding, on one batch.

    What costs runs of the model is measured when it is asked for first.

    Attributes:
        hidden: whether a difference was taken for rounding.
    """

    def __init__(
        self, session: Session, batch: Batch, normal: Leaves, apart: list[tuple[int, ...]]
    ) -> None:
        """Measure nothing yet; ``apart`` has each leaf's axes that are no feature's: batch, seq."""
        self._session, self._batch, self._normal, self._axes = session, batch, normal, apart
        self._scales: dict[int, Tensor] = {}
        self.hidden = False

    @cached_property
    def computation(self) -> Computation:
        """What ran on the batch as it is."""
        return compute(self._session, self._batch.tree(), self._normal)

    @cached_property
    def wide(self) -> Leaves | None:
        """What the model returns in float64; None if it does not run so."""
        return run_wide(self._session, self._batch.tree())

    def tolerance(self, *tensors: Tensor) -> float:
        """Return by how much rounding may part two kernels, relative to the largest number."""
        return tolerance(self.eps(*tensors), self._batch.steps or 1)

    def eps(self, *tensors: Tensor) -> float:
        """Return the relative step of the coarsest numbers that ran, or that tensors hold."""
        return max([self.computation.eps, *map(eps_of, tensors)])

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
        yield limit + AMPLIFIED * torch.maximum(moved, usual / 4) + self._chaos(index) * size

    def refuse_drowned(self, indices: Iterable[int]) -> None:
        """Skip a probe if rounding alone may move a feature of what it compared by its size.

        It costs no run of the model: where nothing had to be measured, nothing drowned.
        """
        if any(map(self._drowns, indices)):
            skip(DROWNED)

    def _drowns(self, index: int) -> bool:
        """Return whether rounding alone may move a feature of an output by its whole size."""
        if "_moved" not in self.__dict__ or index not in self._scales:
            return False
        *_, most = self.limits(index)
        size = self._scales[index]
        return bool(((most >= 2 * size) & (size > 0)).any())

    def _chaos(self, index: int) -> float:
        """Return by how many sizes rounding may move any feature of an output.

        Where a last digit grows to a tenth of a feature, chance decides which features it reaches,
        so that the features which did not move may move the next time. Elsewhere this is 0.
        """
        size = self._scales[index]
        moved = torch.maximum(self._moved[index].double(), self._moved_coarsely[index].double())
        grown = torch.where(size > 0, moved / size, 0.0).amax().item()
        wild = grown >= CHAOTIC and grown >= GROWTH * self.computation.eps
        return AMPLIFIED * grown if wild else 0.0

    def hides(self, before: Tensor, after: Tensor) -> bool:
        """Say whether two tensors inside the model differ by no more than rounding explains."""
        if not is_number(before):
            return same(before, after)
        off = apart(before, after)
        if not off.numel() or not bool(off.any()):
            return True
        is_small = off.max().item() <= self.tolerance(before) * largest(before)
        self.hidden |= is_small
        return is_small

    @cached_property
    def _moved(self) -> list[Any]:
        """By how much each output moves, if the last digits of all that modules return are changed.

        So it is with the numbers of the inputs.
        """
        moved = self._nothing()
        for phase in (0, 1):
            self._move(moved, change_last_digit(self._batch.tree(), phase), _changing(phase))
        return moved

    @cached_property
    def _moved_coarsely(self) -> list[Any]:
        """By how much each output moves, if the inputs change by the coarsest digit computed in.

        A model that turns float32 to bfloat16 rounds a change of the inputs' own last digit away,
        and what a layer makes of its own rounding would not be seen.
        """
        moved, eps = self._nothing(), self.computation.eps
        if any(eps > eps_of(leaf) > 0 for leaf in self._batch.leaves):
            self._move(moved, change_last_digit(self._batch.tree(), 0, eps))
        return moved

    def _nothing(self) -> list[Any]:
        return [
            torch.zeros(leaf.shape, device=leaf.device) if is_number(leaf) else leaf
            for leaf in self._normal
        ]

    def _move(self, moved: list[Any], inputs: Given, watch: Watch | None = None) -> None:
        """Run on changed inputs; raise what has moved to by how much it has now.

        A model may hold what it is given, or what a module returns, to a range that ends there:
        then the rest is changed alone.
        """
        ways = ((inputs, watch), (self._batch.tree(), watch), (inputs, None))
        outputs = (self._session.attempt(given, watch=hooks) for given, hooks in ways)
        output = next((found for found in outputs if found is not None), [])
        for index, (before, after) in enumerate(zip(self._normal, output, strict=False)):
            if is_number(before) and is_number(after) and before.shape == after.shape:
                moved[index] = torch.maximum(moved[index].double(), apart(before, after))


def _changing(phase: int) -> Watch:
    """Return what puts hooks on all modules that change the last digits of what they return."""

    def change(module: Any, args: Any, output: Any) -> Any:  # noqa: ARG001
        return change_last_digit(output, phase)

    def watch(model: torch.nn.Module) -> list[Any]:
        modules = (m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule))
        return [module.register_forward_hook(change) for module in modules]

    return watch
