"""Data-parallel training of whole graphs: two processes hold the mean of both halves' gradients.

Run as a script, this file is one of the two processes.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import rnnkit
from tests.compiles import compiles
from tests.torch.two_processes import PROCESSES, meet, part, run_both

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without processes"),
    compiles,
]

BATCH, SEQ, INPUT, HIDDEN = 6, 5, 3, 7


class Unrolled(nn.Module):
    """A cell over the steps."""

    def __init__(self) -> None:
        """Make the cell."""
        super().__init__()
        self.cell = rnnkit.GRUCell(INPUT, HIDDEN)

    def forward(self, x: Tensor, **options: Any) -> Any:
        """Run over a sequence."""
        return rnnkit.unroll(self.cell, x, **options)


def recurrent() -> nn.Module:
    """Two layers of cells."""
    return rnnkit.Recurrent(rnnkit.LSTM(INPUT, HIDDEN, 2).cells())


#: The recurrent part of each model, and whether the calls have ``lengths=``.
CORES: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "RNN": (lambda: rnnkit.RNN(INPUT, HIDDEN), False),
    "LSTM": (lambda: rnnkit.LSTM(INPUT, HIDDEN), False),
    "GRU, lengths": (lambda: rnnkit.GRU(INPUT, HIDDEN), True),
    "unroll": (Unrolled, False),
    "Recurrent, lengths": (recurrent, True),
}
#: What stands around a model. A graph that has the wrapper in it is cut where a bucket is full.
Wrapper = Callable[[nn.Module], Any]
WRAPPERS: dict[str, Wrapper] = {
    "eager": DistributedDataParallel,
    "compiled inside": lambda model: DistributedDataParallel(
        torch.compile(model, backend="aot_eager", fullgraph=True)
    ),
    "compiled outside": lambda model: torch.compile(
        DistributedDataParallel(model), backend="aot_eager"
    ),
}


#: Every core is trained as it is, and every core and wrapper in some graph.
ROWS = [
    *((core, "eager") for core in CORES),
    *((core, "compiled inside") for core in ("LSTM", "GRU, lengths", "unroll")),
    *((core, "compiled outside") for core in ("RNN", "LSTM", "Recurrent, lengths")),
]


class Model(nn.Module):
    """A model with something before and after its recurrent part."""

    def __init__(self, core: nn.Module) -> None:
        """Hold the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core
        self.after = nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        """Run the recurrent part between two linear ones."""
        scores: Tensor = self.after(self.core(torch.tanh(self.before(x)), **options)[0])
        return scores


def a_model(core: str) -> Model:
    """The model that every process and the test build alike."""
    torch.manual_seed(0)
    return Model(CORES[core][0]()).double()


def gradients(core: str, model: nn.Module, run: Any, rank: int) -> dict[str, Tensor | None]:
    """Gradients of two training steps on one process's half of the batches, added up."""
    torch.manual_seed(1)
    for _ in range(2):
        x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64).chunk(PROCESSES, 1)[rank]
        lengths = torch.randint(SEQ + 1, (BATCH,)).chunk(PROCESSES)[rank]
        scores = run(x, lengths=lengths) if CORES[core][1] else run(x)
        scores.square().mean().backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def work(rank: int, folder: Path) -> None:
    """Train each model, wrapped in each way, on this process's half."""
    meet(rank, folder)
    torch.distributed._DEFAULT_FIRST_BUCKET_BYTES = 64  # so small that there is such a cut
    results = {}
    with torch._dynamo.config.patch(allow_rnn=True):
        for core, wrapper in ROWS:
            torch._dynamo.reset()
            model = a_model(core)
            results[core, wrapper] = gradients(core, model, WRAPPERS[wrapper](model), rank)
    part(rank, folder, results)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[tuple[str, str], Any]]:
    """What each process came to, for each model and wrapper."""
    return run_both(__file__, tmp_path_factory.mktemp("ddp"), seconds=300)


@pytest.mark.parametrize(("core", "wrapper"), ROWS)
def test_gradients_are_the_mean_of_both_halves(
    core: str, wrapper: str, results: list[dict[tuple[str, str], Any]]
) -> None:
    """Both processes hold the mean of what one process alone gets from each half."""
    halves = []
    for rank in range(PROCESSES):
        model = a_model(core)
        halves.append(gradients(core, model, model, rank))
    expected = {name: (one + halves[1][name]) / 2 for name, one in halves[0].items()}

    for result in results:
        torch.testing.assert_close(result[core, wrapper], expected)


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
