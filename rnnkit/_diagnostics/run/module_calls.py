"""A call of a recurrent module: how it is watched and changed, what it is given and returns."""

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.run.outputs import Watch, is_number, is_packed, leaves, shape_of

Hook = Callable[..., Any]

#: Changes nothing.
_change_nothing: Hook = lambda *_: None  # noqa: E731

#: Layers and cells.
KINDS = (RNNBase, RNNCellBase)

#: What messages call the parts of what a layer returns, in their order; a layer of cells has more.
PARTS = ("output", "h", "c", *(f"state {place}" for place in range(2, 32)))


@dataclass(eq=False)
class Call:
    """A call of a recurrent layer or cell.

    Attributes:
        number: its number among the calls of its module, from 0.
        name, module: the module and its qualified name; the model itself has an empty one.
        input: the input, a tensor or packed; None if it is not known.
        state: the hidden state that it was given, by name: ``h``, and ``c`` of an LSTM.
        output: what a layer returned beside its state.
        returned: the state that it returned, by name.
        loop_axis: the axis of the steps, of a module that loops over cells; None of torch's kinds.
    """

    number: int
    name: str
    module: Any
    input: Any
    state: dict[str, Tensor]
    output: Any = None
    returned: dict[str, Tensor] = field(default_factory=dict)
    loop_axis: int | None = None

    @property
    def seq_axis(self) -> int:
        """The axis of the output that has the steps."""
        return int(self.module.batch_first) if self.loop_axis is None else self.loop_axis

    @property
    def label(self) -> str:
        """What a message calls the module: the model itself has no name."""
        return self.name or "the model"

    @property
    def is_cell(self) -> bool:
        """Whether the module runs one step, as a cell of torch's or of a user's does."""
        if isinstance(self.module, KINDS):
            return isinstance(self.module, RNNCellBase)
        return self.loop_axis is None and not is_layer(self.module)

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the input by axis (seq, batch, feature), as the module reads them.

        Of a packed input that is not known, the output has seq and batch. Empty if that is neither.
        """
        packed = self.output if self.input is None else self.input
        if isinstance(packed, PackedSequence):
            sizes = {"seq": len(packed.batch_sizes), "batch": int(packed.batch_sizes[0])}
            return sizes if self.input is None else sizes | {"feature": packed.data.shape[-1]}
        shape = shape_of(self.input) or ()
        names = ["batch", "feature"]
        if is_layer(self.module):
            names.insert(1 if self.module.batch_first else 0, "seq")
        if len(shape) == len(names) - 1:
            names.remove("batch")
        return dict(zip(names, shape, strict=False))

    @property
    def is_step(self) -> bool:
        """Whether the call is one step of a loop."""
        return self.is_cell or self.sizes.get("seq") == 1


def is_recurrent(module: torch.nn.Module) -> bool:
    """Return whether a module is a layer or cell: of torch's kinds, or with ``initial_state``."""
    return isinstance(module, KINDS) or hasattr(module, "initial_state")


def is_layer(module: torch.nn.Module) -> bool:
    """Return whether a recurrent module runs over a whole sequence: then it has ``batch_first``."""
    return isinstance(getattr(module, "batch_first", None), bool) and is_recurrent(module)


