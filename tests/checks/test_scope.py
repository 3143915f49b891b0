"""``axes=``: a module is held to the axis names that its caller's jaxtyping scope has bound."""

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from beartype import beartype
from inline_snapshot import snapshot
from jaxtyping import Float, jaxtyped
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import rnnkit
from tests.checks.scope_callers import BatchFirstModel, step, translate
from tests.strategies import CELLS, LAYERS

BATCH, SEQ, WIDTH, HIDDEN = 2, 5, 3, 4
AXES = {"seq": "time", "batch": "b"}

Make = Callable[..., Any]

pytestmark = pytest.mark.skipif(
    hasattr(rnnkit, "jaxtyping"), reason="under the hook rnnkit's own functions are the scope"
)


def layer(name: str, axes: dict[str, str] | None, *, batch_first: bool) -> Any:
    """A layer of a class of rnnkit's, or a Recurrent."""
    if name == "Recurrent":
        cell = rnnkit.GRUCell(WIDTH, HIDDEN)
        return rnnkit.Recurrent(cell, batch_first=batch_first, axes=axes)
    return getattr(rnnkit, name)(WIDTH, HIDDEN, batch_first=batch_first, axes=axes)


def batch_first_input() -> Tensor:
    """An input whose axes differ in size, the batch in front."""
    return torch.randn(BATCH, SEQ, WIDTH)


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


def test_the_message_of_a_swap() -> None:
    """It says what was read, what was bound, and by whom."""
    model = BatchFirstModel(layer("GRU", AXES, batch_first=False))

    with pytest.raises(rnnkit.LayoutError) as caught:
        model(batch_first_input())

    assert str(caught.value) == snapshot("""\
time is 5 in the caller's scope, but 2 in input
  GRU(3, 4, axes={'seq': 'time', 'batch': 'b'})
  read      time=2 as seq, b=5 as batch
  bound     b=2, time=5, feat=3 in BatchFirstModel.forward
  fix       the other batch_first, or input.transpose(0, 1)
  more      scope-layout, in the docs under "Errors"\
""")


def test_the_message_of_another_size() -> None:
    """A name that is bound to another size is named with both."""
    model = BatchFirstModel(rnnkit.GRU(WIDTH, HIDDEN, batch_first=True, axes={"hidden": "feat"}))

    with pytest.raises(rnnkit.ShapeError) as caught:
        model(batch_first_input())

    assert not isinstance(caught.value, rnnkit.LayoutError)
    assert str(caught.value) == snapshot("""\
feat is 3 in the caller's scope, but 4 in input
  GRU(3, 4, batch_first=True, axes={'hidden': 'feat'})
  read      feat=4 as hidden
  bound     b=2, time=5, feat=3 in BatchFirstModel.forward
  fix       hidden_size with feat=3, or another name in axes
  more      scope-size, in the docs under "Errors"\
""")


def test_the_message_of_recurrent() -> None:
    """Recurrent says it alike."""
    model = BatchFirstModel(layer("Recurrent", AXES, batch_first=False))

    with pytest.raises(rnnkit.LayoutError) as caught:
        model(batch_first_input())

    assert str(caught.value) == snapshot("""\
time is 5 in the caller's scope, but 2 in input
  Recurrent(axes={'seq': 'time', 'batch': 'b'})
  read      time=2 as seq, b=5 as batch
  bound     b=2, time=5, feat=3 in BatchFirstModel.forward
  fix       the other batch_first, or input.transpose(0, 1)
  more      scope-layout, in the docs under "Errors"\
""")


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


def test_the_message_of_a_cell() -> None:
    """A cell has one axis to name."""
    cell = rnnkit.LSTMCell(WIDTH, HIDDEN, axes={"batch": "b"})

    @jaxtyped(typechecker=beartype)
    def forward(x: Float[Tensor, "b seq feat"]) -> Any:
        return cell(x[0])

    with pytest.raises(rnnkit.ShapeError) as caught:
        forward(batch_first_input())

    assert str(caught.value) == snapshot("""\
b is 2 in the caller's scope, but 5 in input
  LSTMCell(3, 4, axes={'batch': 'b'})
  read      b=5 as batch
  bound     b=2, seq=5, feat=3 in test_the_message_of_a_cell.<locals>.forward
  fix       an input with b=2, or another name in axes
  more      scope-size, in the docs under "Errors"\
""")


def test_a_context_without_a_function() -> None:
    """``with jaxtyped("context")`` is a scope as well: what one call binds holds for the next."""
    gru = layer("GRU", AXES, batch_first=True)

    with jaxtyped("context"):
        gru(batch_first_input())
        gru(batch_first_input())
        with pytest.raises(rnnkit.ShapeError):
            gru(torch.randn(BATCH, SEQ + 1, WIDTH))

    gru(torch.randn(BATCH, SEQ + 1, WIDTH))


