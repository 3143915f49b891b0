"""Padded batches for ``lengths``, and the choice of the path on which a layer runs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from rnnkit._base.torch_tools import lacks_kernel
from tests.strategies import LAYERS, Case

#: How a batch is run: over its padding, or packed. Which one is faster is chosen by size.
PATHS = ("padded", "packed")
KINDS: dict[str, dict[str, Any]] = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu"},
    "LSTM": {},
    "LSTM proj": {"proj_size": 2},
    "GRU": {},
}
#: None, the whole of the input, and between.
LENGTHS = (4, 0, 7, 1, 6)
SEQ = 7

paths = pytest.mark.parametrize("path", PATHS)
layers = pytest.mark.parametrize("name", LAYERS)
kinds = pytest.mark.parametrize("kind", KINDS)


def not_taken(*_: object, **__: object) -> None:
    """Stand in for the entrance to the other path."""
    pytest.fail("the layer took the other path")


def skip_without_kernel(kind: str) -> None:
    """Skip what runs a layer in bfloat16 under autocast where oneDNN has no such kernel."""
    mode, _, option = kind.partition(" ")
    with torch.autocast("cpu", torch.bfloat16):
        if lacks_kernel(mode, 2 if option == "proj" else 0, torch.ones(1)):
            pytest.skip("oneDNN has no bfloat16 LSTM on this CPU")


@contextmanager
def on(path: str) -> Iterator[None]:
    """Send every batch along one path."""
    entrance = {"padded": "pack", "packed": "run_stack"}[path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnnkit._modules.lengths.padding_pays", lambda *_: path == "padded")
        patch.setattr(f"rnnkit._modules.lengths.{entrance}", not_taken)
        yield


def case_of(kind: str, dtype: torch.dtype = torch.float64, **options: object) -> Case:
    """A batch of five samples with the lengths above."""
    return Case(
        name=kind.split(maxsplit=1)[0],
        input_size=6,
        hidden_size=3,
        batch=len(LENGTHS),
        seq=SEQ,
        dtype=dtype,
        options=KINDS[kind] | options,
    )
