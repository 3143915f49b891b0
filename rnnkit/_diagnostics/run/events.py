"""What happens in a run: what modules and functions are given and return, what is kept or drawn."""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.torch_tools import is_in_transform
from rnnkit._diagnostics.run.module_calls import KINDS, hook_forward, is_recurrent
from rnnkit._diagnostics.run.outputs import Given, equal, is_packed, leaves, tensors_of
from rnnkit._diagnostics.run.watched_functions import FunctionCall, FunctionWatch, user_place

if TYPE_CHECKING:
    from rnnkit._diagnostics.run.isolation import Session


@dataclass(frozen=True, eq=False)
class Event:
    """What a module is given or returns, or what a function returns or writes.

    Attributes:
        kind: ``"input"`` or ``"output"`` of a module, or ``"function"``.
        name: the qualified name of the module, or the name of the function.
        module: the module; of a function the innermost one around it; None if there is none.
        owner: the qualified name of that module.
        text: for a message: the module's class, or the function with its sizes.
        tree: the arguments by position and by keyword, or the result: the tensors themselves.
        tensors: copies of the tensors, as they were then; None for anything else.
        is_packed: whether a PackedSequence is among them.
        produced: by the id of a tensor in ``tree``, its index in ``tensors``.
        consumed: ids of the tensors that these were made of.
        place: file and line of the user's code.
        call: what is the same in a different run, so that events of two runs are matched.
        drawn: where a source of random numbers stands, if the recorder reads one.
        function: its :class:`FunctionCall`; None of a module.
        number: its place among the events of the run.
    """

    kind: str
    name: str
    module: Any
    owner: str
    text: str
    tree: Any
    tensors: list[Any]
    is_packed: bool
    produced: dict[int, int]
    consumed: frozenset[int]
    place: str
    call: tuple[str, ...]
    drawn: Any
    function: Any
    number: int

    @property
    def label(self) -> str:
        """What a message calls the module: the model itself has no name."""
        return self.name or "the model"

    def is_call_of(self, *names: str) -> bool:
        """Return whether it is a call of a function of one of these names."""
        return self.kind == "function" and self.name in names


class Recorder(FunctionWatch):
    """Writes down what happens in a run as events, in their order.

    It is a watch: :meth:`watch` puts its hooks on a copy of the model, and returns their handles.

    Attributes:
        events: what happened in the last run.
    """

    # A mode of operators would import torch's compiler, which takes seconds.

    def __init__(self, *, functions: bool = False, read: Callable[[], Any] | None = None) -> None:
        """Take what to write down beside the modules.

        With ``functions``, functions as well; ``read`` returns where a source of random numbers
        stands.
        """
        super().__init__()
        self.events: list[Event] = []
        self._functions = functions
        self._read = read
        self._alive: list[Any] = []  # so that no other tensor gets the id of one of these
        self._calls = defaultdict[int, list[Event]](list)  # that are open, by thread

    def watch(self, model: torch.nn.Module) -> list[Any]:
        """Put hooks on a model and return their handles."""
        self.events.clear()
        handles = [
            hook_forward(
                module, partial(self._before, name, module), partial(self._after, name, module)
            )
            for name, module in model.named_modules()
            if name or self._functions or is_recurrent(module)
            if not isinstance(module, torch.jit.ScriptModule)
        ]
        if self._functions:
            handles += super().watch(model)
        return handles

    def _before(self, name: str, module: Any, _: int, args: Any, kwargs: Any) -> None:
        """Write down what a module is given, as an open call of this thread.

        Inside a transform of ``torch.func`` nothing is: its tensors are of no use afterwards.
        """
        if is_in_transform():
            return
        if "input" in kwargs:  # a state may be named before it
            kwargs = {"input": kwargs["input"], **kwargs}
        self._write("input", name, module, (args, kwargs))
        self._calls[threading.get_ident()].append(self.events[-1])

    def _after(self, name: str, module: Any, _: int, result: Any) -> None:
        """Write down what a module returned, and close its call."""
        if is_in_transform():
            return
        while (begun := self._calls[threading.get_ident()].pop()).name != name:
            pass  # a call inside has raised, and the model went on
        # What other modules return, their functions made.
        given = begun.consumed if is_opaque(module) else None
        self._write("output", name, module, result, given)

    def _write(
        self,
        kind: str,
        name: str,
        module: Any,
        tree: Any,
        given: frozenset[int] | None = None,
        function: FunctionCall | None = None,
    ) -> None:
        """Append an event: copies of the tensors in ``tree``, and which tensors these were made of.

        ``kind``, ``name``, ``module`` and ``tree`` are those of the event; ``given`` are the ids of
        what the tensors were made of, by default themselves; ``function`` is the call of a
        function.
        """
        with torch._C.DisableTorchFunction():  # noqa: SLF001 - also the mode itself
            found = leaves(tree)
            parts = pytree.tree_leaves(tree, is_leaf=is_packed)
            has_packed = any(map(is_packed, parts))
            if len(parts) != len(found):
                parts = found
            copies = [leaf.clone() if isinstance(leaf, Tensor) else None for leaf in found]
            ids = [id(x.data if is_packed(x) else x) for x in parts]
            made = {ids[k]: k for k, copied in enumerate(copies) if copied is not None}
            owner = name
            text = type(module).__name__
            if function is not None:
                open_ = self._calls[threading.get_ident()]
                owner = open_[-1].name if open_ else ""
                text = function.in_words()
            place = user_place() if name else ""
            event = Event(
                kind=kind,
                name=name,
                module=module,
                owner=owner,
                text=text,
                tree=tree,
                tensors=copies,
                is_packed=has_packed,
                produced=made,
                consumed=frozenset(made) if given is None else given,
                place=place,
                call=(kind, name, owner, place),
                drawn=self._read() if self._read else None,
                function=function,
                number=len(self.events),
            )
            self.events.append(event)

    def on_call(self, call: FunctionCall) -> Any:
        """Run a function, and write it down, unless a module runs it that :func:`is_opaque`."""
        result = call.run()
        open_ = self._calls[threading.get_ident()]
        inside = open_[-1].module if open_ else None
        if is_opaque(inside) or is_in_transform():
            return result
        changed = call.args[0] if call.name == "__setitem__" else result
        made = tensors_of(changed)
        # A copy of a weight for each step, which a cell transposes, say, would take the memory.
        if not all(isinstance(x._base, torch.nn.Parameter) for x in made):  # noqa: SLF001
            self._alive.append((call, result))
            given = frozenset(id(x) for x in call.given if isinstance(x, Tensor))
            self._write("function", call.name, inside, changed, given, call)
        return result


