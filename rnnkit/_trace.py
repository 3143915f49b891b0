"""``trace``: which state went where, call by call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.nn.utils.rnn import PackedSequence

from rnnkit._flow import Flow, Origin
from rnnkit._session import leaves, session

KINDS = (RNNBase, RNNCellBase)


@dataclass
class Row:
    """One call of a recurrent module.

    Attributes:
        number: counted from 0.
        module: the module's qualified name.
        kind: its class.
        reading: the sizes of its input, as the module reads the axes.
        state: where the state that it was given came from.
        used: whether a later call or the result depends on the state that the call returned; None
            where that cannot be told, without gradients.
        marks: what looks like a mistake.
    """

    number: int
    module: str
    kind: str
    reading: str
    state: str
    used: bool | None = True
    marks: list[str] = field(default_factory=list)


@dataclass
class Trace:
    """The calls of recurrent modules in one run, in order; prints as a table.

    Attributes:
        rows: one for each call.
    """

    __module__ = "rnnkit"

    rows: list[Row]

    @property
    def marked(self) -> list[Row]:
        """The rows that look like a mistake."""
        return [row for row in self.rows if row.marks]

    def __str__(self) -> str:
        """Write the table: call, input as read, origin of the state, use of the next, marks."""
        table = [("row", "module", "input as read", "state given", "state returned")]
        table += [
            (
                str(row.number),
                f"{row.module} ({row.kind})".strip(),
                row.reading,
                row.state,
                {True: "used", False: "not used", None: "?"}[row.used],
            )
            for row in self.rows
        ]
        widths = [max(len(line[k]) for line in table) for k in range(5)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
        for row in reversed(self.rows):
            lines[row.number + 2 : row.number + 2] = [f"     ^ {mark}" for mark in row.marks]
        return "\n".join(lines)

    __repr__ = __str__


@dataclass
class _Call:
    """A call while it is recorded: the module, what it was given, and what it gave."""

    module: torch.nn.Module
    row: Row
    input: Any
    given: tuple[Tensor, ...]
    origins: list[Origin]
    output: Any = None
    returned: tuple[Tensor, ...] = ()

    @property
    def is_step(self) -> bool:
        """Whether the call is one step of a loop."""
        return isinstance(self.module, RNNCellBase) or " seq=1 " in f" {self.row.reading} "


def trace(model: torch.nn.Module | Callable[..., Any], *inputs: Any) -> Trace:
    """Record which state went where while a model runs once.

    Args:
        model: any module, run in eval mode and left as it was; or any function that calls modules,
            a loop over cells, say.
        *inputs: what it is called with.

    Returns:
        A row for each call of a recurrent module. Its marks are worth a look, and no proof. They
        mark the same state given to calls in a row, a returned state that nothing uses while the
        next call starts from zeros, a state from an earlier graph, h for c, and a state of another
        layer.

    >>> cell = torch.nn.GRUCell(3, 4)
    >>> def loop(x, h):
    ...     return [cell(x_t, h) for x_t in x]  # h is never advanced
    >>> len(rnnkit.trace(loop, torch.ones(3, 2, 3), torch.zeros(2, 4)).marked)
    2
    """
    model = getattr(model, "_orig_mod", model)
    recorder = _Recorder(model, inputs)
    if isinstance(model, torch.nn.Module):
        with session(model) as opened:
            opened.model.eval()
            output = recorder.run(opened.model, inputs)
    else:
        output = recorder.run(model, inputs)
    return recorder.finish(output)


trace.__module__ = "rnnkit"


class _Recorder:
    def __init__(self, model: Any, inputs: tuple[Any, ...]) -> None:
        self.calls: list[_Call] = []
        self.open: list[_Call] = []
        modules = dict(model.named_modules()) if isinstance(model, torch.nn.Module) else {}
        self.names = {id(module): name for name, module in modules.items()}
        kept = [value for module in modules.values() for value in module.__dict__.values()]
        self.flow = Flow(leaves((inputs, kept)))

    def run(self, model: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
        hooks: list[Any] = []
        if isinstance(model, torch.nn.Module):
            for module in model.modules():
                if isinstance(module, KINDS):
                    hooks.append(module.register_forward_pre_hook(self._before, with_kwargs=True))
                    hooks.append(module.register_forward_hook(self._after))
        else:
            hooks.append(register_module_forward_pre_hook(self._before))
            hooks.append(register_module_forward_hook(self._after))
        try:
            with torch.enable_grad():
                return model(*inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def _before(self, module: torch.nn.Module, args: Any, kwargs: Any = None) -> None:
        if not isinstance(module, KINDS):
            return
        named = {**dict(zip(("input", "hx"), args, strict=False)), **(kwargs or {})}
        input = named.get("input")
        given = _tensors(named.get("hx"))
        origins = [self.flow.origin(tensor) for tensor in given]
        kind = type(module).__name__
        name = self.names.setdefault(id(module), f"{kind}-{len(self.names)}")
        number = len(self.calls)
        row = Row(number, name, kind, _reading(module, input), _describe(origins))
        call = _Call(module, row, input, given, origins)
        self.calls.append(call)
        self.open.append(call)

    def _after(self, module: torch.nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002
        if not self.open or self.open[-1].module is not module:
            return
        call = self.open.pop()
        state = output[1] if isinstance(module, RNNBase) else output
        call.output = output[0]
        call.returned = _tensors(state)
        names = ("h", "c") if len(call.returned) > 1 else ("h",)
        for member, tensor in zip(names, call.returned, strict=False):
            self.flow.note(tensor, Origin(call.row.number, member))

    def finish(self, output: Any) -> Trace:
        reached = self.flow.reached(leaf for leaf in leaves(output) if isinstance(leaf, Tensor))
        given = [tensor for call in self.calls for tensor in call.given]
        for call in self.calls:
            used = any(
                self.flow.is_reached(tensor, reached) or self.flow.shares(tensor, given)
                for tensor in call.returned
            )
            told = used or any(tensor.grad_fn is not None for tensor in call.returned)
            call.row.used = used if told else None
        for call in self.calls:
            call.row.marks += self._marks(call)
        return Trace([call.row for call in self.calls])

    def _marks(self, call: _Call) -> list[str]:
        marks = []
        earlier = [c for c in self.calls[: call.row.number] if c.module is call.module]
        if earlier:
            last = earlier[-1]
            pairs = zip(call.given, last.given, strict=False)
            same = [self.flow.same_place(one, other) for one, other in pairs]
            if same and all(same) and call.is_step:
                marks.append(f"the same state as in row {last.row.number}: it is never advanced")
            if not call.given and last.row.used is False and call.is_step:
                marks.append(f"starts from zeros, and the state of row {last.row.number} is unused")
        names = ("h", "c") if len(call.given) > 1 else ("h",)
        for member, origin, tensor in zip(names, call.origins, call.given, strict=False):
            taken = origin.row is not None and origin.how != "computed from"
            if taken and len(names) > 1 and origin.member != member:
                marks.append(f"its {member} is {origin.member} of row {origin.row}")
            if origin.row is None and self.flow.is_old(tensor) and tensor.grad_fn is not None:
                marks.append(f"its {member} belongs to the graph of an earlier run: detach it")
            if taken:
                marks += self._other_rows(call, origin, member)
            if taken and not call.is_step and self._continues(call, origin):
                row = f"row {origin.row}"
                marks.append(
                    f"reads the output of {row} from its end state: step 0 has seen it all"
                )
        return list(dict.fromkeys(marks))

    def _continues(self, call: _Call, origin: Origin) -> bool:
        output = self.calls[origin.row or 0].output
        both = isinstance(output, Tensor) and isinstance(call.input, Tensor)
        return both and self.flow.same_place(output, call.input)

    def _other_rows(self, call: _Call, origin: Origin, member: str) -> list[str]:
        source = self.calls[origin.row or 0]
        if not isinstance(source.module, RNNBase) or not isinstance(call.module, RNNBase):
            return []
        directions = 2 if source.module.bidirectional else 1
        if directions == 1 or call.module.bidirectional or origin.first is None:
            return []
        layer, direction = divmod(origin.first, directions)
        if source.module.num_layers - 1 == layer and direction == 0:
            return []
        way = "backward" if direction else "forward"
        where = f"the {way} direction of layer {layer}"
        return [f"its {member} begins with {where} of row {origin.row}"]


def _tensors(state: Any) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in leaves(state) if isinstance(leaf, Tensor))


def _reading(module: torch.nn.Module, input: Any) -> str:
    if isinstance(input, PackedSequence):
        sizes = input.batch_sizes
        return f"packed seq={len(sizes)} batch={int(sizes[0])} feature={input.data.shape[-1]}"
    shape = tuple(input.shape)
    if isinstance(module, RNNCellBase):
        names: tuple[str, ...] = ("batch", "feature")
    else:
        names = ("batch", "seq", "feature") if module.batch_first else ("seq", "batch", "feature")
    if len(shape) == len(names) - 1:
        names = tuple(name for name in names if name != "batch")
    return " ".join(f"{name}={size}" for name, size in zip(names, shape, strict=False))


def _describe(origins: list[Origin]) -> str:
    if not origins:
        return "zeros"
    texts = [str(origin) for origin in origins]
    rows = {origin.row for origin in origins}
    whole = all(origin.row is not None and origin.is_whole for origin in origins)
    if len(rows) == 1 and whole and [o.member for o in origins] in (["h"], ["h", "c"]):
        return f"row {origins[0].row}"
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
