"""The calls of recurrent modules in one run, written down from outside."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.flow import Flow, Origin
from rnnkit._diagnostics.isolation import eagerly
from rnnkit._diagnostics.module_calls import (
    KINDS,
    members_of,
    named_arguments,
    rows_axis,
    sizes_of,
    split_result,
)

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
        state: h, and c if there is one, as far as it was given them.
        origins: where each of them came from.
        attached: the members that are on the graph of an earlier run.
        freed: the members through whose graph backward has gone.
        is_fresh: whether it starts from zeros, that were given to it or not.
        output: its output, without the state; None of a cell.
        returned: h, and c if there is one, as far as it returned them.
        error: what it raised.
    """

    number: int
    module: torch.nn.Module
    name: str
    input: Any
    sizes: dict[str, int]
    state: dict[str, Tensor]
    origins: dict[str, Origin]
    attached: list[str]
    freed: list[str]
    is_fresh: bool
    output: Any = None
    returned: dict[str, Tensor] = field(default_factory=dict)
    error: BaseException | None = None

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
    """Writes down calls while a function runs, and which tensor came from which call."""

    def __init__(self, model: torch.nn.Module | None, attached: Iterable[Tensor] = ()) -> None:
        """Remember the names of a model's modules; what is run may be a function that calls them.

        ``attached`` has copies of earlier tensors, whose originals hung on a graph.
        """
        self.calls: list[Call] = []
        modules = {} if model is None else dict(model.named_modules())
        self._names = {id(module): name for name, module in modules.items()}
        self.flow = Flow(attached)

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
        try:
            result = call(module, *args, **named)
        except BaseException as error:
            record.error = error
            raise
        record.output, returned = split_result(module, result)
        record.returned = dict(zip(("h", "c"), returned, strict=False))
        for member, tensor in record.returned.items():
            axis = None if isinstance(module, RNNCellBase) else rows_axis(module, tensor)
            self.flow.note(tensor, Origin(record.number, member), axis)
        return result

    def _before(self, module: torch.nn.Module, args: Any, named: dict[str, Any]) -> Call:
        named = named_arguments(args, named)
        input, state = named.get("input"), members_of(named.get("hx"))
        kind, flow = type(module).__name__, self.flow
        origins = {member: flow.origin(tensor) for member, tensor in state.items()}
        elsewhere = [member for member, origin in origins.items() if origin.row is None]
        grad = torch.is_grad_enabled()
        record = Call(
            number=len(self.calls),
            module=module,
            name=self._names.setdefault(id(module), f"{kind}-{len(self._names)}"),
            input=input,
            sizes=sizes_of(module, input),
            state=state,
            origins=origins,
            attached=[m for m in elsewhere if grad and flow.is_attached(state[m])],
            # It is told now: at the end backward may have gone through all of it.
            freed=[m for m in state if grad and m not in elsewhere and flow.is_freed(state[m])],
            is_fresh=len(elsewhere) == len(state) and all(map(_are_zeros, state.values())),
        )
        self.calls.append(record)
        return record


@contextmanager
def _intercepted(kind: Any, instead: Callable[..., Any]) -> Iterator[None]:
    """Let something else answer the calls that this thread makes of modules of a kind."""
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


def _are_zeros(tensor: Tensor) -> bool:
    """Return whether a tensor holds nothing but zeros, and is no weight that is learned."""
    return not tensor.requires_grad and not tensor.is_meta and not bool(tensor.any())
