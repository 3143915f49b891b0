"""``axes=``: a module is held to the axis names that its caller's jaxtyping scope has bound."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor

import rnnkit
from tests.checks.scope_callers import (
    AXES,
    BATCH,
    HIDDEN,
    SEQ,
    WIDTH,
    BatchFirstModel,
    batch_first_input,
    layer,
    step,
)
from tests.strategies import CELLS, LAYERS

Make = Callable[..., Any]

pytestmark = pytest.mark.skipif(
    hasattr(rnnkit, "jaxtyping"), reason="under the hook rnnkit's own functions are the scope"
)


@pytest.mark.parametrize("name", [*LAYERS, "Recurrent"])
def test_a_layer_that_reads_the_callers_layout_runs(name: str) -> None:
    """With the layout that the annotation promises, the result is that of a layer without axes."""
    model = BatchFirstModel(layer(name, AXES, batch_first=True))
    x = batch_first_input()

    checked, _ = model(x)

    model.inner.axes = None
    assert torch.equal(checked, model(x)[0])


@pytest.mark.parametrize("name", [*LAYERS, "Recurrent"])
def test_a_layer_that_reads_other_axes_is_refused(name: str) -> None:
    """A layer that reads axis 0 as time, which the caller calls the batch, raises at once."""
    model = BatchFirstModel(layer(name, AXES, batch_first=False))

    with pytest.raises(rnnkit.LayoutError) as caught:
        model(batch_first_input())

    assert caught.value.argument == "input"
    assert (caught.value.expected, caught.value.actual) == ((SEQ,), (BATCH,))


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_held_to_the_batch(name: str) -> None:
    """A cell that is given a step of another batch than the caller's raises."""
    cell = getattr(rnnkit, name)(WIDTH, HIDDEN, axes={"batch": "b"})
    step(cell, torch.randn(BATCH, WIDTH))

    @jaxtyped(typechecker=beartype)
    def forward(x: Float[Tensor, "b seq feat"]) -> Any:
        return cell(x[0])

    with pytest.raises(rnnkit.ShapeError, match="b is 2 in the caller's scope, but 5 in input"):
        forward(batch_first_input())


@pytest.mark.parametrize("name", [*LAYERS, "Recurrent"])
def test_without_axes_nothing_is_bound(name: str) -> None:
    """A layer without axes neither binds nor checks the caller's names."""
    plain = layer(name, None, batch_first=False)

    with jaxtyped("context"):
        plain(batch_first_input())
        # Any sizes are free still, and names that the layer uses itself are not taken.
        assert isinstance(torch.empty(11, 12), Float[Tensor, "seq batch"])
        assert isinstance(torch.empty(13, 14), Float[Tensor, "feature hidden"])


@pytest.mark.parametrize(
    "carry", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))]
)
@pytest.mark.parametrize("name", [*LAYERS, *CELLS, "Recurrent"])
def test_copies_keep_their_axes(name: str, carry: Make) -> None:
    """A copy and a pickle have the axes of the module, and print them."""
    axes = {"batch": "b"} if name in CELLS else AXES
    module = (
        getattr(rnnkit, name)(WIDTH, HIDDEN, axes=axes)
        if name in CELLS
        else layer(name, axes, batch_first=True)
    )

    again = carry(module)

    assert again.axes == axes
    assert f"axes={axes}" in again.extra_repr()


def test_the_axes_are_the_modules_own() -> None:
    """A dictionary that the caller changes later changes no module."""
    axes = {"seq": "time"}
    gru = rnnkit.GRU(WIDTH, HIDDEN, axes=axes)

    axes["batch"] = "b"

    assert gru.axes == {"seq": "time"}


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        ({"seq": "d", "batch": "d"}, "d is 5 as seq, but 2 as batch"),
        ({"feature": "d", "hidden": "d"}, "d is 3 as feature, but 4 as hidden"),
    ],
)
def test_one_name_of_two_axes(axes: dict[str, str], text: str) -> None:
    """A name that the caller has not bound, and two axes have, is of the size of the first."""
    model = BatchFirstModel(rnnkit.GRU(WIDTH, HIDDEN, batch_first=True, axes=axes))

    with pytest.raises(rnnkit.ShapeError, match=text):
        model(batch_first_input())
