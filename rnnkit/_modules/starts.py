"""The first state of a call without one, where a subclass has its own in place of zeros."""

import warnings
from typing import Any

from rnnkit._base.class_facts import has_own_start


def lacks_state(module: Any, hx: Any) -> bool:
    """Say whether a call must ask the module for its first state, or for a part of it.

    Zeros, which the call makes as torch does, are not asked for.
    """
    if not has_own_start(module):
        return False
    return hx is None or (isinstance(hx, (tuple, list)) and any(part is None for part in hx))


def started(module: Any, hx: Any, *batch: int) -> Any:
    """Ask a module for its first state, and put it where the caller gave none.

    Args:
        module: a layer or a cell.
        hx: what the caller gave: nothing, or a pair with a None in it.
        batch: the number of samples; nothing for an unbatched call.
    """
    first = module.initial_state(batch[0] if batch else None)
    if hx is None:
        return first
    return tuple(one if part is None else part for part, one in zip(hx, first, strict=True))


def warn_of_scripting(module: Any) -> None:
    """Warn that TorchScript's module of torch's class does not ask for a first state.

    It is no refusal: a program that gives each call a state is right there, too.
    """
    if has_own_start(module):
        name = type(module).__name__
        warnings.warn(
            f"TorchScript does not ask {name}.initial_state: without a state it begins from zeros. "
            f"In what you script, give each call of this {name} its state.",
            UserWarning,
            stacklevel=3,
        )
