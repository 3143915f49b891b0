"""Everything that runs on a device holds its laws on one that is simulated, without a GPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.places import ROOT

COMPILER = shutil.which(os.environ.get("CXX", "c++"))
TORCH = Path(torch.__file__).parent
DEVELOPED = "2.13."


def obstacle() -> str:
    """Return why there can be no simulated device here, or nothing."""
    if torch.version.cuda or torch.version.hip or sys.platform != "linux":
        return "the device stands in for CUDA, on Linux, where torch has none"
    if not torch.__version__.startswith(DEVELOPED):
        return f"the device is made with private headers of torch {DEVELOPED}"
    return "" if COMPILER else "there is no C++ compiler"


def run(*command, **variables: str):
    """Run a command at the root, and show what it says if it fails."""
    done = subprocess.run(  # noqa: S603 - our own words
        [*map(str, command)],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert not done.returncode, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(bool(obstacle()), reason=obstacle())
def test_laws(tmp_path):
    """They hold on a device with all dtypes, and on one that has no float64."""
    library = tmp_path / "device.so"
    headers = [f"-I{TORCH / 'include'}", f"-I{TORCH / 'include/torch/csrc/api/include'}"]
    libraries = [f"-L{TORCH / 'lib'}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{TORCH / 'lib'}"]
    source = Path(__file__).with_name("device.cpp")
    options = ("-std=c++20", "-w", "-fPIC", "-shared")  # -w: torch's headers are no affair of ours
    run(COMPILER, *options, *headers, source, "-o", library, *libraries)
    laws = (sys.executable, "-m", "tests.device")
    run(*laws, RNNKIT_DEVICE=str(library))
    without_float64 = {"RNNKIT_DEVICE_WITHOUT_FLOAT64": "1"}
    run(*laws, "-k", "not compiled", RNNKIT_DEVICE=str(library), **without_float64)
