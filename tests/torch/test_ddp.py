"""Data-parallel training: two processes hold the mean of the gradients of both their batches."""

import multiprocessing
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree as pytree

from tests.compiles import compiles
from tests.torch.models import call_of, model_of, rows_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available(), reason="torch without processes"),
    compiles,
]

RANKS = range(2)
#: One server imports torch and its compiler, and both processes begin as copies of it, where it can.
HAS_SERVER = "forkserver" in multiprocessing.get_all_start_methods()
START = "forkserver" if HAS_SERVER else "spawn"


def with_unused(model: nn.Module) -> nn.Module:
    """Wrap a model with a part that no step reaches, for which the wrapper reads what is returned."""
    model.unused = nn.Linear(1, 1)
    return DistributedDataParallel(model, find_unused_parameters=True)


#: What stands around a model. A graph that has the wrapper in it is cut where a bucket is full.
WRAPPERS = {
    "none": lambda model: model,
    "eager": with_unused,
    "compiled inside": lambda model: DistributedDataParallel(
        torch.compile(model, backend="aot_eager", fullgraph=True)
    ),
    "compiled outside": lambda model: torch.compile(
        DistributedDataParallel(model), backend="aot_eager"
    ),
}
#: Every core, class and call is trained as it is, and some in a graph.
ROWS = [
    *(("eager", *row) for row in rows_of(1)),
    ("compiled inside", "layer", "LSTM", "lengths"),
    ("compiled outside", "layer", "GRU", "state"),
]


def trained(rank: int, wrapper: str, core: str, name: str, call: str) -> tuple[Any, dict[str, Any]]:
    """Take two steps on a process's own batch, the second from the state of the first.

    Returns what the second returned, and the gradients of both, added up.
    """
    torch.manual_seed(0)
    model = model_of(core, name, call)
    torch.manual_seed(rank)
    (x, hx), options = call_of(model, core, call, 5, 6)
    run = WRAPPERS[wrapper](model)
    for _ in range(2):
        result = run(x, hx, **options)
        sum(leaf.square().mean() for leaf in pytree.tree_leaves(result)).backward()
        result = pytree.tree_map(torch.Tensor.detach, result)
        hx = result if core == "step" else result[1]
    used = [pair for pair in model.named_parameters() if not pair[0].startswith("unused")]
    return result, {key: weight.grad for key, weight in used}


def work(rank: int, folder: Path):
    """Be one of the processes: train each model, and write down what came out."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=len(RANKS),
        timeout=timedelta(seconds=25),
    )  # fmt: skip
    dist._DEFAULT_FIRST_BUCKET_BYTES = 64  # so small that a graph is cut
    results = {}
    with torch._dynamo.config.patch(allow_rnn=True):
        for row in ROWS:
            torch._dynamo.reset()
            results[row] = trained(rank, *row)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes(tmp_path):
    """Each holds its own results, of the same types, and the mean of both processes' gradients."""
    multiprocessing.set_forkserver_preload(
        [__name__, "torch._dynamo", "torch._functorch.aot_autograd"]
    )
    torch.multiprocessing.start_processes(work, (tmp_path,), len(RANKS), start_method=START)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in RANKS]
    for row in ROWS:
        alone = [trained(rank, "none", *row[1:]) for rank in RANKS]
        mean = {key: sum(own[key] for _, own in alone) / len(RANKS) for key in alone[0][1]}

        for (returned, _), both in zip(alone, results, strict=True):
            found, gradients = both[row]
            torch.testing.assert_close((found, gradients), (returned, mean), msg=str(row))
            assert pytree.tree_structure(found) == pytree.tree_structure(returned), row
