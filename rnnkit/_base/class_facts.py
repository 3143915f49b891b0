"""What a class of ours is, as data: one attribute, ``__rnnkit__``, and functions that read it.

Every other name of a class that people derive from ours is theirs, as of torch's classes.
"""

import inspect
import re
import sys
from typing import Any, NamedTuple

import torch
from torch.compiler import is_compiling

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal

#: The names that torch gives to the weights of a cell and, with an ending, of a layer.
WEIGHT_NAME = re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+(_reverse)?)?")

#: The recurrences of an RNN, of which its option chooses one.
RNN_MODES = ("RNN_TANH", "RNN_RELU")

#: What decides, beside the parameters, which weights a module is found to have.
LOOKUPS = {"__getattr__", "__getattribute__"}

#: The methods of torch's layers that look at a call, each of which a subclass may override.
CHECKS = {
    "check_input",
    "check_hidden_size",
    "check_forward_args",
    "get_expected_hidden_size",
    "get_expected_cell_size",
    "permute_hidden",
}

#: Our own ``initial_state``, of layers and of cells: zeros, which a call makes itself.
ZEROS: list[Any] = []


class ClassFacts(NamedTuple):
    """What a class of ours is, and what a user's subclass has of its own in its place."""

    #: torch's class, bound at import: somebody may put ours in its place in ``torch.nn``.
    torch_class: Any
    #: The tensors of the state, in torch's order.
    state_names: tuple[str, ...]
    #: torch's name of the recurrence, which its kernels over a sequence go by; of an RNN it is an
    #: option, and stands here with the default.
    mode: str
    #: Of a layer: the class of one step in one direction. Of a cell: None.
    cell_class: Any = None
    #: Of a cell: torch's function for one step; None where the nonlinearity decides.
    kernel: Any = None
    #: Whether the module has a ``proj_size``, which may be 0.
    is_projected: bool = False
    #: Whether this is a class of a user's, whose weights must be asked for by name: a property may
    #: stand before each.
    is_users: bool = False
    #: Whether a subclass computes or replaces weights, or looks attributes up in its own way.
    own_weights: bool = False
    #: Whether a subclass overrides one of torch's checks, so that torch's forward must run them.
    own_checks: bool = False
    #: Whether a subclass has another first state, which a call without a state must ask for: for a
    #: compiler, too.
    own_start: bool = False

    def of_subclass(self, kind: type, base: type) -> "ClassFacts":
        """Note once what a subclass, and what is beside ours among its bases, has of its own."""
        added = [part for part in kind.__mro__ if part not in base.__mro__]
        names = {name for part in added for name in vars(part)}
        return self._replace(
            is_users=True,
            own_weights=any(map(WEIGHT_NAME.fullmatch, names)) or not names.isdisjoint(LOOKUPS),
            own_checks=not names.isdisjoint(CHECKS),
            own_start="initial_state" in names,
        )


#: Our class for each class of torch's, noted as it is made.
OURS: dict[type, type] = {}


def note_subclass(kind: Any) -> None:
    """Note what a new class has of its own; a class of ours brings its facts along."""
    facts = vars(kind).get("__rnnkit__")
    if facts is not None:
        OURS.setdefault(facts.torch_class, kind)
        return
    # A tool that mirrors our bases one by one derives from them, and from torch's class beside one.
    parts = [part for own in kind.__mro__ for part in (own, OURS.get(own)) if part is not None]
    base: Any = next(filter(_is_ours, parts), None)
    if base is not None:
        kind.__rnnkit__ = base.__rnnkit__.of_subclass(kind, base)


def _is_ours(kind: type) -> bool:
    facts = vars(kind).get("__rnnkit__")
    return facts is not None and not facts.is_users


def mode_of(module: Any) -> str:
    """Return torch's name of the recurrence that a module computes."""
    mode: str = module.__rnnkit__.mode
    if mode != "RNN_TANH":
        return mode
    if isinstance(module, torch.nn.RNNBase):
        mode = module.mode
        if mode not in RNN_MODES:
            # torch's kernel of another recurrence reads beyond the weights of this one.
            sentence = f"mode must be RNN_TANH or RNN_RELU, got {brief(mode)}"
            headline = "the mode of an RNN is its nonlinearity; another recurrence is another class"
            fix = ("fix", "layer.mode = 'RNN_TANH'")
            refusal(ArgumentError, "mode", sentence, headline, fix, code="option-value")
        return mode
    return f"RNN_{module.nonlinearity.upper()}"


def proj_size_of(module: Any) -> int:
    """Return the width of h where it is projected; 0: as wide as the module."""
    return module.proj_size if module.__rnnkit__.is_projected else 0


def has_own_checks(layer: Any) -> bool:
    """Return whether a subclass, or an instance, overrides one of torch's checks."""
    own: bool = layer.__rnnkit__.own_checks
    return own or not (is_compiling() or layer.__dict__.keys().isdisjoint(CHECKS))


def has_own_start(module: Any) -> bool:
    """Say whether somebody has put a first state of their own in the place of our zeros."""
    if is_compiling():
        return module.__rnnkit__.own_start or "initial_state" in module.__dict__
    return type(module).initial_state not in ZEROS or "initial_state" in module.__dict__


def constructor_of(module: Any, argument: str = "input_size") -> str:
    """Return the name of the class that a caller types to make such a module with an argument.

    A tool may have made the module's own class, and a user's class may take other arguments.
    """
    kinds = type(module).__mro__[: 1 if is_compiling() else None]
    return next((kind.__name__ for kind in kinds if _takes(kind, argument)), kinds[0].__name__)


def _takes(kind: Any, argument: str) -> bool:
    home = sys.modules.get(kind.__module__)
    if "." not in kind.__qualname__ and getattr(home, kind.__name__, None) is not kind:
        return False
    parameters = inspect.signature(kind.__init__).parameters
    return argument in parameters or any(
        part.kind is inspect.Parameter.VAR_KEYWORD for part in parameters.values()
    )


def signature_of(forward: Any) -> inspect.Signature:
    """Return the signature of a ``forward`` without what it takes in order to refuse it."""
    signature = inspect.signature(forward)
    gathers = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    kept = [part for part in signature.parameters.values() if part.kind not in gathers]
    kept[1] = kept[1].replace(default=inspect.Parameter.empty)
    return signature.replace(parameters=kept)
