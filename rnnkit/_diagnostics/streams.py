"""A sequence in chunks, the state passed on, beside the whole sequence at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.batch import Batch, is_whole
from rnnkit._diagnostics.carried import Carried
from rnnkit._diagnostics.changes import changed, steps_from
from rnnkit._diagnostics.compare import alike, apart, is_number, largest
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.judge import agree, refuse_chance
from rnnkit._diagnostics.report import OTHER_OUTPUTS, skip

#: So many steps are run one by one at most; the rest is a chunk.
SINGLE = 16


class Difference(NamedTuple):
    """Where the chunks give something else than the whole.

    Attributes:
        output: which one.
        step: the first step; None of what has no steps, as the last state.
        off: by how much, in parts of the largest number.
    """

    output: int
    step: int | None
    off: float


class Stream:
    """One way to pass a state on, and one way to cut the steps.

    Attributes:
        baseline: the model on the whole sequence.
        carried: how the state is passed on.
        sizes: how many steps each chunk has.
        given: the inputs of each chunk, with the state that it was given.
        outputs: the leaves of what the model returned for each.
    """

    def __init__(self, baseline: Baseline, carried: Carried, sizes: Sequence[int]) -> None:
        """Run the chunks one after the other; skip if the model does not take them."""
        self.baseline, self.carried, self.sizes = baseline, carried, list(sizes)
        self.given: list[Given] = []
        self.outputs: list[list[Any]] = []
        session, start = baseline.session, 0
        for size in sizes:
            given = chunk(baseline.batch, start, start + size)
            if start:
                given = carried.pass_on(given, session.returned)
            output = session.attempt(given)
            if output is None or len(output) != len(baseline.normal):
                what = "does not take" if output is None else "returns something else for"
                skip(f"the model {what} a chunk of {size} of {sum(sizes)} steps")
            self.given.append(given)
            self.outputs.append(output)
            start += size

    def difference(self) -> Difference | None:
        """Return where the chunks give something else: by step first, then in the last state."""
        baseline, stepped = self.baseline, False
        states: list[int] = []
        for index, leaf in enumerate(baseline.normal):
            if self.carried.holds(baseline.names[index]):
                states.append(index)
            elif not is_number(leaf):
                continue
            elif baseline.has_steps(index) and not baseline.missing(index):
                stepped = True
                if (found := self._in_steps(index)) is not None:
                    return found
        if not stepped and any(map(self._has_other_steps, range(len(baseline.normal)))):
            skip(OTHER_OUTPUTS)
        for index in states:
            if (found := self._at_end(index)) is not None:
                return found
        return None

    def _has_other_steps(self, index: int) -> bool:
        one, other = self.baseline.normal[index], self.outputs[0][index]
        return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape != other.shape

    def _in_steps(self, index: int) -> Difference | None:
        whole, axis = self.baseline.normal[index], self.baseline.step_axes[index] or 0
        parts = []
        for size, output in zip(self.sizes, self.outputs, strict=True):
            part = output[index]
            if isinstance(part, Tensor) and part.dim() == whole.dim() - 1 and size == 1:
                part = part.unsqueeze(axis)  # one step without its axis
            parts.append(part)
        shapes = [tuple(part.shape) for part in parts if isinstance(part, Tensor)]
        wanted = [(*whole.shape[:axis], size, *whole.shape[axis + 1 :]) for size in self.sizes]
        if shapes != wanted:
            skip(f"chunks of {self.sizes[0]} steps give outputs of other shapes")
        joined = torch.cat(parts, axis)
        for step in range(whole.shape[axis]):
            parts_at = whole.select(axis, step), joined.select(axis, step)
            if found := self._differs(index, step, *parts_at, lambda leaf: leaf.select(axis, step)):  # noqa: B023 - called at once
                return found
        return None

    def _at_end(self, index: int) -> Difference | None:
        whole, last = self.baseline.normal[index], self.outputs[-1][index]
        if not is_number(whole) or not is_number(last) or whole.shape != last.shape:
            return None
        return self._differs(index, None, whole, last, lambda leaf: leaf)

    def _differs(
        self, index: int, step: int | None, before: Tensor, after: Tensor, take: Take
    ) -> Difference | None:
        if agree(self.baseline, index, before, after, take):
            return None
        refuse_chance(self.baseline, index, before, after, take)
        return Difference(index, step, apart(before, after).max().item() / largest(before))

    def is_read(self) -> bool:
        """Return whether what the second chunk gives depends on the state of the first."""
        baseline, session, cut = self.baseline, self.baseline.session, self.sizes[0]
        inputs = changed(baseline.batch, steps_from(0, cut))
        other = None if inputs is None else session.attempt(inputs)
        if inputs is None or other is None or len(other) != len(baseline.normal):
            return True
        pairs = [
            (self._after(k, one, cut), self._after(k, two, cut))
            for k, (one, two) in enumerate(zip(baseline.normal, other, strict=True))
            if isinstance(one, Tensor) and isinstance(two, Tensor) and one.shape == two.shape
        ]
        if all(alike([one], [two]) for one, two in pairs):
            return True
        head = baseline.batch.with_leaves(pytree.tree_leaves(inputs, is_leaf=is_whole))
        if session.attempt(chunk(head, 0, cut)) is None:
            return True
        end = self.sizes[0] + self.sizes[1]
        given = self.carried.pass_on(chunk(baseline.batch, cut, end), session.returned)
        output = session.attempt(given)
        return output is None or not alike(self.outputs[1], output)

    def _after(self, index: int, leaf: Tensor, cut: int) -> Tensor:
        """Return the step after a cut; of what has no steps, all of it."""
        axis = self.baseline.step_axes[index]
        in_steps = self.baseline.has_steps(index) and not self.baseline.missing(index)
        return leaf.narrow(axis, cut, 1) if in_steps and axis is not None else leaf


def chunk(batch: Batch, start: int, end: int) -> Given:
    """Return the inputs with some steps only."""
    return batch.cut(end, front=True).cut(end - start, front=False).tree()


def ways_to_cut(steps: int) -> list[list[int]]:
    """Return the sizes of chunks: two, three, and single steps as far as there are few.

    >>> from rnnkit._diagnostics.streams import ways_to_cut
    >>> ways_to_cut(7)
    [[3, 4], [1, 1, 1, 1, 1, 1, 1]]
    """
    half = steps // 2
    few = min(steps, SINGLE)
    single = [1] * few + [steps - few] * (steps > few)
    return [[half, steps - half], *[single] * (steps > 2)]
