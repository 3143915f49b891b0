"""Which part of an output has a gradient in which part of the inputs: what may be faint, or seldom.

A recurrent net forgets: after some dozens of steps the effect of an input is smaller than the last
digit of the output. Its gradient is as small, but it stands by itself, not beside a large number.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import named_leaves

#: A gradient is about to vanish if it is no more than this power of the smallest number.
VANISHING = 0.9


class Gradients:
    """Which part of an output has a gradient with respect to which part of the inputs.

    Attributes:
        are_whole: whether every input that has the axis was followed: integers are where an
            embedding reads them. A backward that fails, later, makes it false.
        vanish: whether some came so close to the smallest number that others may be below it.
    """

    def __init__(self, batch: Batch, opened: Session, first: int) -> None:
        """Run a copy of the model with gradients."""
        self._sources: list[tuple[Tensor, int]] = []
        self._batch, self.vanish = batch, False
        self._missing = {k for k, leaf, _ in self._followed() if not leaf.is_floating_point()}
        try:
            self._output = self._run(opened, first)
        except Exception:  # noqa: BLE001 - a model may refuse to be differentiated as it likes
            self._output = None
        has_gradient = self._output is not None and self._output.requires_grad
        self.are_whole = has_gradient and bool(self._sources) and not self._missing

    def sizes(self, dim: int, index: int, places: Sequence[int]) -> Tensor:
        """Return how large the gradient of a part of the output is at places of the inputs.

        The part is at an index on an axis, ``dim``; the places are indices on the axis of the
        inputs.
        """
        part = self._output.narrow(dim, index, 1)
        # A plain sum is the same whatever is in it where that is normed, as by softmax.
        generator = torch.Generator("cpu").manual_seed(0)
        weights = torch.rand(part.shape, generator=generator, device="cpu") + 0.5
        total = (part * weights.to(part.device, part.dtype)).sum()
        # What begins large sinks below the smallest number later.
        factor = torch.finfo(part.dtype).max ** 0.5
        total = total * factor
        wanted = total.real if total.is_complex() else total
        sources = [source for source, _ in self._sources]
        found: tuple[Tensor | None, ...]
        try:
            found = torch.autograd.grad(wanted, sources, retain_graph=True, allow_unused=True)
        except Exception:  # noqa: BLE001 - what the model wrote in place, or a backward of its own
            self.are_whole = False
            found = (None,) * len(sources)
        reached = torch.zeros(len(places), dtype=torch.float64, device="cpu")
        for gradient, (_, axis) in zip(found, self._sources, strict=True):
            if gradient is not None:
                rows = gradient.nan_to_num(0.0).movedim(axis, 0)
                smallest = torch.finfo(rows.dtype).tiny ** VANISHING
                self.vanish |= bool((rows.ne(0) & (rows.abs() < smallest)).any())
                largest = rows.abs().reshape(len(rows), -1).amax(1)[list(places)]
                reached = reached.maximum(largest.double().cpu() / factor)
        return reached

    def _followed(self) -> Iterator[tuple[int, Tensor, int]]:
        batch = self._batch
        for place, (leaf, axis) in enumerate(zip(batch.leaves, batch.axes, strict=True)):
            if axis is not None and isinstance(leaf, Tensor) and batch.is_content(place):
                yield place, leaf, axis

    def _run(self, opened: Session, first: int) -> Any:
        copy, _ = opened.pristine.copy()
        leaves = [x.detach().clone() if isinstance(x, Tensor) else x for x in self._batch.leaves]
        for place, leaf, axis in self._followed():
            if leaf.is_floating_point():
                source = leaf.detach().clone().requires_grad_()
                self._sources.append((source, axis))
                # A model may write into what it is given, and into no leaf of a graph.
                leaves[place] = source * 1
        given = self._batch.tree(leaves)
        for module in copy.modules():
            if isinstance(module, torch.nn.Embedding):
                module.register_forward_hook(self._embedded)
        opened.passes += 1
        cudnn = torch.backends.cudnn.flags(enabled=False)  # its backward wants train mode
        with opened.watched(notices=False), torch.enable_grad(), cudnn:
            output = opened.call(copy, *given.args, **given.kwargs)
        return named_leaves(output, stack=True)[first][1]

    def _embedded(self, _: Any, args: Any, output: Tensor) -> Any:
        """Follow what an embedding makes of an input that it is given as it is."""
        for place, leaf, axis in self._followed():
            if args and isinstance(args[0], Tensor) and _are_equal(args[0], leaf):
                source = output.detach().clone().requires_grad_()
                self._sources.append((source, axis))
                self._missing.discard(place)
                return source * 1
        return output


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