def is_opaque(module: Any) -> bool:
    """Return whether functions inside a module are not written down.

    Those of torch's layers, say.
    """
    if isinstance(module, torch.nn.Softmax | torch.nn.LogSoftmax):
        return False  # which axis it is over, its function tells
    is_torchs = type(module).__module__.startswith("torch.") and not [*module.children()]
    return is_torchs or isinstance(module, KINDS) or type(module).__module__ == "rnnkit"


def stateful_modules(events: Sequence[Event]) -> set[str]:
    """Return the names of modules that carry a state.

    Those are recurrent modules, and modules that take a tensor which they returned before.
    """
    made = defaultdict[str, set[int]](set)
    given = dict[str, frozenset[int]]()
    found = {event.name for event in events if is_recurrent(event.module)}
    for event in events:
        name = event.name
        if event.kind == "input":
            given[name] = event.consumed
            if event.consumed & made[name]:
                found.add(name)
        else:  # dropout returns what it is given
            made[name] |= event.produced.keys() - given[name]
    return found


def attributes_that_change(session: "Session", inputs: Given) -> list[str]:
    """Return the qualified names of attributes and buffers that a run sets or changes."""
    model = session.fresh()
    before = _attributes_of(model)
    session.run(inputs, on=model)
    after = _attributes_of(model)
    return [name for name in after if name not in before or not equal(before[name], after[name])]


def _attributes_of(model: torch.nn.Module) -> dict[str, Any]:
    """Return snapshots of attributes, buffers and parameters of all modules, by qualified name."""
    torchs = vars(torch.nn.Module())
    held = {}
    for prefix, module in model.named_modules():
        # Not by |, which the dictionaries of a scripted module do not have.
        own = {**vars(module), **dict(module.named_buffers(recurse=False))}
        own |= dict(module.named_parameters(recurse=False))
        for name, value in own.items():
            if name not in torchs:
                path = f"{prefix}.{name}".removeprefix(".")
                held[path] = pytree.tree_map(_snapshot, value)
    return held


def _snapshot(x: Any) -> Any:
    """Return what may change in a value, as it is now: numbers, or where a random source stands."""
    if isinstance(x, Tensor):
        return x.detach().clone()
    if isinstance(x, Generator):
        return x.get_state()
    if isinstance(x, Random):
        return x.getstate()
    if type(x).__module__.startswith("numpy.random") and hasattr(x, "bit_generator"):
        return str(x.bit_generator.state)
    return x
