"""Refusals of cells: more of them than one list, and what one does to its state in a step."""

from typing import Any, NoReturn

from torch import Tensor

from rnnkit._base.errors import ArgumentError, CellError
from rnnkit._base.message import call, refusal
from rnnkit._base.state import PAIR
from rnnkit._checks.cell_guards import is_of_layer, tensors_in
from rnnkit._checks.objects import cells_of


def refuse_second_cell(args: tuple[Any, ...]) -> NoReturn:
    """Refuse what follows the first cells by position: more layers, or the other direction."""
    cells_of(args[0], "cells")
    names = ", ".join(chr(ord("a") + place) for place in range(len(args)))
    rows = [("fix", f"rnnkit.Recurrent([{names}]), if each reads the output of the one before")]
    if isinstance(args[1], bool | int | float):
        rows = [("fix", "rnnkit.Recurrent(a, ...), the options by name")]
    elif len(args) == PAIR:
        rows.append(("or", "rnnkit.Recurrent(a, reverse_cells=b), if b runs from the end"))
    sentence = f"Recurrent takes its cells in one list, got {len(args)} arguments by position"
    headline = call("Recurrent", args, {})
    refusal(ArgumentError, "cells", sentence, headline, *rows, code="recurrent-positions")


def refuse_of_layer(cell: Any, hx: Any, new: Any, batch: Any, step: int) -> NoReturn:
    """Refuse a cell whose state is a layer's: its output would have one axis too many."""
    shape = tuple((new if isinstance(new, Tensor) else new[0]).shape)
    fix = f"return a state with the batch on axis 0: {shape[1:]}"
    if is_of_layer(hx, batch):
        sizes = ", ".join(map(str, ("batch_size", *shape[2:])))
        fix = f"let initial_state return a state of ({sizes})"
    came = f"returned an output of {shape} at step {step}, for {batch} samples"
    sentence = f"{type(cell).__name__} {came}"
    headline = "a cell's state has the batch on axis 0, a layer's on axis 1"
    refusal(CellError, "cell", sentence, headline, ("fix", fix), code="cell-batch", facts=(step,))


def refuse_written(cell: Any, hx: Any, new: Any, step: int) -> None:
    """Refuse a cell that writes its state in place; return if it may have written beside it."""
    for old, now in zip(tensors_in(hx), tensors_in(new), strict=False):
        # Two places of one buffer, whose parts torch counts as one.
        if old._base is not None and old._base is now._base and old.data_ptr() != now.data_ptr():  # noqa: SLF001
            return
    cloned = "hx.clone()" if isinstance(hx, Tensor) else "tuple(part.clone() for part in hx)"
    fix = f"hx = {cloned}, at the start of the step; or hx + x instead of hx.add_(x)"
    if isinstance(hx, tuple) and not all(isinstance(part, Tensor) for part in hx):
        fix = "clone what is written, as in h = h.clone(), or return new tensors"
    sentence = f"{type(cell).__name__} writes into its state at step {step}"
    headline = "the same tensor is an earlier output, or the caller's own: that changes with it"
    code = "cell-writes-state"
    refusal(CellError, "cell", sentence, headline, ("fix", fix), code=code, facts=(step,))
