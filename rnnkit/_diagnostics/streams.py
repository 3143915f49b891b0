"""A sequence in chunks, passing the state along, beside the whole sequence at once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.batch import Batch, is_whole
from rnnkit._diagnostics.carried import Carried
from rnnkit._diagnostics.causes import Change, Location, blame, confirmed, forward_only
from rnnkit._diagnostics.changes import changed, steps_from
from rnnkit._diagnostics.compare import alike, apart, is_number, largest
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.isolation import Given, Watch
from rnnkit._diagnostics.judge import agree, near, refuse_chance
from rnnkit._diagnostics.module_calls import KINDS, from_state
from rnnkit._diagnostics.report import FIXES, OTHER_OUTPUTS, Line, skip

#: So many steps are run one by one at most; the rest is a chunk.
SINGLE = 16


class Difference(NamedTuple):
    """In which output, and from which step on, the chunks differ from the whole, and how far.

    The step is None where there are none, as in the last state; ``off`` is in parts of the largest.
    """

    output: int
    step: int | None
    off: float


class Stream:
    """One way to pass a state along, and one way to cut the steps.

    Attributes:
        baseline: the model on the whole sequence.
        carried, sizes: how the state is passed along, and how many steps each chunk has.
        given, outputs: the inputs of each chunk, with its state, and what the model returned.
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
        """Return where the chunks differ: by step first, then in the last state."""
        baseline = self.baseline
        states = [k for k, name in enumerate(baseline.names) if self.carried.holds(name)]
        rest = [k for k in range(len(baseline.normal)) if k not in states]
        stepped = [k for k in rest if self._has_steps(k)]
        for index in stepped:
            axis, start = baseline.step_axes[index] or 0, 0
            for size, output in zip(self.sizes, self.outputs, strict=True):
                whole = baseline.normal[index].narrow(axis, start, size)
                part = _as_steps(output[index], whole, axis)
                if part is None:
                    skip(f"chunks of {self.sizes[0]} steps give outputs of other shapes")
                for step in range(size):
                    take: Take = lambda leaf, at=start + step: leaf.select(axis, at)  # type: ignore[misc]  # noqa: B023, E731 - called at once
                    both = whole.select(axis, step), part.select(axis, step)
                    if (found := self._differs(index, start + step, *both, take)) is not None:
                        return found
                start += size
        if not stepped and any(map(self._has_other_steps, range(len(baseline.normal)))):
            skip(OTHER_OUTPUTS)
        for index in states:
            whole, last = baseline.normal[index], self.outputs[-1][index]
            if is_number(whole) and is_number(last) and whole.shape == last.shape:
                found = self._differs(index, None, whole, last, lambda leaf: leaf)
                if found is not None:
                    return found
        return None

    def _has_steps(self, index: int) -> bool:
        baseline = self.baseline
        steps = baseline.has_steps(index) and not baseline.missing(index)
        return steps and is_number(baseline.normal[index])

    def _has_other_steps(self, index: int) -> bool:
        one, other = self.baseline.normal[index], self.outputs[0][index]
        return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape != other.shape

    def _differs(
        self, index: int, step: int | None, before: Tensor, after: Tensor, take: Take
    ) -> Difference | None:
        if agree(self.baseline, index, before, after, take):
            return None
        refuse_chance(self.baseline, index, before, after, take)
        return Difference(index, step, apart(before, after).max().item() / largest(before))

    def holds(self, whole: Watch | None = None, second: Watch | None = None) -> bool:
        """Return whether the second chunk returns what the whole does, under hooks."""
        baseline, (start, size) = self.baseline, self.sizes[:2]
        run, normal = baseline.session.attempt, baseline.normal
        full = normal if whole is None else run(baseline.batch.tree(), watch=whole)
        output = run(self.given[1], watch=second)
        pairs = [
            (part, _as_steps(output[k], part, axis))
            for k, axis in enumerate(baseline.step_axes)
            if full is not None and output is not None and axis is not None and self._has_steps(k)
            for part in [full[k].narrow(axis, start, size)]
        ]
        return bool(pairs) and all(
            two is not None and near(baseline, one, two) for one, two in pairs
        )

    def is_read(self) -> bool:
        """Return whether what the second chunk returns depends on the state of the first."""
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
        head = baseline.batch.with_leaves(pytree.tree_leaves(inputs, is_leaf=is_whole))
        forgets = all(alike([one], [two]) for one, two in pairs)
        if forgets or session.attempt(chunk(head, 0, cut)) is None:
            return True
        given = self.carried.pass_on(self.given[1], session.returned)
        output = session.attempt(given)
        return output is None or not alike(self.outputs[1], output)

    def _after(self, index: int, leaf: Tensor, cut: int) -> Tensor:
        """Return the step after a cut; of what has no steps, all of it."""
        axis = self.baseline.step_axes[index] or 0
        return leaf.narrow(axis, cut, 1) if self._has_steps(index) else leaf


