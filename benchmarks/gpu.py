"""Figures of a GPU: ``python -m benchmarks.gpu PAGE`` writes them, as ``nox -s gpu`` does.

Each call stands beside torch's in the same process: the time between two events of the GPU, the
memory that it takes at most beyond what was there, and how often the host waits for the GPU.
"""

import argparse
import statistics
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from benchmarks.lengths import lengths_of
from benchmarks.passes import PASSES, KernelPath, Shape, calls
from benchmarks.report import Table, facts, folded
from benchmarks.subjects import pair, sharing

SHAPE: Shape = (64, 100, 128, 256)
KINDS = ("LSTM", "GRU")
REPEATS = 50
#: A GPU compiles, and raises its clock, in the first calls.
WARMING = 10
#: Above it is what people write, below it what is measured.
MARK = "<!-- What follows is written by `nox -s gpu`. -->\n"
Call: TypeAlias = Callable[[], object]


class Measured(NamedTuple):
    """What a call took."""

    milliseconds: float
    #: Bytes at most, beyond what was there before.
    memory: int
    waits: int


def made(kind: str, shape: Shape, device: str, *, backward: bool) -> dict[str, tuple[Call, Call]]:
    """Return torch's call and rnnkit's, by what is compared."""
    torch.manual_seed(0)
    batch, seq, input_size, hidden_size = shape
    theirs, ours = (module.to(device) for module in pair(kind, input_size, hidden_size))
    cell = getattr(rnnkit, f"{kind}Cell")(input_size, hidden_size).to(device)
    sharing(ours, cell)
    x = torch.randn(seq, batch, input_size, device=device)
    lengths = lengths_of(batch, seq, 0.5)
    on_device = lengths.to(device)
    reset = torch.rand(seq, batch, device=device) < 0.02

    def pack(each: Tensor) -> tuple[Tensor, Any]:
        packed = pack_padded_sequence(x, each.cpu(), enforce_sorted=False)
        output, state = theirs(packed)
        return pad_packed_sequence(output, total_length=seq)[0], state

    def plain() -> Any:
        return theirs(x)

    both = {"lengths": on_device, "reset": reset}
    compared: dict[str, tuple[Call, Call]] = {
        "a call": (plain, lambda: ours(x)),
        "lengths on the host, beside packing": (
            lambda: pack(lengths),
            lambda: ours(x, lengths=lengths),
        ),
        "lengths on the GPU, beside packing": (
            lambda: pack(on_device),
            lambda: ours(x, lengths=on_device),
        ),
        "reset, beside a call": (plain, lambda: ours(x, reset=reset)),
        "both, beside a call": (plain, lambda: ours(x, **both)),
        "unroll, beside the layer": (plain, lambda: rnnkit.unroll(cell, x)),
    }
    return {
        name: _of_pass(theirs, cell if "unroll" in name else ours, x, *runs, backward=backward)
        for name, runs in compared.items()
    }


def _of_pass(
    theirs: torch.nn.Module,
    ours: torch.nn.Module,
    x: Tensor,
    by_torch: Call,
    by_rnnkit: Call,
    *,
    backward: bool,
) -> tuple[Call, Call]:
    paths = {"torch": KernelPath(theirs, by_torch), "rnnkit": KernelPath(ours, by_rnnkit)}
    found = calls(paths, x, backward=backward)
    return found["torch"], found["rnnkit"]


def measured(call: Call) -> Measured:
    """Run a call on the GPU again and again."""
    for _ in range(WARMING):
        call()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    memory = torch.cuda.max_memory_allocated() - before
    times = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return Measured(statistics.median(times), memory, waits(call))


def waits(call: Call) -> int:
    """Count how often a call makes the host wait, as torch warns of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(one.message) for one in caught)


def tables_of(kind: str) -> list[Table]:
    """Measure a layer, in the forward pass and in both."""
    found = []
    for passes, backward in PASSES.items():
        rows = []
        for name, pair_of_calls in made(kind, SHAPE, "cuda", backward=backward).items():
            theirs, ours = map(measured, pair_of_calls)
            ratio = f"{ours.milliseconds / theirs.milliseconds:.2f}"
            times = (f"{each.milliseconds:.2f}" for each in (theirs, ours))
            memory = (f"{each.memory / 2**20:.0f}" for each in (theirs, ours))
            rows.append((name, *times, ratio, *memory, str(theirs.waits), str(ours.waits)))
        sizes = f"Batch, seq, input, hidden: {SHAPE}. Medians of {REPEATS} calls."
        columns = ("what", "torch, ms", "rnnkit, ms", "rnnkit/torch", "torch, MiB", "rnnkit, MiB")
        titles = (*columns, "torch waits", "rnnkit waits")
        found.append(Table(f"{kind}, {passes}", sizes, titles, rows))
    return found


def card() -> str:
    """Name the GPU, its driver and cuDNN."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603
    driver = answer.stdout.split("\n")[0] or "unknown"
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    versions = f"driver {driver}, CUDA {torch.version.cuda}, cuDNN {cudnn}"
    return f"{torch.cuda.get_device_name()}, {versions}."


def main() -> None:
    """Measure, print, and write below the mark of a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page
    found = [table for kind in KINDS for table in tables_of(kind)]
    print(card(), *found, sep="\n\n")
    above = page.read_text("utf-8").partition(MARK)[0]
    page.write_text(
        "\n".join([above + MARK, card(), "", facts(), "", *map(folded, found)]), "utf-8"
    )


if __name__ == "__main__":
    main()
