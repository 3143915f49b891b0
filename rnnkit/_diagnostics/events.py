"""What happens in a run: what modules and functions are given and return, what is kept or drawn."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._base.callers import user_frame
from rnnkit._diagnostics.module_calls import KINDS, hooked, is_recurrent, named_arguments, sizes_of
from rnnkit._diagnostics.outputs import Given, equal, leaves, tensors_of
from rnnkit._diagnostics.report import Line

if TYPE_CHECKING:
    from rnnkit._diagnostics.isolation import Session

#: Attributes of a module that are torch's own.
TORCHS = frozenset(vars(torch.nn.Module()))


@dataclass(frozen=True, eq=False)
class Event:
    """What a module is given or returns, or what a function returns or writes."""

    kind: Literal["input", "output", "function"]
    name: str  # of the module, or of the function
    module: Any  # of a function, the innermost one around it; None if that is the model
    tree: Any  # the arguments by position and by name, or the result: the tensors themselves
    tensors: list[Any]  # copies of them, as they were then; None for anything else
    is_packed: bool
    made: dict[int, int] = field(default_factory=dict)  # their places among these, by id
    given: frozenset[int] = frozenset()  # the ids of what they were made of
    around: str = ""  # the name of the innermost module around
    text: str = ""  # a function with its axes, for a message
    place: str = ""  # file and line
    drawn: Any = None  # where a source of random numbers stands

    @property
    def class_name(self) -> str:
        """The name of the module's class."""
        return type(self.module).__name__

    @property
    def label(self) -> str:
        """What a message calls the module: the model itself has no name."""
        return self.name or "the model"


def record(session: "Session", inputs: Given) -> list[Event]:
    """Run the model and write down every call of its modules, in the order of time."""
    recorder = Recorder()
    session.run(inputs, watch=recorder.watch)
    return recorder.events


class _Thread(threading.local):
    """The calls that are open in a thread, and whether the recorder itself runs there."""

    def __init__(self) -> None:
        self.open: list[Event] = []
        self.is_writing = False


