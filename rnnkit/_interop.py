"""What torch's tools look for in a module and a subclass must put right."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy


def is_traced(input: Any, hx: Any) -> bool:
    """Say whether torch.fx is recording this call."""
    if isinstance(input, Proxy) or hx is None or isinstance(hx, Tensor):
        return isinstance(input, Proxy)
    return isinstance(hx, Proxy) or (isinstance(hx, tuple) and any(map(_is_proxy, hx)))


def _is_proxy(part: Any) -> bool:
    return isinstance(part, Proxy)


def leaf_node(module: torch.nn.Module, input: Any, hx: Any, **options: Any) -> Proxy:
    """Record a call as one ``call_module`` node.

    torch's own classes are leaves to every tracer by the name of their package; this module is
    one by what it does when it meets a proxy.
    """
    args = (input,) if hx is None else (input, hx)
    parts = (input, *(hx if isinstance(hx, tuple) else (hx,)))
    tracer: Any = next(part.tracer for part in parts if isinstance(part, Proxy))
    kwargs = {name: value for name, value in options.items() if value is not None}
    node: Proxy = tracer.create_proxy("call_module", tracer.path_of_module(module), args, kwargs)
    return node


def torch_twin(module: torch.nn.Module, torch_class: type[torch.nn.Module]) -> torch.nn.Module:
    """Return a module of torch's class that holds the same parameters, hooks and options.

    TorchScript compiles torch's classes, whose ``forward`` it knows, and no guard. What a subclass
    of a user's adds to ours, it adds to torch's there.
    """
    own = [kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] != "rnnkit"]
    added: dict[str, Any] = {}
    for kind in reversed(own[: own.index(torch_class)]):
        added |= {name: value for name, value in vars(kind).items() if name not in SLOTS}
    twin_class: Any = type(type(module).__name__, (torch_class,), added) if added else torch_class
    twin: torch.nn.Module = twin_class.__new__(twin_class)
    twin.__dict__ = module.__dict__.copy()
    return twin


#: What every class has of its own.
SLOTS = {"__dict__", "__weakref__"}
