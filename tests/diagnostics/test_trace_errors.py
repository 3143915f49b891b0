"""``trace`` of runs that fail: their rows, on the error; and of functions: names."""

from typing import Any

import pytest
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)
LIBRARIES = pytest.mark.parametrize("library", [nn, rnnkit.nn], ids=["torch", "rnnkit"])


@LIBRARIES
def test_rows_of_a_model_that_fails(library: Any) -> None:
    """The rows until an error are on it, and the row that raised is marked."""
    model = Model(
        lambda m, x: m.second(m.first(x)[0]),
        first=library.GRU(FEATURE, HIDDEN, batch_first=True),
        second=library.GRU(FEATURE, HIDDEN, batch_first=True),
    )
    with pytest.raises((RuntimeError, ValueError)) as caught:
        rnnkit.trace(model, X)

    found = caught.value.trace  # type: ignore[attr-defined]
    assert [(row.module, row.used) for row in found.rows] == [("first", None), ("second", None)]
    assert found.rows[1].marks == [f"it raised {type(caught.value).__name__}"]
    assert found.marked == [found.rows[1]]


def test_error_that_is_caught() -> None:
    """A call that fails, and whose error the model catches, is not what failed."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)

    def run(x: Tensor) -> Tensor:
        try:
            return layer(x[..., :1])[0]
        except RuntimeError:
            return layer(x)[0]

    assert rnnkit.trace(run, X).marked == []
    assert [row.used for row in rnnkit.trace(run, X).rows] == [None, False]


def test_rows_when_another_part_fails() -> None:
    """An error from outside of any row marks none; states that were passed on are used."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> None:
        cell(x[:, 1], cell(x[:, 0]))
        message = "no"
        raise KeyError(message)

    with pytest.raises(KeyError) as caught:
        rnnkit.trace(run, X)

    assert str(caught.value.trace) == snapshot("""\
row  module               input as read      state given  state returned
0    GRUCell-0 (GRUCell)  batch=4 feature=3  zeros        used
1    GRUCell-0 (GRUCell)  batch=4 feature=3  row 0        ?\
""")  # type: ignore[attr-defined]


def test_names_for_a_function() -> None:
    """A function's modules have their names in ``model=``; a bound method's are known."""
    model = Model(lambda m, x: m.encoder(x)[0], encoder=nn.GRU(FEATURE, HIDDEN, batch_first=True))

    def run(x: Tensor) -> Tensor:
        output: Tensor = model(x)
        return output

    assert [row.module for row in rnnkit.trace(run, X, model=model).rows] == ["encoder"]
    assert [row.module for row in rnnkit.trace(model.forward, X).rows] == ["encoder"]


def test_refused_names() -> None:
    """A module has its own names: another's beside it are refused."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.trace(layer, X, model=layer)

    assert str(error.value) == snapshot("""\
model= names the modules that a function calls, and a module was given
  fix       rnnkit.trace(model, ...), without model=
  more      python -m rnnkit explain trace-model\
""")
    assert len(rnnkit.trace(layer, X).rows) == 1


@pytest.mark.unhooked("beartype refuses it first")
def test_refused_class() -> None:
    """A class in place of the module that names is refused."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    with pytest.raises(rnnkit.ArgumentError, match="trace takes a model"):
        rnnkit.trace(layer.forward, X, model=nn.GRU)  # type: ignore[arg-type]
