"""What a class of ours is, as data: one attribute, ``__rnnkit__``, and functions that read it.

Every other name on a user's subclass belongs to the user.
"""

import inspect
import re
from typing import Any, NamedTuple

#: torch's names of a cell's or a layer's weights, and the methods that decide what they are.
WEIGHT_NAMES = re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+(_reverse)?)?|__getattr(ibute)?__")

#: The methods of torch's layers that check a call; a subclass may override each.
ORIGINAL_CHECK_METHODS = {
    "check_input",
    "check_hidden_size",
    "check_forward_args",
    "get_expected_hidden_size",
    "get_expected_cell_size",
    "permute_hidden",
}

#: The ``initial_state`` of our layers, cells and ``Recurrent``: zeros, which a call makes itself.
DEFAULT_INITIAL_STATES: list[Any] = []


class ClassFacts(NamedTuple):
    """What a class of ours is, and what a user's subclass overrides."""

    #: torch's class, bound at import: a program may set ``torch.nn.LSTM`` to ours.
    torch_class: Any
    #: What it computes, as a record; an RNN's option may choose another. None: nothing by itself.
    recurrence: Any = None
    #: The tensors of the state, in torch's order.
    state_names: tuple[str, ...] = ("hx",)
    #: A layer's class of one step in one direction.
    cell_class: Any = None
    #: Whether the module has a ``proj_size``, which may be 0.
    is_projected: bool = False
    #: Whether this is a user's class, whose weights are read by name: each may be a property.
    is_user_subclass: bool = False
    #: Whether a subclass computes or replaces weights, or overrides how attributes are found.
    overrides_weights: bool = False
    #: Whether a subclass overrides one of torch's checks, so that torch's forward must run them.
    overrides_checks: bool = False


#: rnnkit's class by torch's, noted as it is made.
RNNKITS_CLASS: dict[type, type] = {}


def note_subclass(kind: Any) -> None:
    """Note the facts about a class that has just been defined, in its ``__rnnkit__``.

    Facts are a record: torch's class, the names of the state's tensors, what the module computes,
    and which of that a user's class overrides. A class of rnnkit's brings them along, and is noted
    as the counterpart of torch's class. A user's subclass gets those of rnnkit's class that it
    derives from, with what its own classes and mixins override: weights, or torch's checks. A class
    that derives from none of ours gets nothing.
    """
    facts = vars(kind).get("__rnnkit__")
    if facts is not None:
        RNNKITS_CLASS.setdefault(facts.torch_class, kind)
        kind.__module__ = "rnnkit"
        return
    base = _base_of_ours(kind)
    if base is None:
        return
    added = [part for part in kind.__mro__ if part not in base.__mro__]
    names = {name for part in added for name in vars(part)}
    kind.__rnnkit__ = vars(base)["__rnnkit__"]._replace(
        is_user_subclass=True,
        overrides_weights=any(map(WEIGHT_NAMES.fullmatch, names)),
        overrides_checks=bool(names & ORIGINAL_CHECK_METHODS),
    )


def _base_of_ours(kind: Any) -> Any:
    """Return rnnkit's class whose facts a user's subclass gets: the nearest of its bases.

    Facts are the record ``__rnnkit__``. A base that is a user's class is passed over, since its
    record says what that class overrides. A tool that makes a class of our bases, one by one, puts
    torch's class in place of ours: then it is ours for torch's class. None if there is none.
    """
    for part in kind.__mro__:
        for base in (part, RNNKITS_CLASS.get(part, part)):
            facts = vars(base).get("__rnnkit__")
            if facts is not None and not facts.is_user_subclass:
                return base
    return None


def proj_size_of(module: Any) -> int:
    """Return the width of an LSTM's h if it is projected; 0 if h has ``hidden_size`` features."""
    return module.proj_size if module.__rnnkit__.is_projected else 0


def state_rows(layer: Any) -> int:
    """Return how many states a layer has, one for each direction of each of its layers."""
    return layer.num_layers * 2 if layer.bidirectional else layer.num_layers  # type: ignore[no-any-return]


def overrides_initial_state(module: Any) -> bool:
    """Return whether a subclass, or an instance, overrides our ``initial_state``."""
    kind: Any = type(module)  # each time, since a program may set it on the class later
    return kind.initial_state not in DEFAULT_INITIAL_STATES or "initial_state" in module.__dict__


def constructor_of(module: Any) -> str:
    """Return the name of the class whose constructor takes a recurrent module's options."""
    # A user's class, or one that a tool has made, may take other arguments.
    kinds = type(module).__mro__
    return next((kind.__name__ for kind in kinds if kind in RNNKITS_CLASS), kinds[0].__name__)


def finish(kind: Any) -> None:
    """Finish a base class of rnnkit's, such as that of all layers, after its definition.

    Its ``initial_state`` is noted as the default, so that an override is known by its difference.
    ``inspect.signature`` of its ``forward`` shows no ``*surplus`` and no ``**unknown``, and the
    input as required.
    """
    DEFAULT_INITIAL_STATES.append(kind.initial_state)
    forward = kind.forward
    signature = inspect.signature(forward)
    # Without what it takes in order to refuse it.
    kept = [part for part in signature.parameters.values() if "VAR" not in part.kind.name]
    kept[1] = kept[1].replace(default=inspect.Parameter.empty)
    forward.__signature__ = signature.replace(parameters=kept)
