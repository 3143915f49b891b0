"""What belongs to the process: random numbers, which other threads draw, too, imports, and memory."""

import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import rnnkit
from rnnkit._diagnostics.run.isolation import random_sources, session
from rnnkit._diagnostics.run.outputs import equal
from tests.diagnostics.models_of_users import GIVEN, LOOKS, Holder, X, layered, model, reported


@contextmanager
def beside(act):
    """Let another thread do something again and again meanwhile."""
    ended = threading.Event()

    def go():
        while not ended.is_set():
            act()

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def keep(m):
    """Keep a count from call to call, which is found, and the random numbers are looked at."""
    m.count += 1
    return torch.tensor(m.count)


def fail(_):
    """Run no further."""
    raise KeyError


#: What models do beside a thread that draws.
BESIDE = {
    "draws from its own": lambda m: torch.rand(1, generator=m.own),
    "draws, too": lambda _: torch.rand(1),
    "keeps a count": keep,
    "fails": fail,
}


@pytest.mark.parametrize("name", BESIDE)
def test_no_number_comes_twice(name):
    """Another thread draws on as if alone, whatever the model does."""
    drawn = []
    more = threading.Event()

    def draw():
        """Draw from each source as many bits as never come twice by chance."""
        drawn.extend(torch.randint(2**62, (2,)).tolist())
        drawn.extend([random.getrandbits(128), *np.random.randint(2**62, size=2)])  # noqa: NPY002
        more.set()

    def act(m):
        for _ in range(2):  # what ends the second time began in this run
            more.clear()
            assert more.wait(60)
        return BESIDE[name](m)

    with beside(draw):
        for look in (reported, *LOOKS[1:]):
            with suppress(KeyError):
                look(Holder(act, own=torch.Generator().manual_seed(0), count=0), X)

    assert len(drawn) > 15
    assert len(drawn) == len({*drawn})


#: What models draw from the process, and from which source.
DRAWS = {
    "torch": ("torch", lambda: torch.rand(1)),
    "dropout": ("torch", lambda: nn.functional.dropout(torch.ones(6), 0.5)),
    "python": ("random", lambda: torch.tensor(random.uniform(0, 1))),  # noqa: S311
    "python, by a name from before": ("random", lambda draw=random.random: torch.tensor(draw())),
    "numpy": ("numpy.random", lambda: torch.tensor(np.random.normal(0, 1))),  # noqa: NPY002
    "a seed": ("torch", lambda: torch.manual_seed(7) and torch.rand(1)),
}


@pytest.mark.unhooked("beartype draws from Python's numbers")
@pytest.mark.parametrize("name", DRAWS)
def test_each_run_draws_the_same(name):
    """A model's numbers are the same in each run, and put back, also beside a thread that waits."""
    source, draw = DRAWS[name]
    works = Holder(lambda _: draw())
    fails = Holder(lambda m: (draw(), fail(m)))
    for other in (nullcontext(), beside(partial(time.sleep, 0.01))):
        with other:
            before = random_sources()[source].get_state()
            report = rnnkit.verify(works, X, skip=["repeatable"])
            with session(works) as opened:
                first, again = (opened.run(GIVEN)[0] for _ in range(2))
                assert opened.drawn == {source}
            with suppress(KeyError):
                rnnkit.verify(fails, X)
            assert equal(before, random_sources()[source].get_state())
        assert {"batch", "alone"} <= {*report.checked}
        assert torch.equal(first, again)


@pytest.mark.slow
def test_training_in_another_thread():
    """A model that trains in another thread learns as alone, and is accused of nothing."""

    def compute(m, x):
        m.count += 1
        return m.gru(m.drop(m.norm(x.mT).mT))[0]

    model = layered(compute, norm=nn.BatchNorm1d(3), drop=nn.Dropout(0.5), count=0)
    steps = 0

    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def train():
        nonlocal steps
        assert model.training
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        steps += 1

    with beside(train):
        for _ in range(15):
            assert "batch" in rnnkit.verify(model, X, skip=["alone", "use", "memory"]).checked

    assert all(module.training for module in model.modules())
    assert model.count == steps == model.norm.num_batches_tracked


def test_modules_in_threads():
    """Calls of modules that overlap in time, in threads of the model, are written down by thread."""

    def after(m, x, wait):
        wait()
        return m.linear(x)

    def forward(m, x):
        begun = threading.Event()
        ended = threading.Event()
        made = []

        def begin():
            thread.start()
            begun.wait()

        def end():
            begun.set()
            ended.wait()

        thread = threading.Thread(target=lambda: made.append(m.inner(x, end)))
        y = m.outer(x, begin)
        ended.set()
        thread.join()
        return m.gru(y + made[0])[0]

    outer, inner = (model(after, linear=nn.Linear(3, 3)) for _ in range(2))

    assert "use" in rnnkit.verify(layered(forward, outer=outer, inner=inner), X).checked


def printed(script):
    """Run a script in a process of its own, and return what it prints."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


@pytest.mark.slow
def test_what_a_process_pays():
    """Its first alarm imports no compiler, which takes seconds; a large model is held once more.

    So it is however often the model runs.
    """
    script = """
import resource, sys, torch, rnnkit
from torch import nn
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.wide = nn.Parameter(torch.ones(90_000_000))
        self.data = torch.ones(10_000_000)
    def forward(self, x):
        return self.gru(x)[0] * self.wide[0] + self.data[0]
model, x = Model(), torch.randn(4, 7, 3)
try:
    rnnkit.verify(nn.GRU(3, 4), x)
except rnnkit.LeakError:
    rnnkit.verify(nn.GRU(3, 4, batch_first=True), x, causal=True)
print([name for name in ("torch._dynamo", "sympy", "torch._inductor") if name in sys.modules])
before = peak()
rnnkit.verify(model, x)
print((peak() - before) / 400e6)
"""
    imported, held = printed(script).splitlines()

    assert imported == "[]"
    assert float(held) < 1.1
