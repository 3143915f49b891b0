"""A batch that the model accepts only in part: which part, and how that is passed."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse
from rnnkit._diagnostics.run.outputs import Given


class Part(NamedTuple):
    """A part of the inputs that the model may accept.

    Attributes:
        typed: what is typed after the model to pass it.
        inputs: that part.
        is_all: whether nothing of the batch is left out.
    """

    typed: str
    inputs: Given
    is_all: bool = False


def refuse_for_part(
    accepts: Callable[[Given], bool],
    given: Given,
    forward: Callable[..., Any],
    caller: str,
    error: Exception,
) -> None:
    """Refuse inputs that the model does not accept, if it accepts a part of them; say which part.

    ``accepts(inputs)`` runs the model, whose ``forward`` is called with the inputs. ``caller`` is
    the public function that was called, and ``error`` what the model raised.
    """
    parts = [*_parts_of(given, forward)]
    if not parts or accepts(given):
        return
    for part in parts:
        if accepts(part.inputs):
            _refuse(given, part, caller, error)


def _parts_of(given: Given, forward: Callable[..., Any]) -> Iterator[Part]:
    """Yield the parts of a batch from the largest on: of a tuple, of a dict, of several inputs."""
    args, kwargs = given
    whole = args[0] if len(args) == 1 else None
    if isinstance(whole, list | tuple):
        yield from _members_of(whole, kwargs)
    elif isinstance(whole, Mapping):
        yield from _entries_of(whole, forward)
    elif _takes(forward, given):
        return
    elif not args:
        yield from _entries_of(kwargs, forward)
    for size in range(len(args) - 1, 0, -1):
        typed = "x" if size == 1 else f"*inputs[:{size}]"
        yield Part(typed, Given(args[:size], kwargs))


def _members_of(batch: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Part]:
    """Yield the parts of a batch that is a tuple: all its members, then fewer from the front."""
    yield Part("*batch", Given((*batch,), kwargs), is_all=True)
    for size in range(len(batch) - 1, 0, -1):
        typed = "batch[0]" if size == 1 else f"*batch[:{size}]"
        yield Part(typed, Given((*batch[:size],), kwargs))


def _entries_of(batch: Mapping[Any, Any], forward: Callable[..., Any]) -> Iterator[Part]:
    """Yield the parts of a batch that is a dict: all by name, those that forward names, and one."""
    named = {name: batch[name] for name in _arguments_of(forward) if name in batch}
    if all(isinstance(name, str) for name in batch):
        yield Part("kwargs=dict(batch)", Given((), dict(batch)), is_all=True)
    if len(named) > 1:
        names = "{name: batch[name] for name in " + f"{[*named]}}}"
        yield Part(f"kwargs={names}", Given((), named))
    for name, value in {**named, **batch}.items():
        if isinstance(value, torch.Tensor):
            yield Part(f"batch[{name!r}]", Given((value,), {}))


def _arguments_of(forward: Callable[..., Any]) -> Sequence[str]:
    """Return the names of a forward's arguments; none if Python does not know them."""
    try:
        return [*inspect.signature(forward).parameters]
    except (TypeError, ValueError):
        return []


def _takes(forward: Callable[..., Any], given: Given) -> bool:
    """Return whether a forward has as many arguments, or whether that is not known."""
    try:
        inspect.signature(forward).bind(*given.args, **given.kwargs)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _refuse(given: Given, part: Part, caller: str, error: Exception) -> NoReturn:
    """Refuse inputs, and say which part of them the model accepts."""
    fix = f"rnnkit.{caller}(model, {part.typed})"
    if not part.is_all:
        fix += ", if the rest is not for the model"
    message = f"the model does not accept {_described(given.args, part)}"
    refuse(ArgumentError, "inputs", message, fix=fix, code="batch-whole", source=error)


def _described(args: Sequence[Any], part: Part) -> str:
    """Name inputs, and the part of them that the model accepts."""
    if not args:
        return "these kwargs, but it accepts some of them"
    if len(args) > 1:
        accepted = len(part.inputs.args)
        first = "the first" if accepted == 1 else f"the first {accepted}"
        return f"{len(args)} inputs, but it accepts {first}"
    [batch] = args
    if isinstance(batch, Mapping):
        return f"{brief(batch)} as one input, but it accepts its entries"
    return f"{brief(batch)} of {len(batch)} as one input, but it accepts its parts"