def _as_steps(part: object, whole: Tensor, axis: int) -> Tensor | None:
    """Return a chunk's output with the axis of steps, which one step may lack; None if unfit."""
    if isinstance(part, Tensor) and part.dim() == whole.dim() - 1 and whole.shape[axis] == 1:
        part = part.unsqueeze(axis)
    return part if isinstance(part, Tensor) and part.shape == whole.shape else None


def chunk(batch: Batch, start: int, end: int) -> Given:
    """Return the inputs with some steps only."""
    return batch.cut(end, front=True).cut(end - start, front=False).tree()


def ways_to_cut(steps: int) -> list[list[int]]:
    """Return the sizes of chunks: two halves, and single steps as far as there are few.

    >>> from rnnkit._diagnostics.streams import ways_to_cut
    >>> ways_to_cut(7)
    [[3, 4], [1, 1, 1, 1, 1, 1, 1]]
    """
    half, few = steps // 2, min(steps, SINGLE)
    single = [1] * few + [steps - few] * (steps > few)
    return [[half, steps - half], *[single] * (steps > 2)]


def find_break(stream: Stream) -> Location:
    """Find the first module that returns something else in the second chunk, and why."""
    session, baseline = stream.baseline.session, stream.baseline
    inputs = [baseline.batch.tree(), *stream.given[:2]]
    try:
        whole, first, second = (record(session, given) for given in inputs)
    except Exception:  # noqa: BLE001 - a model may refuse to be watched
        return Location("", [])
    made: dict[str, Any] = {}  # the states after the first chunk
    for one in first:
        if one.kind == "output" and isinstance(one.module, KINDS):
            state = one.tensors[1:] if isinstance(one.module, RNNBase) else one.tensors
            made |= {one.name: tuple(state) if len(state) > 1 else state[0]} if state else {}

    def passed(name: str, _: torch.nn.Module) -> Change:
        def start(number: int, args: Any, kwargs: Any) -> Any:
            return None if number else from_state(args, kwargs, made[name])

        return {"before": start}

    event = _first_break(stream, whole, second)
    rows: list[Line] = []
    if event is not None:
        rows = [("first", f"{event.label} ({event.class_name}), {event.kind}")]
    name, is_last = event.name if event else "", event is not None and event.kind == "output"
    if not (event is None or (is_last and isinstance(event.module, KINDS))) or stream.holds():
        return Location(name, rows)
    for each in [name] if event else made:
        text = "does not start the second chunk from the state that it returned"
        lost = blame(f"{each or 'the model'} {text}", FIXES["streaming"], passed)
        groups = [[each], [*made]] if each in made else []
        if cause := confirmed(lost, groups, lambda watch: stream.holds(second=watch)):
            return Location(each, [*rows, *cause])
    if event is None or not getattr(event.module, "bidirectional", False):
        return Location(name, rows)
    text = f"{event.label} is bidirectional: its backward direction reads the chunks to come"
    back = blame(text, f"{event.class_name}(..., bidirectional=False)", forward_only)
    cause = confirmed(back, [[name]], lambda watch: stream.holds(watch, watch))
    return Location(name, [*rows, *cause])


def _first_break(stream: Stream, whole: list[Event], second: list[Event]) -> Event | None:
    """Return the first event whose steps in the second chunk differ from those in the whole."""
    runs = [_by_call(run) for run in (whole, second)]
    steps, (start, size) = sum(stream.sizes), stream.sizes[:2]
    seen = Counter[tuple[str, str]]()
    for event in whole:
        key = event.kind, event.name
        calls, others = (run[key] for run in runs)
        # A call for all steps, or calls for each step, some of them in the first chunk.
        skipped = 0 if len(calls) == len(others) else start * len(calls) // steps
        at = seen[key] - skipped
        seen[key] += 1
        each = skipped == 0 or len(calls) * size == len(others) * steps
        if not each or not 0 <= at < len(others):
            continue
        pair: list[Any] = [next(iter(e.tensors), None) for e in (event, others[at])]
        if not all(map(is_number, pair)) or pair[0].dim() != pair[1].dim():
            continue
        sizes = [tuple(x.shape) for x in pair]
        axes = [k for k, (one, two) in enumerate(zip(*sizes, strict=True)) if one != two]
        if [(sizes[0][k], sizes[1][k]) for k in axes] == [(steps, size)] * (skipped == 0):
            part = pair[0].narrow(axes[0], start, size) if axes else pair[0]
            if not near(stream.baseline, part, pair[1]):
                return event
    return None


def _by_call(events: list[Event]) -> dict[tuple[str, str], list[Event]]:
    found: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        found[event.kind, event.name].append(event)
    return found
