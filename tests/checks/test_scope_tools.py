"""``axes=`` where scopes are made otherwise: under jaxtyping's import hook, and in compiled code."""

import importlib
import sys
from contextlib import nullcontext

import jaxtyping
import pytest
import torch
from jaxtyping import jaxtyped

import rnnkit
from tests.checks.test_scope import AXES, BATCH, MODULES, SEQ, module, unhooked, x
from tests.compiles import compiles
from tests.strategies import CELLS, LAYERS

PACKAGE = """
import rnnkit
import torch
from jaxtyping import Float
from torch import Tensor
from rnnkit.typing import BatchFirst


def run(gru: torch.nn.Module, x: Float[Tensor, "b time 3"]) -> Float[Tensor, "b time 4"]:
    return gru(x)[0]


def same_batch(one: BatchFirst, other: BatchFirst) -> BatchFirst:
    return one
"""


@unhooked
def test_a_watched_package(tmp_path, monkeypatch):
    """In a package under jaxtyping's import hook each function is a scope, as rnnkit.typing's names are."""
    (tmp_path / "watched_by_hook.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    with jaxtyping.install_import_hook("watched_by_hook", "beartype.beartype"):
        watched = importlib.import_module("watched_by_hook")
    del sys.modules["watched_by_hook"]
    given = x()

    assert watched.run(module("GRU", AXES, batch_first=True), given).shape == (BATCH, SEQ, 4)
    with pytest.raises(rnnkit.LayoutError, match=r"caller +b=2, time=5, in run"):
        watched.run(module("GRU", AXES), given)
    assert watched.same_batch(given, given) is given
    with pytest.raises(jaxtyping.TypeCheckError):
        watched.same_batch(given, given[:, 1:])


@pytest.mark.slow
@unhooked
@compiles
@pytest.mark.parametrize("name", [*MODULES, *CELLS])
def test_a_compiled_module_raises_no_false_alarm(name):
    """Compiled, a cell steps aside in one graph; a layer runs as it is, and warns as it does."""
    made = module(name, {"batch": "b"} if name in CELLS else AXES)
    compiled = torch.compile(made, backend="eager", fullgraph=name in CELLS)
    for batch in (2, 5, 7):
        given = torch.randn(batch, 3) if name in CELLS else torch.randn(SEQ, batch, 3)
        warns = name in LAYERS and batch == 2  # once, that nothing makes a scope
        with pytest.warns(rnnkit.RnnkitWarning) if warns else nullcontext():
            ours = compiled(given)
        with jaxtyped("context"):
            expected = made(given)
            inside = compiled(given)
        for got in (ours, inside):
            torch.testing.assert_close(got, expected)
