"""Whose scope counts for ``axes=``: the nearest caller's, of this thread; and what of an input it holds."""

import threading
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

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
    translate,
)

pytestmark = pytest.mark.skipif(
    hasattr(rnnkit, "jaxtyping"), reason="under the hook rnnkit's own functions are the scope"
)


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

    with pytest.warns(UserWarning, match="no @jaxtyped function"):
        gru(batch_first_input())
    gru(torch.randn(BATCH + 1, SEQ + 1, WIDTH))


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
