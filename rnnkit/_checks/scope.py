"""The caller's jaxtyping scope: whether a module's sizes fit the names that its caller has bound.

An ``isinstance`` against a jaxtyping annotation, made below a ``@jaxtyped`` function, looks names
up in that function's scope and binds new ones; jaxtyping keeps a scope for each thread.
"""

import weakref
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import jaxtyping
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.callers import user_frame
from rnnkit._base.errors import ArgumentError, LayoutError, ShapeError
from rnnkit._base.message import bounded, refuse, warn
from rnnkit._checks.call_spec import described

#: Names of axes: of ours, keys; of the caller's, values.
Axes = Mapping[Literal["seq", "batch", "feature", "hidden"], str]
LAYER_AXES = ("seq", "batch", "feature", "hidden")
CELL_AXES = ("batch",)

#: Modules that had a scope, or their warning: checkpointing calls one in its scope, then outside.
SEEN: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()


def checked_axes(name: str, axes: Any, known: tuple[str, ...]) -> dict[str, str]:
    """Return the ``axes`` of a constructor, which map our names to the caller's; refuse any other.

    ``name`` is the class for the message, and ``known`` are the axes that it has.
    """
    is_map = isinstance(axes, Mapping)
    if is_map and {*axes} <= {*known} and all(map(_can_name_an_axis, axes.values())):
        return dict(axes)
    came = bounded(repr(axes), 80)
    sentence = f"{name}: axes must map {', '.join(known)} to names of the caller's axes, got {came}"
    fix = f"axes={{{known[0]!r}: {known[0]!r}}}, where the value is from the caller's annotation"
    if is_map and all(_can_name_an_axis(key) and ours in known for key, ours in axes.items()):
        turned = {ours: theirs for theirs, ours in axes.items()}
        fix = f"axes={turned}, with the layer's name first and the caller's name second"
    return refuse(ArgumentError, "axes", sentence, fix=fix, code="axes-names")


def _can_name_an_axis(name: Any) -> bool:
    """Return whether jaxtyping can read a value as the name of an axis."""
    return isinstance(name, str) and name.isidentifier()


def check_scope(module: torch.nn.Module, axes: Mapping[str, str], sizes: Mapping[str, int]) -> None:
    """Check that the sizes that a module reads, by our names, fit what the caller has bound.

    ``axes`` maps our names to those of the caller's jaxtyping annotations. Once for each module it
    warns if no ``@jaxtyped`` function is around it, or if that has not bound seq and batch.
    """
    if is_compiling():
        return
    named = {axis: size for axis, size in sizes.items() if axis in axes}
    bound = _bindings()
    probe = torch.empty(tuple(named.values()), device="meta")
    # One axis alone starts with a space, which tells jaxtyping's names from forward references.
    shape: Any = Shaped[Tensor, " " + " ".join(axes[axis] for axis in named)]
    if not isinstance(probe, shape):
        _refuse_binding(described(module), axes, named)
    if module in SEEN or not named or jaxtyping.config.jaxtyping_disable:
        return
    SEEN.add(module)
    # The annotation of the input binds seq and batch; the others are often only the module's.
    missed = [axes[axis] for axis in ("seq", "batch") if axis in named and axes[axis] not in bound]
    if not _bindings():  # the names, once read, are bound in a scope, and nowhere outside of one
        _warn_of_no_scope(module, axes, sizes)
    elif bound and missed:
        _warn_of_unbound(module, missed, bound)


def _warn_of_no_scope(
    module: torch.nn.Module, axes: Mapping[str, str], sizes: Mapping[str, int]
) -> None:
    """Warn that no @jaxtyped function calls the module, and write how one would.

    ``axes`` maps our names to the caller's; ``sizes`` are what the module reads, by our names.
    """
    order = ["seq", "batch"]
    if getattr(module, "batch_first", False):
        order = ["batch", "seq"]
    read = [axis for axis in order if axis in sizes]
    names = " ".join(axes.get(axis, "_") for axis in (*read, "feature"))
    text = (
        "axes= checks nothing, because no @jaxtyped function calls this module. Decorate the "
        "function that calls it with @jaxtyping.jaxtyped(typechecker=beartype.beartype), and "
        f'annotate its input as x: jaxtyping.Float[torch.Tensor, "{names}"]'
    )
    warn("scope-missing", f"{described(module)}: {text}", stacklevel=4)


def _warn_of_unbound(module: torch.nn.Module, unbound: list[str], bound: Mapping[str, int]) -> None:
    """Warn of names that the caller's jaxtyping scope does not have; it has ``bound`` others."""
    absent = " and no ".join(unbound)
    warn(
        "scope-unbound",
        f"{described(module)}: the caller's annotations have no {absent}, which axes= names, "
        f"so it is not checked; {_caller()} has {', '.join(bound)}",
        stacklevel=4,
    )


def _refuse_binding(module: str, axes: Mapping[str, str], read: Mapping[str, int]) -> NoReturn:
    """Refuse sizes that differ from those that the caller's scope has bound to the same names.

    ``module`` is written in the message; ``axes`` maps our names to the caller's, and ``read`` has
    the sizes by our names. A LayoutError if seq and batch have each other's sizes.
    """
    bound = _bindings()
    known = dict(bound)
    # A name that the caller has not bound is bound by the first of the axes that have it.
    first = next(axis for axis, size in read.items() if known.setdefault(axes[axis], size) != size)
    wants = known[axes[first]]
    found = f"in the caller's annotations, but {read[first]} in input"
    if axes[first] not in bound:
        other = next(axis for axis in read if axes[axis] == axes[first])
        found = f"as {other}, but {read[first]} as {first}"
    what = "a layer" if first == "hidden" else "an input"
    error = ShapeError
    code = "scope-size"
    fix = f"use {what} with {axes[first]}={wants}, or a name in axes= that the caller does not use"
    turned = [bound.get(axes.get(axis, "")) for axis in ("batch", "seq")]
    if None not in turned and turned == [read.get("seq"), read.get("batch")]:
        error = LayoutError
        code = "scope-layout"
        fix = "give the layer the other batch_first, or input.transpose(0, 1)"
    refuse(
        error,
        "input",
        f"{axes[first]} is {wants} {found}",
        module,
        ("module", ", ".join(f"{axes[axis]}={size} ({axis})" for axis, size in read.items())),
        ("caller", f"{', '.join(f'{k}={v}' for k, v in bound.items())}, in {_caller()}"),
        fix=fix,
        code=code,
        expected=(wants,),
        actual=(read[first],),
    )


def _bindings() -> dict[str, int]:
    """Return the sizes that this thread's innermost scope has bound, by name."""
    # jaxtyping prints them, to the standard output of all threads, and has no other public way.
    try:
        from jaxtyping._storage import get_shape_memo  # noqa: PLC0415
    except ImportError:
        return {}  # the message then lacks the sizes that are bound

    bound: Mapping[str, Any] = get_shape_memo()[0]  # type: ignore[no-untyped-call]
    return {name: size for name, size in bound.items() if name.isidentifier()}


def _caller() -> str:
    return user_frame().f_code.co_qualname
