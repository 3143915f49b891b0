"""Refusals of cells: more of them than one list, and what one does to its state in a step."""

from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, CellError
from rnnkit._base.message import call, refusal
from rnnkit._base.state import PAIR
from rnnkit._checks.objects import cells_of


def refuse_second_cell(args: tuple[Any, ...]) -> NoReturn:
    """Refuse what follows the first cells by position: more layers, or the other direction?"""
    cells_of(args[0], "cells")
    rows = []
    one, other = args[:2]
    alike, reads = (getattr(cell, "input_size", None) for cell in (one, other))
    width = getattr(one, "proj_size", 0) or getattr(one, "hidden_size", None)
    same, chained = (reads is None or size in (None, reads) for size in (alike, width))
    cells = [isinstance(one, torch.nn.Module) and not hasattr(one, "__len__") for one in args]
    if all(cells) and (chained or not same):
        names = ", ".join(chr(ord("a") + place) for place in range(len(args)))
        fix = f"rnnkit.Recurrent([{names}]), if each reads the output of the one before"
        rows = [("fix", fix)]
    if same and len(args) == PAIR and isinstance(other, Iterable | torch.nn.Module):
        back = "rnnkit.Recurrent(a, reverse_cells=b), if b runs from the end"
        rows.append(("or" if rows else "fix", back))
    rows = rows or [("fix", "rnnkit.Recurrent(a, ...), the options by name")]
    sentence = f"Recurrent takes its cells in one list, got {len(args)} arguments by position"
    headline = call("Recurrent", args, {})
    refusal(ArgumentError, "cells", sentence, headline, *rows, code="recurrent-positions")


def is_of_layer(state: Any, batch: Any) -> bool:
    """Return whether a state has the batch on axis 1, as a layer's state has, and not on axis 0."""
    first = state[0] if isinstance(state, tuple) and state else state
    return (
        isinstance(first, Tensor)
        and first.dim() > PAIR
        and first.shape[0] != batch == first.shape[1]
    )


def refuse_of_layer(cell: Any, hx: Any, new: Any, batch: Any, step: int) -> NoReturn:
    """Refuse a cell whose state is a layer's: its output would have one axis too many."""
    name = type(cell).__name__
    shape = tuple((new if isinstance(new, Tensor) else new[0]).shape)
    fix = f"return a state with the batch on axis 0: {shape[1:]}"
    if is_of_layer(hx, batch):
        fix = f"let initial_state return {_zeros_of_cell(hx)}"
    sentence = f"{name} returned an output of {shape} at step {step}, for {batch} samples"
    headline = "a cell's state has the batch on axis 0, a layer's on axis 1"
    refusal(CellError, "cell", sentence, headline, ("fix", fix), code="cell-batch", facts=(step,))


def _zeros_of_cell(state: Any) -> str:
    if isinstance(state, tuple):
        return f"({', '.join(map(_zeros_of_cell, state))}{',' * (len(state) == 1)})"
    return f"torch.zeros(batch_size, {', '.join(map(str, state.shape[2:]))})"


def _tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    parts = state if isinstance(state, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def versions(state: Any) -> list[int]:
    """Return how often each tensor of a state was written; torch does not count in inference."""
    return [0 if t.is_inference() else t._version for t in _tensors(state)]  # noqa: SLF001


def refuse_written(cell: Any, hx: Any, new: Any, step: int) -> None:
    """Refuse a cell that writes its state in place; return if it may have written beside it."""
    for old, now in zip(_tensors(hx), _tensors(new), strict=False):
        # Two places of one buffer, whose parts torch counts as one.
        if old._base is not None and old._base is now._base and old.data_ptr() != now.data_ptr():  # noqa: SLF001
            return
    fix = "clone what is written, as in h = h.clone(), or return new tensors"
    if isinstance(hx, Tensor):
        fix = "hx = hx.clone(), at the start of the step; or hx + x in place of hx.add_(x)"
    elif all(isinstance(part, Tensor) for part in hx):
        fix = "hx = tuple(part.clone() for part in hx), at the start of the step"
    sentence = f"{type(cell).__name__} writes into its state at step {step}"
    headline = "the same tensor is an earlier output, or the caller's own: that changes with it"
    code = "cell-writes-state"
    refusal(CellError, "cell", sentence, headline, ("fix", fix), code=code, facts=(step,))
