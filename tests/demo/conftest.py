"""The recordings, read once."""

import pytest

from rnnkit._demo import speakers as demonstration


@pytest.fixture(scope="module")
def data() -> demonstration.Data:
    """Read the recordings once."""
    return demonstration.load()