def test_two_layers_with_different_names() -> None:
    """An encoder and a decoder share the batch, and each has its own length."""
    encoder = rnnkit.GRU(WIDTH, HIDDEN, batch_first=True, axes={"seq": "source", "batch": "b"})
    decoder = rnnkit.GRU(WIDTH, HIDDEN, batch_first=True, axes={"seq": "target", "batch": "b"})
    source, target = torch.randn(BATCH, SEQ, WIDTH), torch.randn(BATCH, SEQ + 2, WIDTH)

    translate(encoder, decoder, source, target)

    with pytest.raises(rnnkit.ShapeError, match="source is 5"):
        translate(encoder, encoder, source, target)


def test_an_inner_function_has_a_scope_of_its_own() -> None:
    """Names bound outside mean nothing to a layer that is called in a nested function."""
    gru = layer("GRU", AXES, batch_first=True)
    inner = BatchFirstModel(gru)

    @jaxtyped(typechecker=beartype)
    def outer(x: Float[Tensor, "b time feat"]) -> Any:
        inner(x[:, 1:])
        return gru(x)

    outer(batch_first_input())


def test_no_scope_checks_nothing() -> None:
    """Called from plain code, two calls of different sizes are two calls."""
    gru = layer("GRU", AXES, batch_first=True)

    gru(batch_first_input())
    gru(torch.randn(BATCH + 1, SEQ + 1, WIDTH))


@pytest.mark.parametrize("name", [*LAYERS, "Recurrent"])
def test_without_axes_nothing_is_bound(name: str) -> None:
    """A layer without axes neither binds nor checks the caller's names."""
    plain = layer(name, None, batch_first=False)

    with jaxtyped("context"):
        plain(batch_first_input())
        # Any sizes are free still, and names that the layer uses itself are not taken.
        assert isinstance(torch.empty(11, 12), Float[Tensor, "seq batch"])
        assert isinstance(torch.empty(13, 14), Float[Tensor, "feature hidden"])


def test_a_refused_call_binds_nothing() -> None:
    """After a failure the scope has what it had."""
    gru = rnnkit.GRU(WIDTH, HIDDEN, axes={"seq": "fresh", "batch": "b"})

    with jaxtyped("context"):
        assert isinstance(torch.empty(7), Float[Tensor, " b"])
        with pytest.raises(rnnkit.ShapeError):
            gru(torch.randn(SEQ, BATCH, WIDTH))
        assert isinstance(torch.empty(6), Float[Tensor, " fresh"])


def test_threads_have_scopes_of_their_own() -> None:
    """Two threads with different sizes, both inside the same function, do not disturb each other."""
    gru, meet = layer("GRU", AXES, batch_first=True), threading.Barrier(2, timeout=20)
    failures: list[BaseException] = []

    @jaxtyped(typechecker=beartype)
    def forward(x: Float[Tensor, "b time feat"]) -> None:
        for _ in range(5):
            meet.wait()
            gru(x)

    def run(batch: int, seq: int) -> None:
        try:
            forward(torch.randn(batch, seq, WIDTH))
        except BaseException as error:  # noqa: BLE001 - a thread cannot fail a test by itself
            failures.append(error)

    threads = [threading.Thread(target=run, args=sizes) for sizes in ((2, 5), (7, 6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures


def test_packed_input_has_a_batch_and_no_seq() -> None:
    """Of packed input the batch is held to the caller's, and seq is not."""
    gru = layer("GRU", AXES, batch_first=False)
    packed = pack_sequence([torch.randn(4, WIDTH), torch.randn(2, WIDTH)])

    with jaxtyped("context"):
        assert isinstance(torch.empty(9, 2), Float[Tensor, "time b"])
        gru(packed)

    with jaxtyped("context"):
        assert isinstance(torch.empty(3), Float[Tensor, " b"])
        with pytest.raises(rnnkit.ShapeError, match="b is 3"):
            gru(packed)


def test_unbatched_input_has_seq_and_no_batch() -> None:
    """Of unbatched input seq is held to the caller's."""
    gru = layer("GRU", AXES, batch_first=True)

    with jaxtyped("context"):
        assert isinstance(torch.empty(9, 5), Float[Tensor, "b time"])
        gru(torch.randn(5, WIDTH))
        with pytest.raises(rnnkit.ShapeError, match="time is 5"):
            gru(torch.randn(6, WIDTH))


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
