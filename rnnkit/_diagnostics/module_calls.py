"""A call of a recurrent module: what it is given and what it gives, read in one way for everyone.

There are two ways to hear of a call: hooks on the modules of a copy, which no other thread runs,
and one hook on the calls of all modules, where a function calls modules that nobody has copied.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.modules import module as modules
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.outputs import along, leaves, shape_of

#: Changes the numbers of a tensor.
Change = Callable[[Tensor], Tensor]

#: Layers and cells.
KINDS = (RNNBase, RNNCellBase)


def has_recurrence(model: torch.nn.Module) -> bool:
    """Return whether a model has a recurrent module: torch's kinds, or one with a first state."""
    return any(map(is_recurrent, model.modules()))


def is_recurrent(module: torch.nn.Module) -> bool:
    """Return whether a module is of torch's kinds, or has a first state."""
    return isinstance(module, KINDS) or hasattr(module, "initial_state")


def trained(module: torch.nn.Module) -> list[Tensor]:
    """Return the weights of a module that want a gradient."""
    return [weight for weight in module.parameters() if weight.requires_grad]


def _leave(*_: Any) -> None:
    """Change nothing."""


class Forward:
    """A hook around a module's ``forward``, which some call without the module.

    It stands on the instance, so that others of the class do not notice.
    """

    def __init__(self, module: Any, before: Callable[..., Any], after: Callable[..., Any]) -> None:
        """Take what is called before, with the arguments, and after, with the result."""
        self._module, self._forward, self._active = module, module.forward, True
        self._before, self._after = before, after
        self._own = module.__dict__.get("forward")
        module.__dict__["forward"] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module, with other arguments or another result where a hook returns some."""
        if not self._active:
            return self._forward(*args, **kwargs)
        args, kwargs = self._before(args, kwargs) or (args, kwargs)
        result = self._forward(*args, **kwargs)
        other = self._after(result)
        return result if other is None else other

    def remove(self) -> None:
        """Stop; restore what was there, unless another hook stands around this one."""
        self._active, held = False, self._module.__dict__
        if held.get("forward") is self:
            del held["forward"]
            held |= {} if self._own is None else {"forward": self._own}


class EveryCall:
    """A hook on the calls of all modules, in all threads."""

    def __init__(self, hook: Callable[..., Any], *, errors: bool = False) -> None:
        """Take what is called after each call, or after each that raises, too."""
        self._handle = modules.register_module_forward_hook(
            hook, with_kwargs=True, always_call=errors
        )

    def remove(self) -> None:
        """Stop; torch would leave a mark, by which it calls all modules the slow way."""
        self._handle.remove()
        modules._global_forward_hooks_with_kwargs.pop(self._handle.id, None)  # noqa: SLF001


def each_call(
    name: str, before: Callable[..., Any] = _leave, after: Callable[..., Any] = _leave
) -> Watch:
    """Return what hooks the calls of one module, by its qualified name.

    ``before`` takes the number of the call and its arguments, by position and by name, ``after``
    the number and what is returned.
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
        return [Forward(module, before, after)]
    first = module.register_forward_pre_hook(
        lambda _, args, kwargs: before(args, kwargs), with_kwargs=True
    )
    return [first, module.register_forward_hook(lambda _, __, output: after(output))]


def named_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by their names; beyond the first two those given by name."""
    return {**dict(zip(("input", "hx"), args, strict=False)), **kwargs}


def from_state(
    args: tuple[Any, ...], kwargs: dict[str, Any], state: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the same call from another state."""
    named = named_arguments(args, kwargs)
    return (named["input"], state, *args[2:]), {
        name: value for name, value in named.items() if name not in {"input", "hx"}
    }


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
    """Return which of h and c are given; a subclass of somebody's may take lengths there."""
    parts = state if isinstance(state, tuple | list) and len(state) == 2 else leaves(state)
    named = dict(zip(("h", "c"), parts, strict=False))
    return {
        name: part
        for name, part in named.items()
        if isinstance(part, Tensor) and part.is_floating_point()
    }


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


def mapped(
    result: Any, *, output: Change | None = None, h: Change | None = None, c: Change | None = None
) -> Any:
    """Return what a layer returned, with other numbers in its output, in h or in c."""
    parts: list[Any] = [result] if isinstance(result, Tensor) else list(result)
    if output is not None:
        packed = isinstance(parts[0], PackedSequence)
        parts[0] = parts[0]._replace(data=output(parts[0].data)) if packed else output(parts[0])
    if h is not None or c is not None:
        state = parts[1]
        pairs = zip((state,) if isinstance(state, Tensor) else state, (h, c), strict=False)
        changed = [member if change is None else change(member) for member, change in pairs]
        kind = type(state) if hasattr(state, "_fields") else lambda *pair: pair
        parts[1] = changed[0] if isinstance(state, Tensor) else kind(*changed)
    return parts[0] if isinstance(result, Tensor) else tuple(parts)


def is_backward(output: Tensor) -> Tensor:
    """Say which features of a bidirectional layer's output are of its backward direction."""
    return torch.arange(output.shape[-1], device=output.device) >= output.shape[-1] // 2


def rows_of(module: torch.nn.Module, state: Tensor) -> Tensor:
    """Return the layer and direction of each part of a layer's state, to broadcast to it."""
    axis = rows_axis(module, state)
    return along(state, axis, torch.arange(state.shape[axis], device=state.device))


def rows_axis(module: torch.nn.Module, state: Tensor) -> int:
    """Return the axis of a layer's state on which its layers and directions are."""
    return 1 if getattr(module, "state_batch_first", False) and state.dim() == 3 else 0
