"""The calls of recurrent modules in one run, written down from outside.

Which tensor is, or shares the memory of, or was computed from another.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

from rnnkit._diagnostics.isolation import eagerly
from rnnkit._diagnostics.outputs import leaves

Edges = set[tuple[Any, int]]


@dataclass(frozen=True)
class Origin:
    """Where a state came from: a row of the trace, or elsewhere.

    Attributes:
        row: the call that returned it; None if no call did.
        member: which of h and c.
        how: ``""``, ``"a slice of"`` or ``"computed from"``.
        start: of a slice, its first index among the layers and directions.
    """

    row: int | None = None
    member: str = ""
    how: str = ""
    start: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is the tensor that the call returned."""
        return not self.how

    def __str__(self) -> str:
        """Write it for the table."""
        if self.row is None:
            return "from elsewhere"
        return f"{self.how} {self.member} of row {self.row}".strip()


class Flow:
    """Tensors that calls returned, kept alive so that their memory is not given to others."""

    def __init__(self, old: Iterable[Any], attached: Iterable[Tensor]) -> None:
        """Remember what there was before the run, and what of that hung on a graph."""
        self._old = [tensor for tensor in old if isinstance(tensor, Tensor)]
        self._attached = list(attached)
        self._known: list[tuple[Tensor, Origin, int | None]] = []

    def note(self, tensor: Tensor, origin: Origin, axis: int | None = None) -> None:
        """Remember what a call returned; along the axis, if there is one, its layers stand."""
        self._known.append((tensor, origin, axis))

    def origin(self, tensor: Tensor) -> Origin:
        """Say where a tensor came from: what it is, shares memory with, or was computed from."""
        for known, origin, axis in reversed(self._known):
            if _storage(known) == _storage(tensor):
                if self.same_place(known, tensor):
                    return origin
                start = None if axis is None else _start(known, tensor, axis)
                return Origin(origin.row, origin.member, "a slice of", start)
        edges = self.reached([tensor])
        for known, origin, _ in reversed(self._known):
            if self.is_reached(known, edges):
                return Origin(origin.row, origin.member, "computed from")
        return Origin()

    def same_place(self, one: Tensor, other: Tensor) -> bool:
        """Say whether two tensors are the same numbers in the same memory."""
        return (
            _storage(one) == _storage(other)
            and one.storage_offset() == other.storage_offset()
            and one.shape == other.shape
        )

    def shares(self, tensor: Tensor, others: Iterable[Tensor]) -> bool:
        """Say whether a tensor shares memory with one of others."""
        return any(_storage(tensor) == _storage(other) for other in others)

    def is_attached(self, tensor: Tensor) -> bool:
        """Say whether a tensor was there before the run, on the graph of an earlier one."""
        kept = self.shares(tensor, self._old) and tensor.grad_fn is not None
        return kept or self.shares(tensor, self._attached)

    def reached(self, tensors: Iterable[Tensor]) -> Edges:
        """Return the outputs of operations that some tensors were computed from."""
        tensors = list(tensors)
        waiting: list[tuple[Any, int]] = [
            (t.grad_fn, t.output_nr) for t in tensors if t.grad_fn is not None
        ]
        waiting += [(_storage(t), -1) for t in tensors]
        edges: Edges = set()
        while waiting:
            edge = waiting.pop()
            if edge not in edges:
                edges.add(edge)
                waiting += [e for e in getattr(edge[0], "next_functions", ()) if e[0] is not None]
        return edges

    def is_reached(self, tensor: Tensor, edges: Edges) -> bool:
        """Say whether a tensor is among those that others were computed from, or shares memory."""
        made = tensor.grad_fn is not None and (tensor.grad_fn, tensor.output_nr) in edges
        return made or (_storage(tensor), -1) in edges


def _start(whole: Tensor, part: Tensor, axis: int) -> int:
    offset = int(part.storage_offset()) - int(whole.storage_offset())
    return offset // (whole.stride(axis) or 1) % whole.shape[axis]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)


KINDS = (RNNBase, RNNCellBase)

#: Held while classes of torch are patched: what one thread puts back is then what it found.
_PATCHED = threading.RLock()


@dataclass
class Call:
    """A call of a recurrent module: what it was given, and what it gave.

    Attributes:
        number: counted from 0.
        module: the module.
        name: its qualified name.
        input: its input.
        sizes: the sizes of its input, as the module reads the axes.
        given: the tensors of the state that it was given.
        origins: where each of them came from.
        output: its output, without the state; None of a cell.
        returned: the tensors of the state that it returned, as far as it returned one.
    """

    number: int
    module: torch.nn.Module
    name: str
    input: Any
    sizes: dict[str, int]
    given: tuple[Tensor, ...]
    origins: list[Origin]
    output: Any = None
    returned: tuple[Tensor, ...] = ()

    @property
    def spec(self) -> str:
        """The input as it was read, for the table."""
        sizes = " ".join(f"{axis}={size}" for axis, size in self.sizes.items()) or "?"
        return f"packed {sizes}" if isinstance(self.input, PackedSequence) else sizes

    @property
    def is_step(self) -> bool:
        """Whether the call is one step of a loop."""
        return isinstance(self.module, RNNCellBase) or self.sizes.get("seq") == 1


