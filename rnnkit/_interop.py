"""What torch's tools look for in a module and a subclass must put right."""

from typing import Any

import torch
from torch.fx import Proxy


def leaf_node(module: torch.nn.Module, input: Proxy, hx: Any, **options: Any) -> Proxy:
    """Record a call as one ``call_module`` node.

    torch's own classes are leaves to every tracer by the name of their package; this module is
    one by what it does when it meets a proxy.
    """
    tracer: Any = input.tracer
    args = (input,) if hx is None else (input, hx)
    kwargs = {name: value for name, value in options.items() if value is not None}
    node: Proxy = tracer.create_proxy("call_module", tracer.path_of_module(module), args, kwargs)
    return node


def torch_twin(module: torch.nn.Module, torch_class: type[torch.nn.Module]) -> torch.nn.Module:
    """Return a module of torch's class that holds the same parameters, hooks and options.

    TorchScript compiles torch's classes, whose ``forward`` it knows, and no guard.
    """
    twin = torch_class.__new__(torch_class)
    twin.__dict__ = module.__dict__.copy()
    return twin
