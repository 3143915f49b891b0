"""What happens in a run: what modules and functions are given and return, what is kept or drawn."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._base.callers import calling_frame, user_frame
from rnnkit._diagnostics.compare import equal
from rnnkit._diagnostics.isolation import Given, Session, Source, Watch, sources
from rnnkit._diagnostics.module_calls import hooked, is_recurrent, named_arguments, sizes_of
from rnnkit._diagnostics.outputs import leaves, tensors_of

#: Attributes of a module that are torch's own.
TORCHS = frozenset(vars(torch.nn.Module()))


@dataclass(frozen=True, eq=False)
class Event:
    """The input or output of a module's call."""

    kind: Literal["input", "output"]
    name: str
    module: torch.nn.Module
    tree: Any  # the arguments by position and by name, or the result: the tensors themselves
    tensors: list[Any]  # copies of them, as they were then; None for anything else
    is_packed: bool

    @property
    def class_name(self) -> str:
        """The name of the module's class."""
        return type(self.module).__name__

    @property
    def label(self) -> str:
        """What a message calls the module: the model itself has no name."""
        return self.name or "the model"


@dataclass(frozen=True, eq=False)
class Step:
    """What a function of torch returned, and where in the user's code; or a module."""

    number: int  # of the event that comes next
    name: str  # empty for a module
    text: str  # with its axes, for a message
    place: str  # file and line
    given: set[int]  # the ids of tensors
    made: set[int]  # the ids of what it returned, or wrote
    tensors: list[Any]  # copies of that; none of a module, which has its events


def record(session: Session, inputs: Given) -> list[Event]:
    """Run the model and write down every call of its modules, in the order of time."""
    events: list[Event] = []
    session.run(inputs, watch=watching(events.append))
    return events


def record_steps(session: Session, inputs: Given, numbers: Collection[int]) -> "Steps":
    """Run the model and write down what functions return before some events.

    The last of these numbers is what it is about; beyond the last event it is the output of the
    model.
    """
    steps = Steps(numbers)
    watch = watching(steps.count)
    session.run(inputs, watch=lambda model: [*watch(model), steps.started()])
    if steps.events <= max(numbers):
        steps.wanted = steps.known(session.returned)
    return steps


def watching(note: Callable[[Event], Any]) -> Watch:
    """Return what notes every call of a model's modules."""

    def noted(kind: Literal["input", "output"], name: str, module: Any) -> Callable[..., Any]:
        def write(*given: Any) -> None:
            tree = given if kind == "input" else given[0]
            tensors = [leaf.clone() if isinstance(leaf, Tensor) else None for leaf in leaves(tree)]
            parts = pytree.tree_leaves(tree, is_leaf=lambda x: isinstance(x, PackedSequence))
            is_packed = any(isinstance(part, PackedSequence) for part in parts)
            note(Event(kind, name, module, tree, tensors, is_packed))

        return write

    return lambda model: [
        handle
        for name, module in model.named_modules()
        if (name or is_recurrent(module)) and not isinstance(module, torch.jit.ScriptModule)
        for handle in hooked(module, noted("input", name, module), noted("output", name, module))
    ]