class Recorder:
    """Writes down calls while a function runs.

    Attributes:
        calls: in order.
        flow: which tensor came from which call.
    """

    def __init__(self, model: Any, inputs: Any, attached: Iterable[Tensor] = ()) -> None:
        """Remember names of modules, and what there was before.

        Args:
            model: what is run.
            inputs: what it is given.
            attached: of what there is, that which hung on a graph in the place of which it stands.
        """
        self.calls: list[Call] = []
        modules = dict(model.named_modules()) if isinstance(model, torch.nn.Module) else {}
        self._names = {id(module): name for name, module in modules.items()}
        held = [value for module in modules.values() for value in module.__dict__.values()]
        self.flow = Flow(tree_leaves((inputs, held)), attached)

    def run(self, model: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
        """Run a model or a function, with gradients; return what it returns."""
        with ExitStack() as stack:
            stack.enter_context(_PATCHED)
            for kind in KINDS:
                stack.enter_context(_intercepted(kind, self._call))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(eagerly())
            return model(*inputs)

    def _call(
        self, call: Callable[..., Any], module: torch.nn.Module, args: Any, named: dict[str, Any]
    ) -> Any:
        record = self._before(module, args, named)
        result = call(module, *args, **named)
        record.output, record.returned = split_result(module, result)
        members = ("h", "c") if len(record.returned) > 1 else ("h",)
        for member, tensor in zip(members, record.returned, strict=False):
            axis = None if isinstance(module, RNNCellBase) else rows_axis(module, tensor)
            self.flow.note(tensor, Origin(record.number, member), axis)
        return result

    def _before(self, module: torch.nn.Module, args: Any, named: dict[str, Any]) -> Call:
        named = {**dict(zip(("input", "hx"), args, strict=False)), **named}
        input = named.get("input")
        # A subclass of somebody's may take lengths there.
        given = tuple(tensor for tensor in _tensors(named.get("hx")) if tensor.is_floating_point())
        kind = type(module).__name__
        name = self._names.setdefault(id(module), f"{kind}-{len(self._names)}")
        origins = [self.flow.origin(tensor) for tensor in given]
        record = Call(len(self.calls), module, name, input, _sizes(module, input), given, origins)
        self.calls.append(record)
        return record


@contextmanager
def _intercepted(kind: Any, instead: Callable[..., Any]) -> Iterator[None]:
    """Let something else answer the calls that this thread makes of modules of a kind.

    A hook on all modules of the process would not be told the keywords.
    """
    own, call, thread = vars(kind).get("__call__"), kind.__call__, threading.get_ident()

    def answer(module: torch.nn.Module, *args: Any, **named: Any) -> Any:
        if threading.get_ident() != thread:
            return call(module, *args, **named)
        return instead(call, module, args, named)

    kind.__call__ = answer
    try:
        yield
    finally:
        if own is None:
            del kind.__call__
        else:
            kind.__call__ = own


def split_result(module: torch.nn.Module, result: Any) -> tuple[Any, tuple[Tensor, ...]]:
    """Return the output and the state's tensors; no state where a subclass returns none."""
    output, state = None, result
    if isinstance(module, RNNBase):
        if not (isinstance(result, tuple) and len(result) == 2):
            return result, ()
        output, state = result
    pair = isinstance(state, tuple | list) and len(state) == 2
    members = tuple(state) if pair else (state,)
    tensors = tuple(part for part in members if isinstance(part, Tensor))
    rank = 2 if isinstance(module, RNNBase) else 1
    whole = len(tensors) == len(members) and all(tensor.dim() >= rank for tensor in tensors)
    return output, tensors if whole else ()


def rows_axis(module: torch.nn.Module, state: Tensor) -> int:
    """Return the axis of a layer's state on which its layers and directions are."""
    return 1 if getattr(module, "state_batch_first", False) and state.dim() == 3 else 0


def _tensors(state: Any) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in leaves(state) if isinstance(leaf, Tensor))


def _sizes(module: torch.nn.Module, input: Any) -> dict[str, int]:
    if isinstance(input, PackedSequence):
        sizes = input.batch_sizes
        return {"seq": len(sizes), "batch": int(sizes[0]), "feature": input.data.shape[-1]}
    shape = tuple(input.shape) if isinstance(input, Tensor) else ()
    names = ["batch", "feature"]
    if isinstance(module, RNNBase):
        names.insert(1 if module.batch_first else 0, "seq")
    if len(shape) == len(names) - 1:
        names.remove("batch")
    return dict(zip(names, shape, strict=False))
