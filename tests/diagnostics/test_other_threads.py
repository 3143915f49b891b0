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
from tests.diagnostics.held import Holder, X


class Drawing:
    """A thread that draws random numbers, and notes them."""

    def __init__(self) -> None:
        """Draw nothing so far."""
        self.drawn: list[Any] = []
        self.waits = threading.Condition()

    def go(self, stopped: threading.Event) -> None:
        """Draw from each source as many bits as never come twice by chance, until it is stopped."""
        while not stopped.is_set():
            with self.waits:
                self.drawn += torch.randint(2**62, (2,)).tolist()
                self.drawn += [random.getrandbits(128), *np.random.randint(2**62, size=2)]  # noqa: NPY002
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
def drawing(draws: bool = True) -> Iterator[Drawing]:
    """Let another thread draw meanwhile, or wait."""
    stopped, made = threading.Event(), Drawing()
    thread = threading.Thread(target=made.go if draws else threading.Event.wait, args=(stopped,))
    thread.start()
    try:
        yield made
    finally:
        stopped.set()
        thread.join()


def drop_nothing(_: Any) -> Tensor:
    """Run what draws only where it is told to drop something."""
    q = torch.ones(1, 2, 3, 4)
    y = nn.functional.scaled_dot_product_attention(q, q, q)
    return nn.functional.rrelu(y).sum() * 0


def keep(m: Any) -> Any:
    """Keep a count from call to call, which is found, and the random numbers are looked at."""
    m.count += 1
    return torch.tensor(m.count)


def fail(_: Any) -> Any:
    """Run no further."""
    raise KeyError


def refuse_modes(_: Any) -> None:
    """Run only if no mode listens."""
    if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
        raise KeyError


#: What models do that draw from no source of the process.
QUIET: dict[str, Callable[[Any], Any]] = {
    "draws from its own": lambda m: torch.rand(1, generator=m.own),
    "drops nothing": drop_nothing,
    "keeps a count": keep,
    "fails": fail,
    "refuses modes": refuse_modes,
}

SISTERS: dict[str, Callable[..., Any]] = {
    "verify": lambda m: rnnkit.verify(m, X, raises=False),
    "dependency_map": lambda m: rnnkit.dependency_map(m, X),
    "trace": lambda m: rnnkit.trace(m, X),
}


@pytest.mark.parametrize("name", QUIET)
def test_no_number_comes_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a model draws from no source of the process, another thread draws on as if alone.

    Python's and NumPy's functions are the same ones afterwards, also one that somebody set.
    """
    monkeypatch.setattr(random, "betavariate", lambda: 0.0)
    before = dict(vars(random)), dict(vars(np.random))
    for sister in SISTERS.values():
        with drawing() as thread:

            def act(m: Any, thread: Drawing = thread) -> Any:
                thread.wait()  # so that numbers are drawn in each run
                return QUIET[name](m)

            with suppress(KeyError):
                sister(Holder(act, own=torch.Generator().manual_seed(0), count=0))

        assert len(thread.drawn) > 5
        assert thread.repeats == 0
        assert before == (dict(vars(random)), dict(vars(np.random)))


#: What models draw from the process, and from which source.
DRAWS: dict[str, tuple[str, Callable[[], Any]]] = {
    "torch": ("torch", lambda: torch.rand(1)),
    "torch, its own generator": ("torch", lambda: torch.rand(1, generator=torch.default_generator)),
    "dropout": ("torch", lambda: nn.functional.dropout(torch.ones(6), 0.5)),
    "a choice": ("torch", lambda: torch.randperm(6).float()),
    "python": ("random", lambda: torch.tensor(random.uniform(0, 1))),  # noqa: S311
    "python, by a name from before": ("random", lambda draw=random.random: torch.tensor(draw())),
    "numpy": ("numpy.random", lambda: torch.tensor(np.random.normal(0, 1))),  # noqa: NPY002
    "numpy, by a name from before": ("numpy.random", lambda: torch.tensor(rand())),  # noqa: NPY002
    "a seed": ("torch", lambda: torch.manual_seed(7) and torch.rand(1)),
}


@pytest.mark.unhooked("beartype draws from Python's numbers, by a name from before")
@pytest.mark.parametrize("name", DRAWS)
def test_each_run_draws_the_same(name: str) -> None:
    """A model's numbers are the same in each run, and put back; its source is known beside others."""
    source, draw = DRAWS[name]
    works, fails = Holder(lambda _: draw()), Holder(lambda m: (draw(), fail(m)))
    with drawing(draws=False):
        before = sources()[source].read()
        report = rnnkit.verify(works, X, skip=["repeatable"])
        with session(works) as opened:
            one, other = (opened.run(Given((X,), {}))[0] for _ in range(2))
            assert opened.chance.drawn == {source}
        with suppress(KeyError):
            rnnkit.verify(fails, X)
        assert equal(before, sources()[source].read())
    assert {"batch", "alone"} <= {*report.checked}
    assert torch.equal(one, other)

    if "before" not in name:
        with drawing() as thread, session(Holder(lambda _: (thread.wait(), draw())[1])) as opened:
            opened.run(Given((X,), {}))
            assert opened.chance.drawn == {source}


def test_a_thread_that_ends() -> None:
    """What another thread drew while the model ran first is not the model's, if that thread is gone."""
    thread = threading.Thread(target=torch.rand, args=(1,))

    def act(_: Any) -> None:
        if thread.ident is None:
            thread.start()
            thread.join()
            stopped.set()
            other.join()

    stopped = threading.Event()
    other = threading.Thread(target=stopped.wait)
    other.start()
    with session(Holder(act)) as opened:
        opened.run(Given((X,), {}))

        assert "torch" not in opened.chance.drawn
