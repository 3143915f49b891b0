"""How an object of any class is copied: as Python's deepcopy does it, but wholly or not at all."""

import copy
import copyreg
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

if TYPE_CHECKING:
    from rnnkit._diagnostics.run.copier import Copier
    from rnnkit._diagnostics.run.uncopied import Place


def copied_by_its_class(copier: "Copier", x: Any, place: "Place | None") -> Any:
    """Copy an object in the way of its class: by ``__deepcopy__`` or ``__reduce_ex__``.

    The result is None if that is not safe, and ``x`` itself if its class says so. ``copier`` copies
    what the object holds, and ``place`` says where the model holds it. A copy never runs
    ``__del__``, which may close what belongs to the user's object.
    """
    kind = type(x)
    has_end = hasattr(kind, "__del__")
    if hasattr(kind, "__deepcopy__"):
        return None if has_end else copy.deepcopy(x, copier.memo)
    reduced = x.__reduce_ex__(4)
    if isinstance(reduced, str):
        return x
    copier.alive.append(reduced)
    make, args, *rest = reduced
    python: Any = copyreg
    is_plain = make is python.__newobj__
    if has_end and not is_plain:
        return None
    args = copier.copy_fully(args, place)
    twin = make(without_del(args[0], copier.quiet), *args[1:]) if is_plain else make(*args)
    if twin is x:
        return x
    copier.memo[id(x)] = twin
    new: Any = kind.__new__
    if is_plain and new is object.__new__:
        with suppress(TypeError):  # as with slots
            copier.made.append(ReferenceType(twin))
    _restore(copier, twin, place, *rest)
    return twin


def _restore(
    copier: "Copier",
    twin: Any,
    place: "Place | None",
    state: Any = None,
    items: Iterable[Any] | None = None,
    pairs: Iterable[tuple[Any, Any]] | None = None,
) -> None:
    """Give a new object (``twin``) what ``__reduce_ex__`` named of the original, as copies.

    Those are its state, by ``__setstate__`` or into its attributes and slots; the
    items of a list; and the pairs of a mapping.
    """
    unfilled_count = copier.unfilled_count
    if state is not None and hasattr(twin, "__setstate__"):
        twin.__setstate__(copier.copy_fully(state, place))
    elif state is not None:
        held, slots = state if isinstance(state, tuple) else (state, None)
        copier.fill_later(partial(object.__setattr__, twin), [*(slots or {}).items()], place, ".")
        if held:
            copier.fill_later(vars(twin).__setitem__, [*held.items()], place, ".")
    if items is not None or pairs is not None:
        copier.finish(
            unfilled_count
        )  # a class of a user's may read its state when it takes an item
    for item in items or ():
        twin.append(copier.copy_fully(item, place))
    for key, value in pairs or ():
        twin[copier.copy_fully(key, place)] = copier.copy_fully(value, (place, key, "["))


class _Quiet:
    """The first base of the class of a copy, if that class has a ``__del__``.

    This one does nothing.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        """Leave a class of a user's to register its own subclasses only."""

    def __del__(self) -> None:
        """Do nothing."""


def without_del(kind: type, quiet: dict[type, type]) -> type:
    """Return a subclass of the same name whose objects do nothing when they are deleted.

    ``quiet`` has those that were made already, by class. A class without ``__del__`` is returned
    itself.
    """
    if not hasattr(kind, "__del__") or issubclass(kind, _Quiet):
        return kind
    if kind not in quiet:
        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        make: Any = type(kind)
        quiet[kind] = make(kind.__name__, (_Quiet, kind), {"__slots__": (), **names})
    return quiet[kind]


def empty_objects(made: Iterable[ReferenceType[Any]]) -> None:
    """Empty modules and objects that are still alive, such as those in a cycle."""
    for reference in made:
        one = reference()
        if one is not None and hasattr(one, "__dict__"):
            vars(one).clear()