def is_traced(name: str, module: torch.nn.Module) -> bool:
    """Return whether a trace has rows for a module: a layer or cell, or one with a first state.

    The model itself, whose name is empty, is no layer if it only has a first state.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return False
    return isinstance(module, KINDS) or is_layer(module) or (name != "" and is_recurrent(module))


def hooks_on(name: str, before: Hook = _change_nothing, after: Hook = _change_nothing) -> Watch:
    """Return a watch, a function that puts hooks on a copy, for the calls of the module ``name``.

    See :func:`hook_forward` for ``before`` and ``after``.
    """
    return lambda model: [hook_forward(model.get_submodule(name), before, after)]


def hook_forward(module: Any, before: Hook, after: Hook) -> Any:
    """Wrap the ``forward`` of one module, which some call without the module; return a handle.

    ``before(number, args, kwargs)`` may return other arguments, ``after(number, result)`` another
    result; ``number`` counts the calls. Hooks on one module are removed from the outside in.
    """
    run = module.forward
    numbers = itertools.count()

    def forward(*args: Any, **kwargs: Any) -> Any:
        """Run the module's own ``forward`` between the two hooks."""
        number = next(numbers)
        args, kwargs = before(number, args, kwargs) or (args, kwargs)
        result = run(*args, **kwargs)
        other = after(number, result)
        return result if other is None else other

    return _replace_forward(module, forward)


def watch_forward(module: Any, write_down: Hook) -> Any:
    """Call ``write_down(args, kwargs, result)`` after each ``forward`` of a module.

    Return a handle.

    The result is None if it raises.
    """
    run = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        """Run the module's own ``forward``, and write the call down."""
        result = None
        try:
            result = run(*args, **kwargs)
        finally:
            write_down(args, kwargs, result)
        return result

    return _replace_forward(module, forward)


def _replace_forward(module: Any, forward: Hook) -> Any:
    """Let a module run another ``forward`` until the handle that comes back is removed."""
    held = vars(module)
    own = {"forward": held["forward"]} if "forward" in held else {}
    held["forward"] = functools.wraps(module.forward)(forward)  # some read its signature

    def remove() -> None:
        """Give the module its own ``forward`` back."""
        del held["forward"]
        held.update(own)

    return SimpleNamespace(remove=remove)


def calls_in(events: Sequence[Any]) -> list[Call]:
    """Return the calls of torch's layers and cells in one run, in their order.

    ``events`` are what a :class:`Recorder` wrote down: an event of kind ``"input"`` begins a call,
    and the next one of the same module ends it.
    """
    calls = []
    families = defaultdict[str, list[Call]](list)
    for event in events:
        if not isinstance(event.module, KINDS):
            continue
        family = families[event.name]
        if event.kind == "input":
            input, *state = event.tensors or [None]
            input = None if event.is_packed else input
            family.append(Call(len(family), event.name, event.module, input, state_by_name(state)))
            calls.append(family[-1])
            continue
        output, returned = split_result(event.module, event.tree)
        family[-1].output = output if returned else None
        # A layer returns its output before its state.
        first = 1 if isinstance(event.module, RNNBase) else 0
        family[-1].returned = state_by_name(event.tensors[first:])
    return calls


def steps_of_modules(events: Sequence[Any]) -> Counter[tuple[str, int]]:
    """Return how many steps each layer or cell reads in a run, by its name and how many samples."""
    steps = Counter[tuple[str, int]]()
    for call in calls_in(events):
        steps[call.name, call.sizes.get("batch", 0)] += call.sizes.get("seq", 1)
    return steps


@dataclass(eq=False)
class _OpenCall:
    """A call that has not returned yet.

    Attributes:
        event: the event that began it, with its arguments.
        number: its number among the calls of its module.
        inside: how often each module was called inside of it, by name.
    """

    event: Any
    number: int
    inside: Counter[str] = field(default_factory=Counter)


def loops_in(events: Sequence[Any], cells: Collection[str]) -> list[Call]:
    """Return the calls of modules that loop over cells.

    They are users' modules, no layers of torch.

    ``cells`` are the names of the modules that are called step by step.
    """
    found = []
    numbers = Counter[str]()
    open_: list[_OpenCall] = []
    for event in events:
        name = event.name
        if event.kind == "input":
            for one in open_:
                one.inside[name] += 1
            open_.append(_OpenCall(event, numbers[name]))
            numbers[name] += 1
            continue
        # Calls overlap in threads, and one inside may have raised, and the model went on.
        begun = next(one for one in reversed(open_) if one.event.name == name)
        open_.remove(begun)
        call = _loop_call(begun, event, cells)
        if call is not None:
            found.append(call)
    return found


