"""``axes=`` refused, under compilation, and in a package that jaxtyping's import hook watches."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jaxtyping
import pytest
import torch
from inline_snapshot import snapshot
from jaxtyping import jaxtyped

import rnnkit
from tests.checks.scope_callers import BatchFirstModel, step
from tests.strategies import CELLS, LAYERS

BATCH, SEQ, WIDTH, HIDDEN = 2, 5, 3, 4

#: With the hook on, each function of rnnkit's has a scope of its own, and the caller's is hidden.
unhooked = pytest.mark.skipif(
    hasattr(rnnkit, "jaxtyping"), reason="under the hook rnnkit's own functions are the scope"
)

PACKAGE = """
import rnnkit
import torch
from jaxtyping import Float
from torch import Tensor
from rnnkit.typing import BatchFirst


class Model(torch.nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        axes = {"seq": "time", "batch": "b"}
        self.gru = rnnkit.GRU(3, 4, batch_first=batch_first, axes=axes)

    def forward(self, x: Float[Tensor, "b time 3"]) -> Float[Tensor, "b time 4"]:
        output, _ = self.gru(x)
        return output


def same_batch(one: BatchFirst, other: BatchFirst) -> BatchFirst:
    return one
"""


@unhooked
def test_a_layer_is_held_to_the_features() -> None:
    """The features that a layer reads may have the caller's name too."""
    fitting = BatchFirstModel(rnnkit.GRU(3, 4, batch_first=True, axes={"feature": "feat"}))
    fitting(torch.zeros(BATCH, SEQ, WIDTH))

    other = BatchFirstModel(rnnkit.GRU(3, 4, batch_first=True, axes={"feature": "time"}))
    with pytest.raises(rnnkit.ShapeError) as caught:
        other(torch.zeros(BATCH, SEQ, WIDTH))
    assert (caught.value.expected, caught.value.actual) == ((SEQ,), (WIDTH,))


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A user's package, imported under jaxtyping's hook."""
    (tmp_path / "watched_by_hook").mkdir()
    (tmp_path / "watched_by_hook" / "__init__.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    with jaxtyping.install_import_hook("watched_by_hook", "beartype.beartype"):
        yield importlib.import_module("watched_by_hook")
    del sys.modules["watched_by_hook"]


@unhooked
def test_a_watched_package(watched: ModuleType) -> None:
    """In a package under the import hook a layer is held to the names of forward."""
    x = torch.randn(BATCH, SEQ, WIDTH)

    assert watched.Model(batch_first=True)(x).shape == (BATCH, SEQ, HIDDEN)
    with pytest.raises(rnnkit.LayoutError) as caught:
        watched.Model(batch_first=False)(x)

    assert str(caught.value) == snapshot("""\
time is 5 in the caller's scope, but 2 in input
  GRU(3, 4, axes={'seq': 'time', 'batch': 'b'})
  read      time=2 as seq, b=5 as batch
  bound     b=2, time=5 in Model.forward
  fix       the other batch_first, or input.transpose(0, 1)
  more      python -m rnnkit explain scope-layout\
""")


def test_a_watched_package_with_names_of_rnnkit_typing(watched: ModuleType) -> None:
    """The names of rnnkit.typing bind seq, batch and feature in a function that uses them."""
    x = torch.randn(BATCH, SEQ, WIDTH)

    assert watched.same_batch(x, x) is x
    with pytest.raises(jaxtyping.TypeCheckError):
        watched.same_batch(x, x[:, 1:])


def refused(kind: Any, axes: Any) -> str:
    """The text of the refusal of a constructor's axes."""
    args = [rnnkit.GRUCell(WIDTH, HIDDEN)] if kind is rnnkit.Recurrent else [WIDTH, HIDDEN]
    with pytest.raises(rnnkit.ArgumentError) as caught:
        kind(*args, axes=axes)
    assert caught.value.argument == "axes"
    return str(caught.value)


WRONG = [("seq", "batch"), "time", {"seq": 3}, {"seq": "two words"}, {"seq": ""}, {3: "seq"}, True]


@pytest.mark.skipif(hasattr(rnnkit, "jaxtyping"), reason="the annotation refuses it first")
@pytest.mark.parametrize("axes", WRONG)
@pytest.mark.parametrize("name", [*LAYERS, *CELLS, "Recurrent"])
def test_axes_that_are_no_names(name: str, axes: Any) -> None:
    """What is no dictionary from an axis to an identifier is refused by each class."""
    assert "axes maps" in refused(getattr(rnnkit, name), axes)


@pytest.mark.slow
@unhooked
@pytest.mark.parametrize("name", CELLS)
def test_a_compiled_cell_is_not_held(name: str) -> None:
    """Under fullgraph compilation a cell steps aside, and gives what it gives uncompiled."""
    cell = getattr(rnnkit, name)(WIDTH, HIDDEN, axes={"batch": "b"})
    compiled: Any = torch.compile(cell, backend="eager", fullgraph=True)

    compiled(torch.randn(2, WIDTH))  # silent, without a scope
    for batch in (2, 5, 7):
        x = torch.randn(batch, WIDTH)
        ours, expected = step(compiled, x), step(cell, x)
        if isinstance(ours, tuple):
            ours, expected = ours[0], expected[0]
        torch.testing.assert_close(ours, expected)


@pytest.mark.slow
@unhooked
@pytest.mark.parametrize("name", [*LAYERS, "Recurrent"])
def test_a_compiled_layer_raises_no_false_alarm(name: str) -> None:
    """A compiled layer with axes runs on right input of any size."""
    cell = rnnkit.GRUCell(WIDTH, HIDDEN)
    axes = {"seq": "time", "batch": "b"}
    args = [cell] if name == "Recurrent" else [WIDTH, HIDDEN]
    module = getattr(rnnkit, name)(*args, axes=axes)
    compiled: Any = torch.compile(module, backend="eager")

    for batch in (2, 4):
        x = torch.randn(SEQ, batch, WIDTH)
        ours = compiled(x)[0]  # silent, without a scope
        with jaxtyped("context"):
            torch.testing.assert_close(ours, module(x)[0])
