"""The calls of recurrent modules in one run, and which tensor came from which call."""

import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.isolation import eagerly
from rnnkit._diagnostics.module_calls import (
    KINDS,
    EveryCall,
    members_of,
    named_arguments,
    rows_axis,
    sizes_of,
    split_result,
)

#: Which output of an operation in an autograd graph.
Edge = tuple[Any, int]

#: So many nodes next to a tensor are asked whether backward has freed them.
NEAR = 64


@dataclass(frozen=True)
class Origin:
    """Where a state came from: h or c of a row of the trace, or elsewhere."""

    row: int | None = None
    member: str = ""
    #: Nothing if it is the same, else "a slice of" or "computed from".
    how: str = ""
    #: Of a slice, its first index among the layers and directions.
    start: int | None = None

    def __str__(self) -> str:
        """Write it for the table."""
        if self.row is None:
            return "from elsewhere"
        return f"{self.how} {self.member} of row {self.row}".strip()


@dataclass
class Call:
    """A call of a recurrent module; states are h, and c if there is one, by name."""

    number: int
    module: torch.nn.Module
    name: str
    input: Any
    #: Of its input, as the module reads the axes.
    sizes: dict[str, int]
    state: dict[str, Tensor]
    origins: dict[str, Origin]
    #: The members on the graph of an earlier run, and on one that backward has freed.
    attached: list[str]
    freed: list[str]
    #: Whether it starts from zeros, given or not.
    is_fresh: bool
    error: BaseException | None = None
    #: Without the state; h of a cell.
    output: Any = None
    returned: dict[str, Tensor] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        """The input as it was read, for the table."""
        sizes = " ".join(f"{axis}={size}" for axis, size in self.sizes.items()) or "?"
        return f"packed {sizes}" if isinstance(self.input, PackedSequence) else sizes

    @property
    def is_cell(self) -> bool:
        """Whether the module is a cell."""
        return isinstance(self.module, RNNCellBase)

    @property
    def is_step(self) -> bool:
        """Whether the call is one step of a loop."""
        return self.is_cell or self.sizes.get("seq") == 1


