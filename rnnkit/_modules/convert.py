"""``convert`` and ``revert``: torch's recurrent modules in a model become rnnkit's, and back."""

from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch

from rnnkit._base.message import count
from rnnkit._base.model import check_model
from rnnkit._checks.objects import refuse_call_of_result
from rnnkit._modules.cells import GRUCell, LSTMCell, RNNCell
from rnnkit._modules.layers import GRU, LSTM, RNN

TO_RNNKIT: dict[Any, Any] = {
    kind.__rnnkit__.torch_class: kind for kind in (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell)
}

TO_TORCH = {ours: theirs for theirs, ours in TO_RNNKIT.items()}


@dataclass
class Converted:
    """The result of ``convert`` or ``revert``: which modules were changed, and which were not.

    Attributes:
        changed: the names of the modules whose class was changed.
        left: the recurrent modules that were not changed: a dictionary from name to reason.
        model: the model that you passed, which was changed in place.

    >>> model = torch.nn.ModuleDict({"rnn": torch.nn.GRU(3, 4), "head": torch.nn.Linear(4, 2)})
    >>> done = rnnkit.convert(model)
    >>> done.changed, done.left, done.model is model
    (['rnn'], {}, True)
    """

    __module__ = "rnnkit"

    changed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    model: Any = field(default=None, compare=False)
    _caller: str = field(default="convert", compare=False)

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Raise an ArgumentError: the model that was given is the one to call."""
        refuse_call_of_result(self._caller)

    def __str__(self) -> str:
        """Write a line for each module."""
        changed = count(len(self.changed), "module", "modules")
        lines = [f"{changed} changed, {len(self.left)} unchanged"]
        lines += [f"  changed    {_shown(name)}" for name in self.changed]
        lines += [f"  unchanged  {_shown(name)}: {why}" for name, why in self.left.items()]
        return "\n".join(lines)

    __repr__ = __str__


def _shown(name: str) -> str:
    """Write a module's name; one that reads as a number, as in a Sequential, is quoted."""
    return repr(name) if name[:1].isdigit() else name or "(the model itself)"


def convert(model: torch.nn.Module) -> Converted:
    """Change a model's recurrent modules and cells, in place, from torch's classes to rnnkit's.

    Only the class of each module changes. Its parameters, hooks, parametrizations, name and mode
    (train or eval) stay, and shared modules stay shared. Subclasses of torch's recurrent classes,
    other than rnnkit's, are not changed. While ``convert`` runs, no other thread may call the
    model.

    Returns:
        The names of the changed and the unchanged modules. Continue with ``model`` itself.

    Raises:
        ArgumentError: if ``model`` is not a module.

    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LSTM(4, 5))
    >>> rnnkit.convert(model)
    1 module changed, 0 unchanged
      changed    '1'
    >>> isinstance(model[1], rnnkit.LSTM)
    True
    """
    return _change("convert", model, TO_RNNKIT)


def revert(model: torch.nn.Module) -> Converted:
    """Change a model's recurrent modules and cells, in place, from rnnkit's classes to torch's.

    Call it before you use a tool that compares classes exactly, such as ``torch.ao.quantization``.
    A module with an option that torch does not have (``state_batch_first``, ``axes``) is not
    changed. While ``revert`` runs, no other thread may call the model: its call may fail with an
    AttributeError.

    Returns:
        The names of the changed and the unchanged modules. Continue with ``model`` itself.

    Raises:
        ArgumentError: if ``model`` is not a module.

    >>> model = torch.nn.Sequential(rnnkit.GRU(3, 4), rnnkit.LSTM(4, 5, state_batch_first=True))
    >>> rnnkit.revert(model)
    1 module changed, 1 unchanged
      changed    '0'
      unchanged  '1': torch's class has no state_batch_first
    >>> type(model[0]) is torch.nn.GRU
    True
    """
    return _change("revert", model, TO_TORCH)


convert.__module__ = "rnnkit"
revert.__module__ = "rnnkit"


def _change(caller: str, model: torch.nn.Module, table: dict[Any, Any]) -> Converted:
    """Change the class of each module that is exactly of a class in the table, in place.

    ``table`` maps torch's classes to rnnkit's, or the other way round; ``caller`` is the public
    function that was called. A parametrized module keeps its wrapper, on top of the new class.
    """
    check_model(caller, model)
    result = Converted(model=model, _caller=caller)
    for name, module in model.named_modules():
        # A parametrization stands before the class.
        is_wrapped = torch.nn.utils.parametrize.is_parametrized(module)
        kind = type(module).__bases__[0] if is_wrapped else type(module)
        reason = _why_left(module, kind, table)
        if reason is not None:
            result.left[name] = reason
        elif kind in table:
            target = table[kind]
            module.__class__ = _rewrapped(type(module), target) if is_wrapped else target
            result.changed.append(name)
    return result


def _why_left(module: torch.nn.Module, kind: type, table: dict[Any, Any]) -> str | None:
    """Return why a recurrent module is left alone, as a phrase; None if there is nothing to say.

    ``table`` maps the classes that are changed, torch's or rnnkit's, to the others; ``kind`` is the
    module's class without a parametrization. None is for a module that is changed, one that the
    table does not concern, and one that is rnnkit's already. A phrase is for a subclass of a class
    in the table, and for an option that torch's class lacks: it is in the module's ``__dict__``
    only where it is not the default.
    """
    if kind in table:
        options = [name for name in ("state_batch_first", "axes") if name in module.__dict__]
        return f"torch's class has no {options[0]}" if options and table is TO_TORCH else None
    if table is TO_RNNKIT and isinstance(module, tuple(TO_TORCH)):
        return None  # it is rnnkit's already
    bases = [base.__name__ for base in table if isinstance(module, base)]
    if not bases:
        return None
    home = "torch.nn" if table is TO_RNNKIT else "rnnkit"
    return f"{kind.__name__} is a subclass of {home}.{bases[0]}, whose forward may differ"


def _rewrapped(wrapper: type, target: type[torch.nn.Module]) -> type:
    """Return the class of a parametrized module on top of a different class.

    ``wrapper`` is the class that torch put before the module's own; its properties compute weights.
    """
    own = ("__dict__", "__weakref__")
    attributes = {name: value for name, value in vars(wrapper).items() if name not in own}
    return type(f"Parametrized{target.__name__}", (target,), attributes)
