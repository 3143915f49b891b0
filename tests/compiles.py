"""What tests that compile or export share."""

import pytest

#: A compiler reads ``.grad`` of what it traces, and torch warns of that whoever reads it.
compiles = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
