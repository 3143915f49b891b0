"""Random numbers belong to the process: other threads draw none twice, and each run starts alike."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import rand
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.chance import equal, sources
from rnnkit._diagnostics.isolation import Given, session
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)


def some() -> tuple[Any, ...]:
    """Draw from each source as many bits as never come twice by chance."""
    bits = torch.randint(2**62, (2,)).tolist()
    return *bits, random.getrandbits(128), *np.random.randint(2**62, size=2)  # noqa: NPY002


class Drawing:
    """A thread that draws random numbers, and notes them."""

    def __init__(self) -> None:
        """Draw nothing so far."""
        self.drawn: list[Any] = []
        self.waits = threading.Condition()

    def go(self, stopped: threading.Event) -> None:
        """Draw until it is stopped."""
        while not stopped.is_set():
            with self.waits:
                self.drawn += some()
                self.waits.notify_all()

    def wait(self) -> None:
        """Wait until some numbers more are drawn."""
        with self.waits:
            count = len(self.drawn)
            assert self.waits.wait_for(lambda: len(self.drawn) > count, 60)

    @property
    def repeats(self) -> int:
        """How many numbers came more than once."""
        return len(self.drawn) - len(set(self.drawn))


@contextmanager
def drawing() -> Iterator[Drawing]:
    """Let another thread draw meanwhile."""
    stopped, made = threading.Event(), Drawing()
    thread = threading.Thread(target=made.go, args=(stopped,))
    thread.start()
    try:
        yield made
    finally:
        stopped.set()
        thread.join()


def model(act: Callable[[Any], Any], **kept: Any) -> Model:
    """Make a model that does something beside its layer, and adds it to the outputs."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x)[0] + act(m)

    made = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    vars(made).update(kept)
    return made


def drop_nothing(_: Any) -> Tensor:
    """Run what draws only where it is told to drop something."""
    q = torch.ones(1, 2, 3, 4)
    y = nn.functional.scaled_dot_product_attention(q, q, q)
    return nn.functional.rrelu(y).sum() * 0


def keep(m: Any) -> Any:
    """Keep a count from call to call, which is found, and the random numbers are looked at."""
    m.count += 1
    return m.count


def fail(_: Any) -> Any:
    """Run no further."""
    raise KeyError


QUIET: dict[str, Callable[[Any], Any]] = {
    "draws none": lambda m: m.count,
    "draws from its own": lambda m: torch.rand(1, generator=m.own),
    "drops nothing": drop_nothing,
    "keeps a count": keep,
    "fails": fail,
}

SISTERS: dict[str, Callable[..., Any]] = {
    "verify": lambda m: rnnkit.verify(m, X, raises=False),
    "dependency_map": lambda m: rnnkit.dependency_map(m, X),
    "trace": lambda m: rnnkit.trace(m, X),
}


@pytest.mark.parametrize("sister", SISTERS)
@pytest.mark.parametrize("name", QUIET)
def test_no_number_comes_twice(name: str, sister: str) -> None:
    """Where a model draws from no source of the process, another thread draws on as if alone."""
    with drawing() as thread:

        def act(m: Any) -> Any:
            thread.wait()  # so that numbers are drawn in each run
            return QUIET[name](m)

        tried = model(act, own=torch.Generator().manual_seed(0), count=0)
        with suppress(KeyError):
            SISTERS[sister](tried)

    assert len(thread.drawn) > 5
    assert thread.repeats == 0


DRAWS: dict[str, tuple[str, Callable[[], Any]]] = {
    "torch": ("torch", lambda: torch.rand(1)),
    "torch, its own generator": ("torch", lambda: torch.rand(1, generator=torch.default_generator)),
    "dropout": ("torch", lambda: nn.functional.dropout(torch.ones(HIDDEN), 0.5)),
    "a choice": ("torch", lambda: torch.randperm(HIDDEN)),
    "python": ("random", lambda: random.uniform(0, 1)),  # noqa: S311
    "python, by a name from before": ("random", random.random),
    "numpy": ("numpy.random", lambda: np.random.normal(0, 1)),  # noqa: NPY002
    "numpy, by a name from before": ("numpy.random", rand),
    "a seed": ("torch", lambda: torch.manual_seed(7) and torch.rand(1)),
}


@pytest.mark.unhooked("beartype draws from Python's numbers, by a name from before")
@pytest.mark.parametrize("name", DRAWS)
def test_each_run_draws_the_same(name: str) -> None:
    """Beside a thread that draws nothing, a model's numbers are the same in each run, and put back."""
    source, draw = DRAWS[name]
    stopped = threading.Event()
    thread = threading.Thread(target=stopped.wait)
    thread.start()
    works, fails = model(lambda _: draw()), model(lambda m: (draw(), fail(m)))
    try:
        before = sources()[source].read()
        report = rnnkit.verify(works, X, skip=["repeatable"])
        with session(works) as opened:
            one, other = (opened.run(Given((X,), {}))[0] for _ in range(2))
            assert opened.chance.drawn == {source}
        with suppress(KeyError):
            rnnkit.verify(fails, X)
        after = sources()[source].read()
    finally:
        stopped.set()
        thread.join()

    assert {"batch", "alone"} <= {*report.checked}
    assert torch.equal(one, other)
    assert equal(before, after)


@pytest.mark.parametrize("name", [name for name in DRAWS if "before" not in name])
def test_each_run_draws_the_same_beside_one_that_draws(name: str) -> None:
    """Which sources a model draws from is found out where another thread draws from all of them."""
    source, draw = DRAWS[name]
    with drawing() as thread:

        def act(_: Any) -> Any:
            thread.wait()
            return draw()

        with session(model(act)) as opened:
            opened.run(Given((X,), {}))
            assert opened.chance.drawn == {source}


def test_a_thread_that_ends() -> None:
    """What another thread drew while the model ran first is not the model's, if that thread is gone."""
    thread = threading.Thread(target=torch.rand, args=(1,))

    def act(m: Any) -> Any:
        if thread.ident is None:
            thread.start()
            thread.join()
            stopped.set()
            other.join()
        return m.count

    stopped = threading.Event()
    other = threading.Thread(target=stopped.wait)
    other.start()
    with session(model(act, count=0)) as opened:
        opened.run(Given((X,), {}))

        assert "torch" not in opened.chance.drawn


def test_a_model_that_does_not_run_while_it_is_listened_to() -> None:
    """A model that refuses modes is judged by runs without one."""

    def act(m: Any) -> Any:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise KeyError
        return m.count

    with drawing() as thread:

        def waiting(m: Any) -> Any:
            thread.wait()
            return act(m)

        assert "batch" in rnnkit.verify(model(waiting, count=0), X, skip=["gradient"]).checked
    assert thread.repeats == 0


def test_functions_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's and NumPy's functions are the same ones afterwards, also one that somebody set."""
    monkeypatch.setattr(random, "random", lambda: 0.0)
    before = dict(vars(random)), dict(vars(np.random))
    with drawing() as thread:

        def act(_: Any) -> Any:
            thread.wait()
            return random.random() * np.random.rand()  # noqa: NPY002, S311

        rnnkit.verify(model(act), X)

    assert before == (dict(vars(random)), dict(vars(np.random)))
