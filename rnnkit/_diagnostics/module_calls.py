"""A call of a recurrent module: how it is watched and changed, what it is given and returns."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.outputs import Watch, along, leaves, shape_of

#: Changes the numbers of a tensor.
Change = Callable[[Tensor], Tensor]

#: Changes nothing, as a hook.
_leave: Callable[..., Any] = lambda *_: None  # noqa: E731

#: Layers and cells.
KINDS = (RNNBase, RNNCellBase)


class Origin(NamedTuple):
    """Where a state came from: h or c of a row of the trace, or elsewhere."""

    row: int | None = None
    member: str = ""
    how: str = ""  # nothing if it is the same, else "a slice of" or "computed from"

    def __str__(self) -> str:
        """Write it for the table."""
        if self.row is None:
            return "from elsewhere"
        return f"{self.how} {self.member} of row {self.row}".strip()


@dataclass(eq=False)
class Call:
    """A call of a layer or cell; its states are h, and c if there is one, by name.

    Its number is that of the row in a trace, and else among the calls of its module.
    """

    number: int
    name: str
    module: Any
    input: Any
    state: dict[str, Tensor]
    output: Any = None
    returned: dict[str, Tensor] = field(default_factory=dict)
    # What only a trace knows: where its state came from, and what became of what it returned.
    origins: dict[str, Origin] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    is_fresh: bool = False  # it starts from zeros
    used: bool | None = True
    error: BaseException | None = None

    @property
    def label(self) -> str:
        """What a message calls the module: the model itself has no name."""
        return self.name or "the model"

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the input, as the module reads its axes."""
        return sizes_of(self.module, self.input)

    @property
    def is_cell(self) -> bool:
        """Whether the module is a cell."""
        return isinstance(self.module, RNNCellBase)

    @property
    def is_step(self) -> bool:
        """Whether the call is one step of a loop."""
        return self.is_cell or self.sizes.get("seq") == 1


def has_recurrence(model: torch.nn.Module) -> bool:
    """Return whether a model has a recurrent module: torch's kinds, or one with a first state."""
    return any(map(is_recurrent, model.modules()))


def is_recurrent(module: torch.nn.Module) -> bool:
    """Return whether a module is of torch's kinds, or has a first state."""
    return isinstance(module, KINDS) or hasattr(module, "initial_state")


def trained(module: torch.nn.Module) -> list[Tensor]:
    """Return the weights of a module that want a gradient."""
    return [weight for weight in module.parameters() if weight.requires_grad]


def each_call(
    name: str, before: Callable[..., Any] = _leave, after: Callable[..., Any] = _leave
) -> Watch:
    """Return what hooks the calls of one module, which are counted from 0.

    ``before`` takes the number and the arguments, by position and by name, ``after`` the number and
    what is returned.
    """

    def watch(model: torch.nn.Module) -> list[Any]:
        begun, ended = itertools.count(), itertools.count()
        return hooked(
            model.get_submodule(name),
            lambda args, kwargs: before(next(begun), args, kwargs),
            lambda output: after(next(ended), output),
        )

    return watch


def hooked(
    module: torch.nn.Module, before: Callable[..., Any] = _leave, after: Callable[..., Any] = _leave
) -> list[Any]:
    """Hook each call of a module, before and after; of a layer or cell each ``forward``."""
    if isinstance(module, KINDS) and not isinstance(module, torch.jit.ScriptModule):
        return [_around(module, before, after)]
    first = module.register_forward_pre_hook(
        lambda _, args, kwargs: before(args, kwargs), with_kwargs=True
    )
    return [first, module.register_forward_hook(lambda _, __, output: after(output))]


def _around(module: Any, before: Callable[..., Any], after: Callable[..., Any]) -> Any:
    """Hook the ``forward`` of one instance, which some call without the module.

    Hooks around one module are removed from the outside in.
    """
    held, own, run = vars(module), vars(module).get("forward"), module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = before(args, kwargs) or (args, kwargs)
        result = run(*args, **kwargs)
        other = after(result)
        return result if other is None else other

    def remove() -> None:
        del held["forward"]
        held.update({} if own is None else {"forward": own})

    held["forward"] = forward
    return SimpleNamespace(remove=remove)


def named_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by their names; beyond the first two those given by name."""
    return {**dict(zip(("input", "hx"), args, strict=False)), **kwargs}


def from_state(
    args: tuple[Any, ...], kwargs: dict[str, Any], state: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the same call from another state."""
    named = named_arguments(args, kwargs)
    rest = {name: value for name, value in named.items() if name not in {"input", "hx"}}
    return (named["input"], state, *args[2:]), rest


def sizes_of(module: torch.nn.Module, input: Any) -> dict[str, int]:
    """Return an input's sizes, as a layer or cell reads its axes; none if it is not an input."""
    if isinstance(input, PackedSequence):
        sizes = input.batch_sizes
        return {"seq": len(sizes), "batch": int(sizes[0]), "feature": input.data.shape[-1]}
    shape = shape_of(input) or ()
    names = ["batch", "feature"]
    if isinstance(module, RNNBase):
        names.insert(1 if module.batch_first else 0, "seq")
    if len(shape) == len(names) - 1:
        names.remove("batch")
    return dict(zip(names, shape, strict=False))


def members_of(state: Any) -> dict[str, Tensor]:
    """Return h and c, as far as they are given; a user's subclass may take lengths there."""
    named = zip("hc", leaves(state), strict=False)
    return {k: x for k, x in named if isinstance(x, Tensor) and x.is_floating_point()}


def split_result(module: torch.nn.Module, result: Any) -> tuple[Any, tuple[Tensor, ...]]:
    """Return the output and the state's tensors; no state where a subclass returns none."""
    output, state, rank = None, result, 1
    if isinstance(module, RNNBase):
        if not (isinstance(result, tuple) and len(result) == 2):
            return result, ()
        (output, state), rank = result, 2
    members = tuple(state) if isinstance(state, tuple | list) else (state,)
    whole = all(isinstance(part, Tensor) and part.dim() >= rank for part in members)
    return output, members if whole and len(members) <= 2 else ()


def mapped(
    result: Any, *, output: Change | None = None, h: Change | None = None, c: Change | None = None
) -> Any:
    """Return what a layer returned, with other numbers in its output, in h or in c."""
    if isinstance(result, Tensor):
        return result if output is None else output(result)
    parts = list(result)
    if output is not None:
        packed = isinstance(parts[0], PackedSequence)
        parts[0] = parts[0]._replace(data=output(parts[0].data)) if packed else output(parts[0])
    if h is not None or c is not None:
        state = parts[1]
        pairs = zip((state,) if isinstance(state, Tensor) else state, (h, c), strict=False)
        changed = [member if change is None else change(member) for member, change in pairs]
        kind = type(state) if hasattr(state, "_fields") else lambda *pair: pair
        parts[1] = changed[0] if isinstance(state, Tensor) else kind(*changed)
    return tuple(parts)


def is_backward(output: Tensor) -> Tensor:
    """Return which features of a bidirectional layer's output are of its backward direction."""
    return torch.arange(output.shape[-1], device=output.device) >= output.shape[-1] // 2


def rows_of(module: torch.nn.Module, state: Tensor) -> Tensor:
    """Return the layer and direction of each part of a layer's state, to broadcast to it."""
    axis = 1 if getattr(module, "state_batch_first", False) and state.dim() == 3 else 0
    return along(state, axis, torch.arange(state.shape[axis], device=state.device))
