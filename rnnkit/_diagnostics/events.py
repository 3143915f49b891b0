"""What goes into a model's modules and functions and comes out of them, in the order of time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._base.callers import user_frame
from rnnkit._diagnostics.isolation import Given, Session
from rnnkit._diagnostics.outputs import leaves


@dataclass(frozen=True, eq=False)
class Event:
    """What went into a module's call, or came out of it.

    Attributes:
        kind: which of the two.
        name: the module's qualified name.
        module: the module of the copy that ran.
        tree: the arguments by position and by name, or the result: the tensors themselves.
        tensors: copies of them, as they were then; None for what is no tensor.
        is_packed: whether one of them was packed.
    """

    kind: Literal["input", "output"]
    name: str
    module: torch.nn.Module
    tree: Any
    tensors: list[Any]
    is_packed: bool

    @property
    def label(self) -> str:
        """What a message calls the module: the model itself has no name."""
        return self.name or "the model"


@dataclass(frozen=True, eq=False)
class Step:
    """What a function of torch's gave, and where in the user's code it was called.

    Attributes:
        name: the function.
        text: the function and its axes, for a message.
        place: file and line; empty if it was called from nowhere but torch.
        tensors: what it gave.
    """

    name: str
    text: str
    place: str
    tensors: list[Any]


def record(session: Session, inputs: Given) -> list[Event]:
    """Run the model and write down every call of its modules, in the order of time.

    The model itself is one of them if it is a layer.
    """
    events: list[Event] = []
    session.run(inputs, watch=lambda model: _watch(model, events.append))
    return events


def record_steps(session: Session, inputs: Given, number: int) -> list[Step]:
    """Run the model and write down what functions gave before an event, and after the one before.

    Args:
        session: runs the model.
        inputs: what it is called with.
        number: index of the event.
    """
    steps = _Steps(number)

    def watch(model: torch.nn.Module) -> list[Any]:
        steps.__enter__()  # type: ignore[no-untyped-call]
        return [*_watch(model, steps.count), steps]

    session.run(inputs, watch=watch)
    return steps.seen


def _watch(model: torch.nn.Module, note: Callable[[Event], Any]) -> list[Any]:
    hooks: list[Any] = []
    for name, module in model.named_modules():
        watched = not isinstance(module, torch.jit.ScriptModule)
        if watched and (name or isinstance(module, RNNBase)):
            hooks += [
                module.register_forward_pre_hook(_before(note, name), with_kwargs=True),
                module.register_forward_hook(_after(note, name)),
            ]
    return hooks


def _before(note: Callable[[Event], Any], name: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        note(_event("input", name, module, (args, kwargs)))

    return hook


def _after(note: Callable[[Event], Any], name: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
        note(_event("output", name, module, output))

    return hook


def _event(
    kind: Literal["input", "output"], name: str, module: torch.nn.Module, tree: Any
) -> Event:
    tensors = [leaf.clone() if isinstance(leaf, Tensor) else None for leaf in leaves(tree)]
    parts = pytree.tree_leaves(tree, is_leaf=lambda node: isinstance(node, PackedSequence))
    is_packed = any(isinstance(part, PackedSequence) for part in parts)
    return Event(kind, name, module, tree, tensors, is_packed)


class _Steps(TorchFunctionMode):
    """Writes down what functions give between two events; stops when it is removed."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.seen: list[Step] = []
        self._number, self._events = number, 0

    def count(self, _: Event) -> None:
        """Count an event."""
        self._events += 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._events == self._number:
            given = [leaf.clone() for leaf in leaves(result) if isinstance(leaf, Tensor)]
            if given:
                name = getattr(func, "__name__", "").strip("_")
                text = _text(name, args[1:], kwargs)
                self.seen.append(Step(name, text, _place(), given))
        return result

    def remove(self) -> None:
        """Stop."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]


def _text(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Write a call with the sizes and axes that it is given."""
    if name in ("getitem", "get"):
        return "an index" if name == "getitem" else "an attribute"
    sizes = [str(value) for value in pytree.tree_leaves(args) if type(value) is int]
    sizes += [f"{key}={value}" for key, value in kwargs.items() if type(value) is int]
    return f"{name}({', '.join(sizes)})" if sizes else name


def _place() -> str:
    """Return the file and line from which the user called torch."""
    frame = user_frame()
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def reads_several_steps(event: Event) -> bool:
    """Say whether a recurrent layer was called with a sequence of two steps or more."""
    if event.kind == "output" or not isinstance(event.module, RNNBase):
        return False
    input = event.tensors[0]
    # What was packed is written down padded, steps first.
    first = not event.is_packed and event.module.batch_first and input.dim() == 3
    return bool(input.shape[1 if first else 0] > 1)
