"""What tests that compile or export share."""

import os

import pytest

#: A compiler reads ``.grad`` of what it traces, and torch warns of that whoever reads it.
compiles = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

#: Of tests that compile with torch's default backend.
by_inductor = pytest.mark.skipif(
    os.environ.get("ATEN_CPU_CAPABILITY") == "default",
    reason="inductor writes vectors there, and leaves out the header that has them",
)