class Steps(TorchFunctionMode):
    """Writes down what functions and modules return; as a hook's handle it stops when removed.

    It is a mode of functions, since one of operators imports torch's compiler, which takes seconds.
    Tensors are known by their ids, and kept alive so that no other one gets the same.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        """Take the events before which functions are written down."""
        super().__init__()
        self.seen: list[Step] = []
        self.wanted: set[int] = set()  # the tensors that the last event is about
        self.events = 0
        self._numbers, self._last = set(numbers), max(numbers)
        self._begun: list[set[int]] = []
        self._alive: list[Tensor] = []

    def started(self) -> "Steps":
        """Begin."""
        self.__enter__()  # type: ignore[no-untyped-call]
        return self

    def remove(self) -> None:
        """Stop."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def known(self, tree: Any) -> set[int]:
        """Return which tensors are in a tree."""
        tensors = [part for part in pytree.tree_leaves(tree) if isinstance(part, Tensor)]
        self._alive += tensors
        return {id(tensor) for tensor in tensors}

    def count(self, event: Event) -> None:
        """Count an event; a module makes what comes out of what goes in."""
        if self.events > self._last:
            return
        tensors = self.known(event.tree)
        if self.events == self._last:
            self.wanted = tensors
        elif event.kind == "input":
            self._begun.append(tensors)
        else:
            self.seen.append(Step(self.events, "", "", "", self._begun.pop(), tensors, []))
        self.events += 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and write it down."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.events not in self._numbers:
            return result
        name = getattr(func, "__name__", "")
        writes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        changed = args[0] if writes and args else result
        copies = [tensor.clone() for tensor in tensors_of(changed)]
        if copies:
            text, frame = _text(name.strip("_"), args[1:], kwargs), user_frame()
            given, made = self.known((args, kwargs)), self.known((changed, result))
            if "empty" in name or calling_frame().f_code.co_filename == rnn.__file__:
                copies = []  # not filled yet, or sorted by lengths and soon put back
            place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            self.seen.append(Step(self.events, name, text, place, given, made, copies))
        return result


def _text(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Write a call with the sizes and axes that it is given."""
    known = {"getitem": "an index", "get": "an attribute", "setitem": "a write to an index"}
    sizes = [str(value) for value in pytree.tree_leaves(args) if type(value) is int]
    sizes += [f"{key}={value}" for key, value in kwargs.items() if type(value) is int]
    return known.get(name, f"{name}({', '.join(sizes)})" if sizes else name)


def reads_several_steps(event: Event) -> bool:
    """Return whether a recurrent layer was called with a sequence of two steps or more."""
    if event.kind == "output" or not isinstance(event.module, RNNBase):
        return False
    return sizes_of(event.module, named_arguments(*event.tree).get("input")).get("seq", 0) > 1


def looping(events: Iterable[Event]) -> set[str]:
    """Return the modules that take a tensor which they returned before: cells that users wrote."""
    made: dict[str, set[int]] = defaultdict(set)
    given: dict[str, set[int]] = {}
    found = set()
    for event in events:
        tensors = {id(part) for part in pytree.tree_leaves(event.tree) if isinstance(part, Tensor)}
        if event.kind == "input":
            given[event.name] = tensors
            found |= {event.name} if tensors & made[event.name] else set()
        else:  # dropout returns what it is given
            made[event.name] |= tensors - given[event.name]
    return found


def changed_by(session: Session, inputs: Given) -> tuple[list[str], list[str]]:
    """Return which attributes and buffers a run changes, and which random numbers it draws."""
    copy, new = session.fresh(), object()
    drawn = sources_of(session, copy)
    before = {name: source.read() for name, source in drawn.items()}
    held = _held(copy)
    session.run(inputs, on=copy)
    kept = [name for name, value in _held(copy).items() if not equal(held.get(name, new), value)]
    return kept, [name for name, one in drawn.items() if not equal(before[name], one.read())]


def sources_of(session: Session, model: torch.nn.Module) -> dict[str, Source]:
    """Return the sources of the process that the model draws from, and those that it holds."""
    own = {
        f"model.{name}": Source(value.get_state, value.set_state)
        for name, value in _attributes(model)
        if isinstance(value, torch.Generator)
    }
    return own | {n: one for n, one in sources().items() if n in session.drawn}


def _held(model: torch.nn.Module) -> dict[str, Any]:
    return {n: pytree.tree_map_only(Tensor, torch.clone, value) for n, value in _attributes(model)}


def _attributes(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield attributes and buffers of all modules, by qualified name."""
    for prefix, module in model.named_modules():
        for name, value in {**vars(module), **module._buffers}.items():  # noqa: SLF001
            if name not in TORCHS:
                yield f"{prefix}.{name}".removeprefix("."), value
