"""Samples that are repeated as whole batches: undone on copies, and named if the leak is gone."""

from functools import partial
from typing import Any

from torch.utils import _pytree as pytree

from rnnkit._diagnostics.causes import clean_samples, is_gone
from rnnkit._diagnostics.events import place_of_call
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.isolation import Listener
from rnnkit._diagnostics.report import Line

#: So many calls are turned alone, before all are at once.
REPEATS = 4


class _Turned(Listener):
    """Repeats each sample, where a call repeats all of them: at one call, or at all for None."""

    def __init__(self, size: int, number: int | None) -> None:
        super().__init__()
        self.calls, self.rows = 0, list[Line]()
        self._size, self._number = size, number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or ``repeat_interleave`` in its place."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in ("repeat", "tile"):
            return func(*args, **kwargs)
        tensor, factors = args[0], pytree.tree_leaves((args[1:], kwargs))
        front = [1] * (tensor.dim() - len(factors))  # tile takes fewer
        factors = [*front, *factors]
        shape = [*[1] * (len(factors) - tensor.dim()), *tensor.shape]
        more = [axis for axis, times in enumerate(factors) if times != 1]
        if len(more) != 1 or shape[more[0]] != self._size:
            return func(*args, **kwargs)
        self.calls += 1
        if self._number not in (None, self.calls - 1):
            return func(*args, **kwargs)
        axis, times = more[0], factors[more[0]]
        text = f"repeat({', '.join(map(str, factors))})"
        cause = f"{text} lays batch after batch, and the rows are read sample by sample"
        fix = ("fix", f"repeat_interleave({times}, dim={axis})")
        self.rows = [("cause", cause), fix, ("at", place_of_call())]
        return tensor.reshape(shape).repeat_interleave(times, axis)


def whole_batches(perturbed: PerturbedRun, changed: int) -> list[Line]:
    """Say which call repeats the batch in place of each sample, if the other has no leak."""
    for number in [*range(REPEATS), None]:
        runs: list[_Turned] = []
        outputs = perturbed.both(partial(_turning, runs, perturbed.baseline.batch.size, number))
        if outputs and runs[-1].rows and is_gone(perturbed, outputs, clean_samples(changed)):
            return runs[-1].rows
        if not runs[-1].calls:
            return []
    return []


def _turning(runs: list[_Turned], size: int, number: int | None, _: Any) -> list[Any]:
    runs.append(_Turned(size, number))
    return [runs[-1].started()]
