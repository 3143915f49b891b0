"""What a leak is looked for in: what happens in three runs of a model, side by side."""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.jit import ScriptModule
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.causes import SUSPECTS, Cause, Location, confirmed, fix_of
from rnnkit._diagnostics.events import Event, Recorder
from rnnkit._diagnostics.outputs import (
    Given,
    Leaves,
    Watch,
    apart,
    is_number,
    leaves,
    named_leaves,
    scale,
    shape_of,
)
from rnnkit._diagnostics.report import Line

#: Whether a tensor shows the leak; or is made of all samples, or steps, at once; None: not known.
Verdict = bool | Literal["joins"] | None


class Search(ABC):
    """Three runs, side by side: as it is, changed, and with less, which shows the axes.

    ``about`` is the sample that is changed, the first step that is, or how many samples there are.
    """

    probe, unit = "", ""

    def __init__(
        self,
        baseline: Baseline,
        inputs: Sequence[Given],
        index: int,
        sizes: tuple[int, int],
        about: int,
    ) -> None:
        self.baseline, self.session, self.inputs = baseline, baseline.session, inputs
        self.index, self.about, (self.size, self.smaller) = index, about, sizes
        self.is_strict, self.front = False, baseline.post or self.unit == "samples"
        (self.events, _, wanted), *others = runs = [self._recorded(one) for one in inputs]
        self.outputs, self.knows_axes = [output for _, output, _ in runs], bool(runs[2][0])
        self.after, self.less = (self._matched(events) for events, _, _ in others)
        self.number = self._first(wanted, len(self.events))

    def _recorded(self, inputs: Given) -> tuple[list[Event], Leaves, set[int]]:
        """Return what happens in a run, its output, and the ids of the tensors in question."""
        recorder = Recorder(functions=True)
        output = self.session.attempt(inputs, watch=recorder.watch)
        if output is None or isinstance(self.session.model, ScriptModule):
            return [], [], set()
        returned = self.session.returned
        named = [id(leaf) for _, leaf in named_leaves(returned, stack=True)][self.index :][:1]
        tensors = [id(leaf) for leaf in [*pytree.tree_leaves(returned), *leaves(returned)]]
        known = {key for event in recorder.events for key in event.made}
        wanted = known.intersection(named) or known.intersection(tensors) or known
        return recorder.events, output, wanted

    def _matched(self, other: list[Event]) -> list[tuple[Event | None, int | None]]:
        """Return for each event that of another run, and which sample or step a loop is at."""
        counts, found = Counter(map(call_of, self.events)), list[tuple[Event | None, int | None]]()
        calls, seen = defaultdict[Any, list[Event]](list), Counter[Any]()
        for event in other:
            calls[call_of(event)].append(event)
        for event in self.events:
            at, total, alike = seen[call := call_of(event)], counts[call], calls[call]
            seen[call] += 1
            is_loop = total * self.smaller == len(alike) * self.size
            if alike and (is_loop or total == len(alike)):
                unit = at * self.size // total if total != len(alike) else None
                found.append((self._paired(at, total, alike), unit))
            else:
                found.append((None, None))
        return found

    def _paired(self, at: int, total: int, others: Sequence[Any]) -> Any:
        """Return the same one of others, the nearest if it was left out."""
        at -= 0 if self.front else total - len(others)
        return others[min(max(at, 0), len(others) - 1)] if others else None

    def _tensors(self, number: int, place: int) -> tuple[Any, Any, Any, int | None]:
        """Return a tensor of an event, changed, and with less; and what a loop is at."""
        event, (after, _), (less, unit) = self.events[number], self.after[number], self.less[number]
        total = len(event.tensors)
        if less is not None and total != len(less.tensors):  # a list of samples, or of steps
            unit = place * self.size // total
        others = (self._paired(place, total, x.tensors if x else []) for x in (after, less))
        return event.tensors[place], *others, unit

    @abstractmethod
    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        """Return what a tensor shows, changed and with less, of a loop's sample or step."""

    def _why(self, number: int) -> list[Line]:  # noqa: ARG002 - each law has its own
        """Return the cause that the event itself shows."""
        return []

    def _axes(self, one: Tensor, fewer: Any, unit: int | None) -> list[int] | None:
        """Return the axes that are shorter with less; None if they are not known."""
        shape = list(one.shape)
        if not self.knows_axes:
            return [shape.index(self.size)] if shape.count(self.size) == 1 else None
        if not isinstance(fewer, Tensor) or fewer.dim() != len(shape):
            return None if unit is None else []
        return [k for k, n in enumerate(shape) if n != fewer.shape[k]]

    def _views(self, one: Tensor, axis: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return an axis, and shapes that have it to themselves: of several rows of each."""
        shape, rows = tuple(one.shape), one.shape[axis]
        if rows <= self.size or rows % self.size:
            return [(axis, shape)]
        front, back = shape[:axis], shape[axis + 1 :]
        ways = (*front, self.size, -1, *back), (*front, -1, self.size, *back)
        return [(axis, ways[0]), (axis + 1, ways[1])]

    def _differs(self, one: Tensor, other: Tensor) -> Tensor:
        """Return which numbers differ by more than rounding; what masks is not what counts."""
        if one.is_quantized or one.is_meta:  # no numbers to compare
            return torch.zeros(one.shape, dtype=torch.bool, device="cpu")
        if not (is_number(one) and is_number(other) and one.numel()):
            return one != other
        most = (self.baseline.tolerance or 0) * scale(one.reshape(-1), (0,)).view(one.shape)
        return apart(one, other) > most

    def _first(self, wanted: set[int] | frozenset[int], before: int) -> int | None:
        """Return the first event that shows the leak, going back from some tensors."""
        found, open_ = None, set(wanted)
        for number, hits, verdicts in self._back(before, open_):
            if verdicts <= {False}:
                open_ -= hits
            else:
                open_ |= self.events[number].given
                found = number if True in verdicts else found
        return found

    def _joined(self, number: int) -> int:
        """Return the first event that makes one of all, which an event then uses."""
        wanted, found = set(self.events[number].given), number
        for at, hits, verdicts in self._back(number, wanted):
            wanted -= hits
            if "joins" in verdicts:
                found = at
                wanted |= self.events[at].given
        return found

    def _back(self, before: int, wanted: set[int]) -> Iterator[tuple[int, set[int], set[Verdict]]]:
        """Yield events that made what is wanted then, from the last on, and what that shows."""
        for number in reversed(range(before)):
            made = self.events[number].made
            if hits := made.keys() & wanted:
                each = (self._tensors(number, made[key]) for key in hits)
                yield number, hits, {self._judged(*tensors) for tensors in each}

    def location(self) -> Location:
        """Return the first event that shows the leak, and what is to be said of it."""
        self.is_strict = True  # what undoes the cause, or an order, is told in the input's order
        if self.number is None:
            return self._elsewhere()
        causes, owner = self._causes(self.number), _owner(self.events[self.number])
        around = [name for name in causes if not name or f"{owner}.".startswith(f"{name}.")]
        groups = [*([name] for name in around), [*causes] if around else []]
        if rows := confirmed(causes, groups, self._is_gone):
            return Location(owner, [self._named(self.number), *rows])
        return self._at(self._joined(self.number))

    def _at(self, number: int, rows: Sequence[Line] = ()) -> Location:
        """Return an event as a location, and what is said of it, or how to end such a mistake."""
        event, (_, unit) = self.events[number], self.less[number]
        at = [("at", event.place)] * bool(event.place)
        is_call = event.kind == "input" and unit is not None
        kind = "loop" if is_call else event.text or event.class_name
        rows = rows or self._why(number) or fix_of(self._probe(number), kind)
        return Location(_owner(event), [self._named(number), *at, *rows])

    def _probe(self, number: int) -> str:  # noqa: ARG002 - padding may be that of the batch
        """Return whose mistakes an event is one of."""
        return self.probe

    def _causes(self, number: int) -> dict[str, Cause]:
        """Return what may be wrong with the modules that were called, or with the model's loop."""
        found, suspect, batch = {}, SUSPECTS[self.probe], self.baseline.batch
        loops = {e.name for e, (_, unit) in zip(self.events, self.less, strict=True) if unit}
        for event, (less, unit) in zip(self.events, self.less, strict=True):
            if event.kind == "input" and event.tensors and isinstance(event.tensors[0], Tensor):
                fewer = next(iter(less.tensors), None) if less else None
                axes = self._axes(event.tensors[0], fewer, unit) or []
                is_one = len(axes) == 1 and len(self._views(event.tensors[0], axes[0])) == 1
                inside = any(name.startswith(f"{event.name}.") for name in loops)
                found[event.name] = suspect(event, axes[0] if is_one else None, inside)
        if self.less[number][1] is not None and "" not in found:
            args: Any = self.inputs[0].args, {}
            given = Event("input", "", self.session.model, args, batch.leaves[:1], is_packed=False)
            found[""] = suspect(given, batch.axes[0], True)
        return {name: cause for name, cause in found.items() if cause is not None}

    def _is_gone(self, watch: Watch) -> bool:
        """Return whether the output shows no leak under hooks, and moves where it may."""
        runs = [self.session.attempt(one, watch=watch) or [] for one in self.inputs[:2]]
        one, other, fewer = ((run[self.index :] or [None])[0] for run in (*runs, self.outputs[2]))
        normal = [shape_of(output[self.index]) for output in self.outputs[:2]]
        if [shape_of(one), shape_of(other)] != normal:
            return False
        is_clean = self._judged(one, other, fewer, None) is False
        return is_clean and (self.probe == "padding" or bool(self._differs(one, other).any()))

    def _named(self, number: int) -> Line:
        """Name an event: a module and its call, or a function, in or after a module."""
        event, before = self.events[number], self.events[:number]
        if event.kind != "function":
            call = sum(call_of(one) == call_of(event) for one in before)
            return "first", f"{event.label} ({event.class_name}), {event.kind} of call {call}"
        last = [f", after {one.label}" for one in before if one.kind == "output"][-1:]
        where = f", in {event.around} ({event.class_name})" if event.around else "".join(last)
        return "first", f"{event.text}{where}"

    def _elsewhere(self) -> Location:
        """Return why no place was found."""
        loops = [e.label for e, (_, unit) in zip(self.events, self.less, strict=True) if unit]
        text, rows = "not found", list[Line]()
        if isinstance(self.session.model, ScriptModule):
            text = "not found: no hooks can be put on a ScriptModule"
        elif loops:
            text = f"not found: {loops[-1]} is called in a loop over the {self.unit}"
            rows = fix_of(self.probe, "loop")
        elif not self.knows_axes:
            text = f"not found: the model does not run with less {self.unit}"
        elif any(after is None for after, _ in self.after):
            text = "not found: the model calls other modules on other values"
        return Location("", [("first", text), *rows])


def call_of(event: Event) -> tuple[str, ...]:
    """Return what is the same in another run."""
    is_function = event.kind == "function"
    return event.kind, event.name, *[event.around, event.place] * is_function


def _owner(event: Event) -> str:
    return event.around if event.kind == "function" else event.name
