"""What TorchScript looks for in a module and a subclass must put right."""

from typing import Any

import torch

#: What every class has of its own, and none takes over from another.
OF_EACH_CLASS = {"__dict__", "__weakref__"}


def torch_twin(module: torch.nn.Module, torch_class: type[torch.nn.Module]) -> torch.nn.Module:
    """Return a module of torch's class that holds the same parameters, hooks and options.

    TorchScript compiles torch's classes, whose ``forward`` it knows, and no guard. What a subclass
    of a user's adds to ours, it adds to torch's there.
    """
    own = [kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] != "rnnkit"]
    added: dict[str, Any] = {}
    for kind in reversed(own[: own.index(torch_class)]):
        added |= {name: value for name, value in vars(kind).items() if name not in OF_EACH_CLASS}
    twin_class: Any = type(type(module).__name__, (torch_class,), added) if added else torch_class
    twin: torch.nn.Module = twin_class.__new__(twin_class)
    twin.__dict__ = module.__dict__.copy()
    return twin