def _loop_call(begun: _OpenCall, end: Any, cells: Collection[str]) -> Call | None:
    """Return the call of a module that loops over cells; None if it does not look like one.

    It takes and returns ``(batch, seq, ...)`` or ``(seq, batch, ...)``, with the same two sizes.
    ``begun`` is its call, ``end`` the event with its result.
    """
    input, *rest = begun.event.tensors or [None]
    output, state = split_result(end.module, end.tree)
    ends = [(shape_of(x) or ())[:2] for x in (input, output) if len(shape_of(x) or ()) == 3]
    if isinstance(end.module, KINDS) or len(ends) < 2 or ends[0] != ends[1]:
        return None
    axis = _loop_axis(begun, ends[0], cells)
    if axis is None:
        return None
    return Call(begun.number, end.name, end.module, input, state_by_name(rest), output, state, axis)


def _loop_axis(begun: _OpenCall, sizes: Sequence[int], cells: Collection[str]) -> int | None:
    """Return the axis of the steps of a loop, 0 or 1; None if it is not clear.

    A layer says it; else it is the axis that is as long as the module calls its cell often.
    """
    module = begun.event.module
    if is_layer(module):
        return int(module.batch_first)
    times = {begun.inside[name] for name in cells}
    axes = [axis for axis, size in enumerate(sizes) if size > 1 and size in times]
    return axes[0] if len(axes) == 1 else None


def changing(name: str, numbers: Sequence[int], changes: dict[str, Any]) -> Watch:
    """Return a watch, which puts hooks on a copy of a model, that changes what a layer returns.

    ``name`` is the layer and ``numbers`` are its calls that change; ``changes`` has a function of a
    tensor by part: ``output``, ``h``, ``c``.
    """
    return hooks_on(
        name, after=lambda at, x: with_changed_parts(x, **changes) if at in numbers else x
    )


def arguments_by_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a layer's or cell's call by name: ``input``, ``hx`` and others."""
    return {**dict(zip(("input", "hx"), args, strict=False)), **kwargs}


def with_state(
    args: tuple[Any, ...], kwargs: dict[str, Any], state: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments (positional and keyword) of the same call from another hidden state."""
    named = arguments_by_name(args, kwargs) | {"hx": state}
    return (named.pop("input"), named.pop("hx"), *args[2:]), named


def state_by_name(state: Any, names: Sequence[str] = PARTS[1:3]) -> dict[str, Tensor]:
    """Return a hidden state by name, ``{"h": ..., "c": ...}``, as far as it holds tensors.

    ``state`` is a tensor, a tuple or None; a subclass may take other things there, such as lengths.
    """
    named = zip(names, leaves(state), strict=False)
    return {name: x for name, x in named if is_number(x) and x.dim()}


def split_result(module: Any, result: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return what a layer or cell returned as the output (None of a cell) and the state by name.

    The state is empty where a subclass of a user's returns none.
    """
    if isinstance(module, RNNCellBase):
        return None, state_by_name(result)
    if not isinstance(result, tuple) or len(result) != 2:
        return result, {}
    output, state = result
    if isinstance(module, RNNBase):
        return output, state_by_name(state)
    return output, state_by_name(state, PARTS[1:])


def with_changed_parts(result: Any, **changes: Callable[[Tensor], Tensor]) -> Any:
    """Return a layer's result with other numbers in its ``output``, ``h`` or ``c``.

    ``changes`` has a function of a tensor for each part that changes; packed data stay packed.
    """
    parts, tree = pytree.tree_flatten(result, is_leaf=is_packed)
    for k, (name, part) in enumerate(zip(PARTS, parts, strict=False)):
        if change := changes.get(name):
            parts[k] = part._replace(data=change(part.data)) if is_packed(part) else change(part)
    return pytree.tree_unflatten(parts, tree)
