"""What a model holds in tensors, arrays and generators is put back; each run starts alike."""

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.models_that_hold import made, starting

X = numbers(BATCH, SEQ, FEATURE)


GENERATORS: dict[str, tuple[Any, Callable[[Any, int], Any]]] = {
    "torch": (
        torch.Generator().manual_seed(0),
        lambda made, size: torch.randn(1, size, HIDDEN, generator=made),
    ),
    "numpy": (
        np.random.default_rng(0),
        lambda made, size: torch.tensor(made.random((1, size, HIDDEN)), dtype=torch.float32),
    ),
    "numpy, of old": (
        np.random.RandomState(0),
        lambda made, size: torch.tensor(made.rand(1, size, HIDDEN), dtype=torch.float32),
    ),
    "python": (
        random.Random(0),  # noqa: S311
        lambda made, size: torch.full((1, size, HIDDEN), made.random()),
    ),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generator_of_the_model(name: str) -> None:
    """Each run draws the same numbers from a generator that the model holds; it stays as it was."""
    generator, draw = GENERATORS[name]
    model = starting(lambda m, size: draw(m.generator, size), generator=generator)

    assert "batch" in rnnkit.verify(model, X, skip=["repeatable", "alone"]).checked
    first = draw(generator, 2)
    rnnkit.verify(model, X, skip=["repeatable", "alone"])
    assert not torch.equal(draw(generator, 2), first)


def test_generator_stays() -> None:
    """A generator goes on after verify as if nothing had been drawn."""
    generator, draw = GENERATORS["torch"]
    before = generator.get_state()
    rnnkit.verify(
        starting(lambda m, size: draw(m.generator, size), generator=generator),
        X,
        skip=["repeatable", "alone"],
    )

    assert torch.equal(generator.get_state(), before)


def test_generator_without_a_state() -> None:
    """A generator of the system's random numbers, which has no state, is no obstacle."""
    held = random.SystemRandom()

    assert "batch" in rnnkit.verify(made(lambda m: m.held.random(), held=held), X).checked


@pytest.mark.parametrize("draw", [random.random, np.random.rand], ids=["python", "numpy"])
def test_teacher_forcing_by_chance(draw: Callable[[], float]) -> None:
    """A decoder that throws a coin at each step is not repeatable, and mixes no samples."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h, read, outputs = m.encoder(x)[1][0], x[:, 0], []
        for x_t in x.unbind(1):
            h = m.decoder(read, h)
            outputs.append(m.head(h))
            read = x_t if draw() < 0.5 else outputs[-1]
        return torch.stack(outputs, 1)

    model = Model(
        compute,
        encoder=nn.GRU(FEATURE, HIDDEN, batch_first=True),
        decoder=nn.GRUCell(FEATURE, HIDDEN),
        head=nn.Linear(HIDDEN, FEATURE),
    )

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, X)
    assert error.value.probe == "repeatable"

    report = rnnkit.verify(model, X, skip=["repeatable"])
    assert {"batch", "alone"} <= {*report.checked}


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing needs numpy to be there."""
    monkeypatch.setitem(sys.modules, "numpy", None)

    assert "batch" in rnnkit.verify(made(lambda m: m.held, held=[1]), X).checked


def test_output_of_another_dtype() -> None:
    """An output that comes in another dtype the second time is another output."""

    def compute(m: Any, x: Tensor) -> Tensor:
        m.again = not m.again
        return x if m.again else x.double()

    model = Model(compute)
    model.again = False
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, X)

    assert error.value.probe == "repeatable"


def test_lazy_modules() -> None:
    """A model whose sizes are still open is refused with what to do."""
    with pytest.raises(rnnkit.ArgumentError, match="call it once") as error:
        rnnkit.verify(nn.LazyLinear(2), X)

    assert error.value.argument == "model"


def test_state_written_through_data() -> None:
    """A state that is written past the count of versions is put back before each run."""

    def state(m: Any, size: int) -> Tensor:
        h = m.h[:, :size].clone()
        m.h.data.add_(1)
        return h

    model = starting(state, h=torch.zeros(1, BATCH, HIDDEN))

    assert "batch" in rnnkit.verify(model, X, skip=["repeatable"]).checked
    assert not model.h.any()


def test_state_in_an_array() -> None:
    """A state in an array, which counts no versions, is put back before each run."""

    def state(m: Any, size: int) -> Tensor:
        m.h += 1
        return torch.tensor(m.h[:, :size])

    model = starting(state, h=np.zeros((1, BATCH, HIDDEN), dtype=np.float32))

    assert "batch" in rnnkit.verify(model, X, skip=["repeatable"]).checked
    assert not model.h.any()


def swap(m: Any) -> None:
    """Give a tensor other memory and another shape."""
    m.held.data = torch.ones(5)


HELD: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "other memory": (lambda: torch.zeros(3), swap),
    "expanded": (lambda: torch.zeros(2, 1).expand(2, 3), lambda m: m.held[:, 0].add_(1)),
    "not contiguous": (lambda: torch.zeros(3, 2).t(), lambda m: m.held.add_(1)),
    "odd": (lambda: torch.zeros(5)[1:4], lambda m: m.held.data.add_(1)),
    "integers": (lambda: torch.zeros(3, dtype=torch.long), lambda m: m.held.data.add_(1)),
    "not a number": (lambda: torch.full((2,), torch.nan), lambda m: m.held.data.fill_(1)),
    "sparse, in place": (lambda: torch.eye(3).to_sparse(), lambda m: m.held.mul_(2)),
    "sparse": (lambda: torch.eye(3).to_sparse(), lambda m: m.held @ torch.ones(3, 1)),
}


@pytest.mark.parametrize("name", HELD)
def test_tensor_of_any_kind(name: str) -> None:
    """A tensor of any kind has its numbers, its shape and its memory again."""
    make, act = HELD[name]
    model, expected = made(act, held=make()), make().to_dense()
    pointer = None if model.held.is_sparse else model.held.data_ptr()

    rnnkit.verify(model, X)

    torch.testing.assert_close(model.held.to_dense(), expected, equal_nan=True)
    assert pointer is None or model.held.data_ptr() == pointer


def test_array_that_is_read_only() -> None:
    """An array that nobody can write is no obstacle."""
    held = np.broadcast_to(np.zeros(2), (3, 2))

    assert "batch" in rnnkit.verify(made(lambda m: m.held.sum(), held=held), X).checked


def test_array_of_objects() -> None:
    """An array of objects has the same objects again."""
    some = [object(), object()]
    held = np.array(some, dtype=object)
    rnnkit.verify(made(lambda m: m.held.fill(None), held=held), X)

    assert held.tolist() == some
