"""What tests that compile or export share."""

import contextlib
import os

import pytest
import torch

#: A compiler reads ``.grad`` of what it traces, and torch warns of that whoever reads it.
compiles = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

#: Of tests that compile with torch's default backend.
by_inductor = pytest.mark.skipif(
    os.environ.get("ATEN_CPU_CAPABILITY") == "default",
    reason="inductor writes vectors there, and leaves out the header that has them",
)


def count_afresh():
    """Forget what Dynamo has counted."""
    torch._dynamo.utils.counters.clear()


def graphs_made() -> int:
    """Return how many graphs were made since Dynamo counts afresh."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def layers_in_graphs(allowed: bool = True) -> contextlib.AbstractContextManager[None]:
    """Let Dynamo look into layers."""
    return torch._dynamo.config.patch(allow_rnn=allowed)


def without_onednn() -> contextlib.AbstractContextManager[None]:
    """Switch oneDNN off."""
    return torch.backends.mkldnn.flags(enabled=False)
