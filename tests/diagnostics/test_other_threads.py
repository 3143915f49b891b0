"""Random numbers belong to the process: other threads draw none twice, and each run starts alike."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rnnkit
from rnnkit._diagnostics.isolation import session, sources
from rnnkit._diagnostics.outputs import Given, equal
from tests.diagnostics.models_of_users import Holder, Model, numbers

X = numbers(4, 7, 3)


class Drawing:
    """A thread that draws random numbers, and notes them."""

    def __init__(self):
        """Draw nothing so far."""
        self.drawn: list[Any] = []
        self.waits = threading.Condition()

    def go(self, stopped: threading.Event):
        """Draw from each source as many bits as never come twice by chance, until it is stopped."""
        while not stopped.is_set():
            with self.waits:
                self.drawn += torch.randint(2**62, (2,)).tolist()
                self.drawn += [random.getrandbits(128), *np.random.randint(2**62, size=2)]  # noqa: NPY002
                self.waits.notify_all()

    def wait(self):
        """Wait until some numbers more are drawn."""
        with self.waits:
            count = len(self.drawn)
            assert self.waits.wait_for(lambda: len(self.drawn) > count, 60)


@contextmanager
def drawing(draws: bool = True) -> Iterator[Drawing]:
    """Let another thread draw meanwhile, or wait."""
    stopped = threading.Event()
    made = Drawing()
    thread = threading.Thread(target=made.go if draws else threading.Event.wait, args=(stopped,))
    thread.start()
    try:
        yield made
    finally:
        stopped.set()
        thread.join()


def keep(m: Any) -> Any:
    """Keep a count from call to call, which is found, and the random numbers are looked at."""
    m.count += 1
    return torch.tensor(m.count)


def fail(_: Any) -> Any:
    """Run no further."""
    raise KeyError


#: What models do beside a thread that draws.
BESIDE: dict[str, Callable[[Any], Any]] = {
    "draws from its own": lambda m: torch.rand(1, generator=m.own),
    "draws, too": lambda _: torch.rand(1),
    "keeps a count": keep,
    "fails": fail,
}

SISTERS: dict[str, Callable[..., Any]] = {
    "verify": lambda m: rnnkit.verify(m, X, raises=False),
    "dependency_map": lambda m: rnnkit.dependency_map(m, X),
    "trace": lambda m: rnnkit.trace(m, X),
}


@pytest.mark.parametrize("name", BESIDE)
def test_no_number_comes_twice(name: str):
    """Another thread draws on as if alone, whatever the model does."""
    for sister in SISTERS.values():
        with drawing() as thread:

            def act(m: Any, thread: Drawing = thread) -> Any:
                thread.wait()  # so that numbers are drawn in each run
                return BESIDE[name](m)

            with suppress(KeyError):
                sister(Holder(act, own=torch.Generator().manual_seed(0), count=0))

        assert len(thread.drawn) > 5
        assert len(thread.drawn) == len(set(thread.drawn))


#: What models draw from the process, and from which source.
DRAWS: dict[str, tuple[str, Callable[[], Any]]] = {
    "torch": ("torch", lambda: torch.rand(1)),
    "dropout": ("torch", lambda: nn.functional.dropout(torch.ones(6), 0.5)),
    "python": ("random", lambda: torch.tensor(random.uniform(0, 1))),  # noqa: S311
    "python, by a name from before": ("random", lambda draw=random.random: torch.tensor(draw())),
    "numpy": ("numpy.random", lambda: torch.tensor(np.random.normal(0, 1))),  # noqa: NPY002
    "a seed": ("torch", lambda: torch.manual_seed(7) and torch.rand(1)),
}


@pytest.mark.unhooked("beartype draws from Python's numbers")
@pytest.mark.parametrize("name", DRAWS)
def test_each_run_draws_the_same(name: str):
    """A model's numbers are the same in each run, and put back, also beside a thread that waits."""
    source, draw = DRAWS[name]
    works = Holder(lambda _: draw())
    fails = Holder(lambda m: (draw(), fail(m)))
    for beside in (nullcontext(), drawing(draws=False)):
        with beside:
            before = sources()[source].get_state()
            report = rnnkit.verify(works, X, skip=["repeatable"])
            with session(works) as opened:
                one, other = (opened.run(Given((X,), {}))[0] for _ in range(2))
                assert opened.drawn == {source}
            with suppress(KeyError):
                rnnkit.verify(fails, X)
            assert equal(before, sources()[source].get_state())
        assert {"batch", "alone"} <= {*report.checked}
        assert torch.equal(one, other)


def test_modules_in_threads():
    """Calls of modules that overlap in time, in threads of the model, are written down by thread."""

    def outer(m: Any, x: Any, thread: threading.Thread, begun: threading.Event) -> Any:
        thread.start()
        begun.wait()
        return m.linear(x)

    def inner(m: Any, x: Any, begun: threading.Event, ended: threading.Event) -> Any:
        begun.set()
        ended.wait()
        return m.linear(x)

    def forward(m: Any, x: Any) -> Any:
        begun = threading.Event()
        ended = threading.Event()
        made = list[Any]()
        thread = threading.Thread(target=lambda: made.append(m.inner(x, begun, ended)))
        y = m.outer(x, thread, begun)
        ended.set()
        thread.join()
        return m.gru(y + made[0])[0]

    parts = {f.__name__: Model(f, linear=nn.Linear(3, 3)) for f in (outer, inner)}
    made = Model(forward, gru=nn.GRU(3, 4, batch_first=True), **parts)

    assert "use" in rnnkit.verify(made, torch.randn(4, 6, 3)).checked
