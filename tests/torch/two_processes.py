"""Two processes that train together, for tests of DistributedDataParallel."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

PROCESSES = 2


def run_both(script: str, folder: Path, seconds: int = 60) -> list[Any]:
    """Run a script in two processes, with its rank and a folder; what each has saved there."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    processes = [
        subprocess.Popen(  # noqa: S603 - a test's own file
            [sys.executable, script, str(rank), str(folder)],
            env={**os.environ, "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    try:
        errors = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        pytest.fail("\n".join(errors))
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


def meet(rank: int, folder: Path) -> None:
    """Join the other process, on one thread."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=25),
    )


def part(rank: int, folder: Path, results: Any) -> None:
    """Save what this process came to, and leave."""
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()
