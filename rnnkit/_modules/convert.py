"""``convert`` and ``revert``: torch's recurrent modules in a model become rnnkit's, and back."""

from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch

from rnnkit._base.message import count
from rnnkit._base.model import check_model
from rnnkit._checks.objects import refuse_call_of_result
from rnnkit._modules.cells import GRUCell, LSTMCell, RNNCell
from rnnkit._modules.layers import GRU, LSTM, RNN

OURS: dict[type[torch.nn.Module], type[torch.nn.Module]] = {
    kind.__rnnkit__.torch_class: kind for kind in (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell)
}

TORCHS = {ours: theirs for theirs, ours in OURS.items()}
ROOT = "(the model itself)"

#: Options that torch's classes do not have.
OPTIONS = ("state_batch_first", "axes")


@dataclass
class Converted:
    """What ``convert`` or ``revert`` did, by qualified names.

    Attributes:
        changed: the modules whose class was changed.
        left: recurrent modules left alone, with the reason.
        model: the model, which is changed in place.
    """

    __module__ = "rnnkit"

    changed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    model: Any = field(default=None, compare=False)
    _caller: str = field(default="convert", compare=False)

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the model that was given is the one to call.

        Raises:
            ArgumentError: always.
        """
        refuse_call_of_result(self._caller)

    def __str__(self) -> str:
        """Write a line for each module."""
        lines = [f"  changed  {_shown(name)}" for name in self.changed]
        lines += [f"  left     {_shown(name)}: {why}" for name, why in self.left.items()]
        changed = count(len(self.changed), "module", "modules")
        return "\n".join([f"{changed} changed, {len(self.left)} left", *lines])

    __repr__ = __str__


def _shown(name: str) -> str:
    """Quote a name that reads as a number, as those of the modules of a Sequential do."""
    return repr(name) if name[:1].isdigit() else name or ROOT


def convert(model: torch.nn.Module) -> Converted:
    """Change every recurrent module and cell of a model from torch's class to rnnkit's, in place.

    Nothing but the class of the modules changes: parameters, hooks, parametrizations, names, modes
    and sharing stay. Other people's subclasses of them are left alone, and named in the result.

    Raises:
        ArgumentError: if ``model`` is not a module.

    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LSTM(4, 5))
    >>> rnnkit.convert(model)
    1 module changed, 0 left
      changed  '1'
    >>> isinstance(model[1], rnnkit.LSTM)
    True
    """
    return _change("convert", model, OURS)


def revert(model: torch.nn.Module) -> Converted:
    """Change every recurrent module of a model back from rnnkit's class to torch's, in place.

    For tools that compare classes exactly, as ``torch.ao.quantization`` does. A module with an
    option that torch does not have (``state_batch_first``, ``axes``) is left alone, and named in
    the result.
    """
    return _change("revert", model, TORCHS)


convert.__module__ = "rnnkit"
revert.__module__ = "rnnkit"


def _change(
    caller: str,
    model: torch.nn.Module,
    table: dict[type[torch.nn.Module], type[torch.nn.Module]],
) -> Converted:
    check_model(caller, model)
    result = Converted(model=model, _caller=caller)
    home = "torch.nn" if table is OURS else "rnnkit"
    for name, module in model.named_modules():
        kind, wrapped = _exact(module)
        if kind in table:
            own = [option for option in OPTIONS if option in module.__dict__]
            if table is TORCHS and own:
                result.left[name] = f"torch's class has no {own[0]}"
                continue
            target = table[kind]
            module.__class__ = _rewrapped(type(module), target) if wrapped else target
            result.changed.append(name)
        elif isinstance(module, tuple(table)) and not (
            table is OURS and isinstance(module, tuple(TORCHS))
        ):
            base = next(base.__name__ for base in table if isinstance(module, base))
            why = f"{kind.__name__} is a subclass of {home}.{base}, whose forward may differ"
            result.left[name] = why
    return result


def _exact(module: torch.nn.Module) -> tuple[type[torch.nn.Module], bool]:
    """Return a module's class, and whether a parametrization stands before it."""
    kind = type(module)
    if torch.nn.utils.parametrize.is_parametrized(module):
        return kind.__bases__[0], True
    return kind, False


def _rewrapped(wrapper: type, target: type[torch.nn.Module]) -> type:
    attributes = {
        name: value
        for name, value in vars(wrapper).items()
        if name not in ("__dict__", "__weakref__", "__doc__", "__module__")
    }
    attributes["__module__"] = wrapper.__module__
    return type(f"Parametrized{target.__name__}", (target,), attributes)
