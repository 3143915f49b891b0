"""Tensors in what a model returned that are not looked at: one look finds where they hide."""

import gc
from collections.abc import Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import brief
from rnnkit._diagnostics.run.outputs import parts

#: How many objects are looked into.
MOST = 1000
#: What leads away from an output, to the program.
APART = (ModuleType, FrameType, torch.nn.Module)
#: Where the classes come from that hold no tensor of a user's.
KNOWN = ("builtins", "torch", "numpy", "collections", "abc", "typing", "enum")


def unseen_in(returned: Any) -> str:
    """Name what holds tensors, or numbers, that a comparison of outputs does not see; "" if none.

    It sees what lists, tuples, mappings and attributes hold. A tensor may also be in a slot, a set,
    a generator, a closure, or an attribute of another tensor.
    """
    for part in _leaves_of(returned):
        if type(part).__module__ == "numpy" and getattr(part, "dtype", None) is not None:
            if part.dtype.kind in "OV":  # objects, or records
                return f"an array of dtype {part.dtype}"
        elif isinstance(part, Tensor):
            if _holds_a_tensor(vars(part)):
                return "the attributes of a tensor"
        elif _holds_a_tensor(part):
            return brief(part)
    return ""


def _leaves_of(tree: Any) -> Iterator[Any]:
    """Yield what is not taken apart when outputs are compared."""
    members = [] if isinstance(tree, Tensor | PackedSequence) else parts(tree)
    for _, part in members:
        yield from _leaves_of(part)
    if not members:
        yield tree


def _holds_a_tensor(holder: Any) -> bool:
    """Return whether an object holds a tensor, itself or in what it holds."""
    waiting = [holder]
    seen = {id(holder)}
    while waiting and len(seen) < MOST:
        one = waiting.pop()
        if isinstance(one, Tensor):
            return True
        for part in _held_by(one):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
    return False


def _held_by(holder: Any) -> list[Any]:
    """Return what an object refers to, without what leads to the rest of the program."""
    if isinstance(holder, FunctionType):
        return [*(holder.__closure__ or ())]
    if isinstance(holder, APART):
        return []
    if isinstance(holder, type) and holder.__module__.partition(".")[0] in KNOWN:
        return []
    return gc.get_referents(holder)
