"""How long a mistake takes to be told: from the call until the message is there."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.report import Table, budget
from benchmarks.subjects import trio
from benchmarks.timing import Effort, compare

LIMIT = 1.0


class Mistake(NamedTuple):
    """A call that cannot be right."""

    name: str
    kind: str
    sizes: tuple[int, ...]
    arguments: tuple[object, ...]


def mistakes() -> list[Mistake]:
    """One of each sort, from the plainest to the one that takes the most thought."""
    ones = torch.ones
    pair: tuple[Tensor, Tensor] = (ones(2, 5, 4), ones(2, 5, 4))
    return [
        Mistake("input of another width", "LSTM", (3, 4, 2), (ones(7, 5, 2),)),
        Mistake("state of another width", "GRU", (3, 4, 2), (ones(7, 5, 3), ones(2, 5, 6))),
        Mistake("state of another batch", "RNN", (3, 4, 2), (ones(7, 5, 3), ones(2, 6, 4))),
        Mistake("batch-first input", "GRU", (3, 4, 2), (ones(2, 5, 3), ones(2, 2, 4))),
        Mistake("a pair for a GRU", "GRU", (3, 4, 2), (ones(7, 5, 3), pair)),
        Mistake("one tensor for an LSTM", "LSTM", (3, 4, 2), (ones(7, 5, 3), ones(2, 5, 4))),
        Mistake("cell state of another batch", "GRUCell", (3, 4), (ones(5, 3), ones(2, 4))),
    ]


def tables(effort: Effort) -> list[Table]:
    """Each mistake, made with the three makes of the module."""
    rows = []
    for mistake in mistakes():
        modules = trio(mistake.kind, *mistake.sizes)
        makes = modules._asdict().items()
        calls = {name: _teller(module, mistake.arguments) for name, module in makes}
        spoken = {name: tell for name, tell in calls.items() if tell() is not None}
        timings = compare(spoken, effort)
        ours = timings["rnnkit"]
        both = "torch" in timings
        shown = {
            name: f"{1e3 * timings[name].seconds:.3f}" if name in timings else "silent"
            for name in calls
        }
        rows.append(
            (
                *(mistake.name, mistake.kind, shown["torch"], shown["rnnkit"]),
                *(str(ours) if both else "", budget(1e3 * ours.seconds, LIMIT, "ms")),
                shown["naive"],
            )
        )
    return [
        Table(
            "Failing calls",
            "Times are milliseconds until the error.",
            ("mistake", "module", "torch", "rnnkit", "rnnkit/torch", "budget", "naive"),
            rows,
        )
    ]


def _teller(module: nn.Module, arguments: tuple[object, ...]) -> Callable[[], str | None]:
    def tell() -> str | None:
        try:
            module(*arguments)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            return str(error)
        return None

    return tell
