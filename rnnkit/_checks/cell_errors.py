"""Refusals of cells: more of them than one list, and what one does to its state in a step."""

from collections.abc import Iterable
from typing import Any, NoReturn

import torch

from rnnkit._base.errors import ArgumentError
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
