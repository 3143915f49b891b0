"""Compiled models beside the same models run eagerly: seconds to compile, and a training step."""

import resource
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import rnnkit
from benchmarks.report import Table, budget
from benchmarks.timing import Effort, compare, quiet

BATCH = 16
INPUT = 32
HIDDEN = 64


class Parent(nn.Module):
    """A model with something before and after its recurrent part."""

    def __init__(self, core: nn.Module, width: int) -> None:
        """Keep the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core
        self.after = nn.Linear(width, 2)

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        """Run the recurrent part between two linear ones."""
        output, _ = self.core(torch.tanh(self.before(x)), **options)
        scores: Tensor = self.after(output)
        return scores


class NoRecurrence(nn.Linear):
    """Instead of a recurrent part: what a compiled step costs by itself."""

    def forward(self, input: Tensor) -> Any:
        """Return an output, as a layer does, and no state."""
        return super().forward(input), None


def deep() -> rnnkit.Recurrent[Any]:
    """Two layers in two directions, of cells."""
    return rnnkit.Recurrent.of(rnnkit.LSTM(INPUT, HIDDEN, 2, bidirectional=True))


#: What is compiled, over how many steps, with which options of a call; ratio and seconds allowed.
CASES: dict[str, tuple[Callable[[], Any], int, dict[str, Any], float | None, float | None]] = {
    "LSTM": (lambda: rnnkit.LSTM(INPUT, HIDDEN), 100, {}, 1.1, None),
    "GRU": (lambda: rnnkit.GRU(INPUT, HIDDEN), 100, {}, 0.65, None),
    "RNN": (lambda: rnnkit.RNN(INPUT, HIDDEN), 100, {}, None, None),
    "LSTM, lengths": (lambda: rnnkit.LSTM(INPUT, HIDDEN), 100, {"lengths": True}, None, None),
    "LSTM, reset": (lambda: rnnkit.LSTM(INPUT, HIDDEN), 100, {"reset": True}, None, None),
    "GRU, reset": (lambda: rnnkit.GRU(INPUT, HIDDEN), 100, {"reset": True}, None, None),
    "Recurrent, 2 layers, 2 directions": (deep, 500, {}, None, 5.0),
    "none (a linear layer instead)": (lambda: NoRecurrence(INPUT, HIDDEN), 100, {}, None, None),
}


def tables(effort: Effort) -> list[Table]:
    """Each case under torch's default backend."""
    rows = [_row(name, effort) for name in list(CASES)[: effort.sizes]]
    table = Table(
        "Compiled models",
        f"Batch {BATCH}, input {INPUT}, hidden {HIDDEN}; one reset in ten steps.",
        ("recurrent part", "steps", "seconds", "budget", "compiled/eager", "budget for the ratio"),
        rows,
    )
    return [table]


def cpu_seconds() -> float:
    """Seconds of this process and of the C++ compilers that it has started."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _row(name: str, effort: Effort) -> tuple[str, ...]:
    make, steps, options, limit, seconds = CASES[name]
    torch.manual_seed(0)
    core = make()
    width = HIDDEN * (2 if isinstance(core, rnnkit.Recurrent) else 1)
    model = Parent(core, width)
    x = torch.randn(steps, BATCH, INPUT)
    given: dict[str, Any] = {}
    if "lengths" in options:
        given["lengths"] = torch.randint(1, steps + 1, (BATCH,))
    if "reset" in options:
        given["reset"] = torch.rand(steps, BATCH) < 0.1

    def step(run: Any) -> None:
        model.zero_grad(set_to_none=True)
        run(x, **given).square().sum().backward()

    torch._dynamo.reset()  # noqa: SLF001 - it has no public name
    allowed = torch._dynamo.config.patch(allow_rnn=True)  # noqa: SLF001
    # In this process, whose children the clock knows, and on one thread: others, which wait in a
    # loop, it would count too.
    one = torch._inductor.config.patch(compile_threads=1)  # noqa: SLF001
    fresh: Any = torch._inductor.utils.fresh_cache  # noqa: SLF001
    with quiet(), allowed, one, fresh():
        # What inductor compiles once for all: its header.
        torch.compile(torch.sin)(x)
        compiled = torch.compile(model, fullgraph=True)
        start = cpu_seconds()
        step(compiled)
        took = cpu_seconds() - start
        timing = compare({"eager": lambda: step(model), "compiled": lambda: step(compiled)}, effort)
    ours = timing["compiled"]
    return (
        name,
        str(steps),
        f"{took:.1f}",
        "" if seconds is None else budget(took, seconds, "s"),
        str(ours),
        "" if limit is None else budget(ours.ratio, limit, spread=ours.spread),
    )