class Recorder:
    """Writes down calls while a model or a function runs.

    The tensors of calls are kept alive, so that no other tensor gets their memory or id.
    """

    def __init__(self, model: torch.nn.Module | None, attached: Iterable[Tensor] = ()) -> None:
        """Take a model for the names, and copies of tensors whose originals had a graph."""
        modules = {} if model is None else dict(model.named_modules())
        self._names = {id(module): name for name, module in modules.items()}
        self._attached = set(map(storage, attached))
        self.calls: list[Call] = []
        self.learned: set[int] = set()  # the returned tensors that backward has gone through
        self._known: dict[int, tuple[Tensor, Origin, int | None]] = {}
        self._made: dict[Edge, Origin] = {}
        with torch.enable_grad():
            # What has a smaller number was made before.
            new = torch.ones((), requires_grad=True, device="cpu").clone()
        self._first = _age(new.grad_fn) or 0

    def run(self, model: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
        """Run a model or a function, with gradients; return what it returns."""
        thread = threading.get_ident()

        def after(module: torch.nn.Module, args: Any, first: Any, *rest: Any) -> None:
            if isinstance(module, KINDS) and threading.get_ident() == thread:
                # Of a call that raised, torch passes no arguments by name.
                given, made = (first, rest[0]) if rest else ({}, first)
                self._write_down(module, args, given, made)

        handle = EveryCall(after, errors=True)
        try:
            with torch.enable_grad(), eagerly():
                return model(*inputs)
        finally:
            handle.remove()

    def _write_down(self, module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        named = named_arguments(args, kwargs)
        input, state = named.get("input"), members_of(named.get("hx"))
        origins = {member: self._origin(tensor) for member, tensor in state.items()}
        elsewhere = [member for member, origin in origins.items() if origin.row is None]
        grad, number = torch.is_grad_enabled(), len(self.calls)
        output, returned = split_result(module, result)
        call = Call(
            number=number,
            module=module,
            name=self._names.setdefault(id(module), f"{type(module).__name__}-{len(self._names)}"),
            input=input,
            sizes=sizes_of(module, input),
            state=state,
            origins=origins,
            attached=[m for m in elsewhere if grad and self._is_attached(state[m])],
            # It is told now: at the end backward may have gone through all of it.
            freed=[m for m in state if grad and m not in elsewhere and _is_freed(state[m])],
            is_fresh=len(elsewhere) == len(state) and all(map(_are_zeros, state.values())),
            error=sys.exc_info()[1] if result is None else None,
            returned=dict(zip(("h", "c"), returned, strict=False)),
        )
        call.output = call.returned.get("h") if call.is_cell else output
        for member, tensor in call.returned.items():
            axis = None if call.is_cell else rows_axis(module, tensor)
            self._known[storage(tensor)] = tensor, Origin(number, member), axis
            self._made[edge(tensor)] = Origin(number, member)
            if tensor.requires_grad:
                # The hook outlives the run, and must not hold the recorder, nor return anything.
                note = partial(_note, self.learned, id(tensor))
                tensor.register_hook(note)  # type: ignore[no-untyped-call]
        self.calls.append(call)

    def _origin(self, tensor: Tensor) -> Origin:
        """Return where a tensor came from: what it is, shares memory with, or was computed from."""
        if (place := storage(tensor)) in self._known:
            known, origin, axis = self._known[place]
            if same_place(known, tensor):
                return origin
            start = int(tensor.storage_offset()) - int(known.storage_offset())
            if axis is not None:
                start = start // (known.stride(axis) or 1) % known.shape[axis]
            return Origin(origin.row, origin.member, "a slice of", None if axis is None else start)
        # What a call returned ends the search: its c is computed from what its h is, too.
        near = nodes([edge(tensor)], self._made.keys())
        origins = [self._made[one] for one in near if one in self._made]
        last = max(origins, key=lambda origin: origin.row or 0, default=Origin())
        return Origin(last.row, last.member, "computed from") if origins else last

    def _is_attached(self, tensor: Tensor) -> bool:
        """Return whether a tensor was there before the run, on the graph of an earlier one."""
        whole = tensor if tensor._base is None else tensor._base  # noqa: SLF001
        age = _age(whole.grad_fn)
        return (age is not None and age < self._first) or storage(tensor) in self._attached


def edge(tensor: Tensor) -> Edge:
    """Return the output of an operation that a tensor is."""
    return tensor.grad_fn, tensor.output_nr


def nodes(start: Iterable[Edge], ends: Collection[Edge] = frozenset()) -> Iterator[Edge]:
    """Yield what some edges were computed from, near ones first, down to some ends."""
    waiting = deque(one for one in start if one[0] is not None)
    seen = set(waiting)
    while waiting:
        yield (one := waiting.popleft())
        if one not in ends:
            new = [e for e in one[0].next_functions if e[0] is not None and e not in seen]
            seen.update(new)
            waiting += new


def storage(tensor: Tensor) -> int:
    """Return a number for the memory of a tensor."""
    return tensor.untyped_storage().data_ptr() or id(tensor)


def same_place(one: Any, other: Any) -> bool:
    """Return whether two objects are tensors of the same numbers in the same memory."""
    return (
        isinstance(one, Tensor)
        and isinstance(other, Tensor)
        and storage(one) == storage(other)
        and one.storage_offset() == other.storage_offset()
        and one.shape == other.shape
    )


def _note(learned: set[int], key: int, _: Tensor) -> None:
    """Note that backward has gone through a tensor."""
    learned.add(key)


def _age(node: Any) -> int | None:
    """Return when an operation was run, as a number that grows within a thread."""
    return None if node is None else int(node._sequence_nr())  # noqa: SLF001


def _is_freed(tensor: Tensor) -> bool:
    """Return whether backward has gone through the graph of a tensor, and freed what it kept."""
    for node, _ in islice(nodes([edge(tensor)]), NEAR):
        for name in dir(node):
            if name.startswith("_saved_") or name == "saved_tensors":
                try:
                    getattr(node, name)
                except RuntimeError as error:
                    # There are other reasons: what was saved was written in place.
                    if "second time" in str(error):
                        return True
    return False


def _are_zeros(tensor: Tensor) -> bool:
    """Return whether a tensor holds only zeros, and is not a weight that is learned."""
    return not tensor.requires_grad and not tensor.is_meta and not bool(tensor.any())