class Recorder(TorchFunctionMode):
    """Writes down what happens in a run; as a hook's handle it stops when removed.

    It is a mode of functions, since one of operators imports torch's compiler, which takes seconds.
    Tensors are known by their ids, and kept alive so that no other one gets the same.
    """

    def __init__(self, *, functions: bool = False, read: Callable[[], Any] | None = None) -> None:
        """Take whether functions are written down, too, and what reads a source."""
        super().__init__()
        self.events: list[Event] = []
        self._functions, self._read = functions, read
        self._alive: list[Any] = []
        self._here = _Thread()

    def watch(self, model: torch.nn.Module) -> list[Any]:
        """Put hooks on a model and return their handles."""
        self.events.clear()
        self._weights = set(map(id, model.parameters()))
        handles = [
            hooked(module, partial(self._before, name, module), partial(self._after, name, module))
            for name, module in model.named_modules()
            if (name or is_recurrent(module)) and not isinstance(module, torch.jit.ScriptModule)
        ]
        if self._functions:
            self.__enter__()  # type: ignore[no-untyped-call]
            handles.append(self)
        return handles

    def remove(self) -> None:
        """Stop."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _before(self, name: str, module: Any, _: int, args: Any, kwargs: Any) -> None:
        self._write("input", name, module, (args, kwargs))
        self._here.open.append(self.events[-1])

    def _after(self, name: str, module: Any, _: int, result: Any) -> None:
        while (begun := self._here.open.pop()).name != name:
            pass  # a call inside has raised, and the model went on
        # What other modules return, their functions made.
        given = begun.given if is_known(module) or not self._functions else frozenset[int]()
        self._write("output", name, module, result, given=given)

    def _write(self, kind: Any, name: str, module: Any, tree: Any, **more: Any) -> None:
        """Write down copies of the tensors in a tree, and where each is."""
        self._here.is_writing = True
        found = leaves(tree)
        parts = pytree.tree_leaves(tree, is_leaf=lambda x: isinstance(x, PackedSequence))
        is_packed = any(isinstance(part, PackedSequence) for part in parts)
        sources = parts if len(parts) == len(found) else found
        sources = [x.data if isinstance(x, PackedSequence) else x for x in sources]
        copies = [leaf.clone() if isinstance(leaf, Tensor) else None for leaf in found]
        made = {id(x): k for k, x in enumerate(sources) if isinstance(copies[k], Tensor)}
        more = {
            "given": frozenset(made),
            "around": self._here.open[-1].name if self._here.open else "",
            "place": _place() if self._functions and name else "",
            "drawn": self._read() if self._read else None,
            **more,
        }
        self.events.append(Event(kind, name, module, tree, copies, is_packed, made, **more))
        self._here.is_writing = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and write it down, unless torch's own module runs it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        inside = self._here.open[-1].module if self._here.open else None
        if self._here.is_writing or is_known(inside):
            return result
        name = getattr(func, "__name__", "")
        writes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        changed = args[0] if writes and args else result
        made = tensors_of(changed)
        # A copy of a weight for each step, which a cell transposes, say, would take the memory.
        if not self._weights.issuperset(id(x._base) for x in made):  # noqa: SLF001
            self._alive.append((args, kwargs, result))
            tensors = (x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor))
            more = {"given": frozenset(map(id, tensors)), "text": _text(name, args, kwargs)}
            self._write("function", name, inside, changed, **more)
        return result


def is_known(module: Any) -> bool:
    """Return whether what runs inside of a module is torch's, or a recurrent layer's."""
    is_torchs = type(module).__module__.startswith("torch.") and not [*module.children()]
    return is_torchs or isinstance(module, KINDS) or type(module).__module__.startswith("rnnkit.")


def _place() -> str:
    """Write the file and line of a user's code that runs."""
    frame = user_frame()
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _text(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Write a call with the sizes and axes that it is given."""
    known = {"getitem": "x[index]", "get": "an attribute", "setitem": "x[index] = ..."}
    name = name.strip("_")
    sizes = [str(value) for value in pytree.tree_leaves(args) if type(value) is int]
    named = {k: v for k, v in kwargs.items() if type(v) is int and not k.startswith("_")}
    sizes += [f"{key}={value}" for key, value in named.items()]
    return known.get(name, f"{name}({', '.join(sizes)})" if sizes else name)


def reads_several_steps(event: Event) -> bool:
    """Return whether a recurrent layer was called with a sequence of two steps or more."""
    if event.kind == "output" or not isinstance(event.module, RNNBase):
        return False
    return sizes_of(event.module, named_arguments(*event.tree).get("input")).get("seq", 0) > 1


def runs_once(events: Iterable[Event]) -> bool:
    """Return whether something has a state, and all of that runs once, for a single step."""
    calls = [e for e in events if e.kind == "input" and is_recurrent(e.module)]
    alike = len({event.name for event in calls}) == len(calls) > 0
    return alike and not any(map(reads_several_steps, calls))


def stateful(events: Sequence[Event]) -> set[str]:
    """Return the recurrent modules, and those that take a tensor which they returned before."""
    made: dict[str, set[int]] = defaultdict(set)
    given: dict[str, set[int]] = {}
    found = {event.name for event in events if is_recurrent(event.module)}
    for event in events:
        tensors = {id(part) for part in pytree.tree_leaves(event.tree) if isinstance(part, Tensor)}
        if event.kind == "input":
            given[event.name] = tensors
            found |= {event.name} if tensors & made[event.name] else set()
        else:  # dropout returns what it is given
            made[event.name] |= tensors - given[event.name]
    return found


def changed_by(session: "Session", inputs: Given) -> tuple[list[str], list[str]]:
    """Return which attributes and buffers a run changes, and which random numbers it draws."""
    copy, new = session.fresh(), object()
    drawn = sources_of(session, copy)
    before = {name: source.get_state() for name, source in drawn.items()}
    held = _held(copy)
    session.run(inputs, on=copy)
    kept = [name for name, value in _held(copy).items() if not equal(held.get(name, new), value)]
    return kept, [name for name, one in drawn.items() if not equal(before[name], one.get_state())]


def drawn_at(session: "Session", inputs: Given, name: str) -> list[Line]:
    """Return the first function, or module, in which a run draws from a source."""
    copy = session.fresh()
    read = sources_of(session, copy)[name].get_state
    recorder, before = Recorder(functions=True, read=read), read()
    session.run(inputs, on=copy, watch=recorder.watch)
    for event in recorder.events:
        if not equal(before, event.drawn):
            # Python's numbers, and NumPy's, are drawn before a function takes them.
            is_later = name in ("random", "numpy.random") and event.kind == "function"
            label = f"{event.label} ({event.class_name})" if event.kind == "output" else event.text
            first = [("first", label)] * bool(label and not is_later)
            return first + [("before" if is_later else "at", event.place)] * bool(event.place)
    return []


def sources_of(session: "Session", model: torch.nn.Module) -> dict[str, Any]:
    """Return the sources of the process that the model draws from, and those that it holds."""
    held = {f"model.{n}": x for n, x in _attributes(model) if isinstance(x, torch.Generator)}
    return held | session.sources()


def _held(model: torch.nn.Module) -> dict[str, Any]:
    return {n: pytree.tree_map_only(Tensor, torch.clone, value) for n, value in _attributes(model)}


def _attributes(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield attributes and buffers of all modules, by qualified name."""
    for prefix, module in model.named_modules():
        for name, value in {**vars(module), **module._buffers}.items():  # noqa: SLF001
            if name not in TORCHS:
                yield f"{prefix}.{name}".removeprefix("."), value
