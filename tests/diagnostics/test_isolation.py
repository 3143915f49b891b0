"""The model is never run: whatever happens meanwhile, to it and around it, is no matter."""

import os
import random
import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.events import Recorder
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import Given
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)


def trainee() -> Model:
    """Make a model with all that changes while it is trained."""

    def compute(m: Any, x: Tensor) -> Tensor:
        m.calls += 1
        return m.head(m.drop(m.norm(m.gru(x)[0].transpose(1, 2)).transpose(1, 2)))

    model = Model(
        compute,
        gru=nn.GRU(FEATURE, HIDDEN, batch_first=True),
        norm=nn.BatchNorm1d(HIDDEN),
        drop=nn.Dropout(0.5),
        head=nn.Linear(HIDDEN, 2),
    )
    model.calls = 0
    return model


@pytest.mark.slow
def test_training_in_another_thread():
    """A model that trains in another thread learns as alone, and is accused of nothing."""
    model = trainee()
    steps = 0
    verified = threading.Event()

    def go():
        nonlocal steps
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        while not verified.is_set():
            assert model.training
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()
            steps += 1

    thread = threading.Thread(target=go)
    thread.start()
    try:
        for _ in range(100):
            assert "batch" in rnnkit.verify(model, X, skip=["alone", "use", "memory"]).checked
    finally:
        verified.set()
        thread.join()

    assert all(module.training for module in model.modules())
    assert model.calls == steps == model.norm.num_batches_tracked


class Interrupt:
    """Raises KeyboardInterrupt after so many lines of Python."""

    def __init__(self, lines: int):
        """Count down from there."""
        self.left = lines

    def __call__(self, *_: Any) -> Any:
        """Count a line."""
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self

    def during(self, model: nn.Module) -> "Interrupt":
        """Run verify."""
        trace = sys.gettrace()
        sys.settrace(self)
        try:
            rnnkit.verify(model, X[:2], skip=["alone", "use", "memory"])
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(trace)
        return self


def interrupt_anywhere():
    """Interrupt verify at random lines: the model is as it was, to the last bit."""
    torch.set_num_threads(1)
    torch.manual_seed(2026)
    model = trainee()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grads = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    held = {name: dict(vars(module)) for name, module in model.named_modules()}
    Interrupt(-1).during(model)  # what is done once in a process
    most = -Interrupt(-1).during(model).left
    generator = random.Random(1)  # noqa: S311
    for _ in range(200):
        assert Interrupt(generator.randint(1, most * 9 // 10)).during(model).left <= 0
        torch.nn.modules.module._global_forward_pre_hooks.clear()  # of one in the last line
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(weight.grad, grads[name]) for name, weight in model.named_parameters())
    for name, module in model.named_modules():
        assert vars(module).keys() == held[name].keys()
        assert all(vars(module)[key] is value for key, value in held[name].items())


@pytest.mark.slow
@pytest.mark.unhooked("a trace function is for the lines of the package, not of its checks")
def test_interrupted_anywhere():
    """Wherever it is interrupted, the model is as it was.

    In a process of its own: an interrupt in torch's lines may leave torch's modes switched off.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(  # noqa: S603 - this file
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_way_past_the_copy_is_said():
    """A model that calls itself by way of a global is not judged, which the head line says."""
    model = Model(lambda m, x: GLOBAL.norm(x), norm=nn.LayerNorm(FEATURE))  # noqa: ARG005
    global GLOBAL  # noqa: PLW0603
    GLOBAL = model
    report = rnnkit.verify(model, X)

    assert not report.judged
    assert str(report).splitlines()[0].rpartition(" (")[0] == snapshot(
        "rnnkit.verify: nothing was judged: forward calls model.norm, and not its copy, by way of a closure, a global or a weak reference: only a copy is run"
    )
    with pytest.raises(rnnkit.ArgumentError, match="a closure, a global or a weak reference"):
        rnnkit.trace(model, X)
    with pytest.raises(rnnkit.ArgumentError, match="a closure, a global or a weak ref") as caught:
        rnnkit.dependency_map(model, X)
    assert caught.value.code == "model-escaped"
    assert str(caught.value).endswith("\n  more      python -m rnnkit explain model-escaped")


GLOBAL: Any = None


@pytest.mark.slow
def test_first_alarm_imports_no_compiler():
    """The first alarm of a process needs no compiler, which takes seconds to import."""
    script = """
import sys, torch, rnnkit
x = torch.randn(5, 7, 3)
try:
    rnnkit.verify(torch.nn.GRU(3, 4), x)
except rnnkit.LeakError:
    rnnkit.verify(torch.nn.GRU(3, 4, batch_first=True), x, causal=True)
print([name for name in ("torch._dynamo", "sympy", "torch._inductor") if name in sys.modules])
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_memory_of_a_large_model():
    """Beside the model, its weights are held once more, however often it runs."""
    script = """
import resource, torch, rnnkit
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
rnnkit.verify(nn.GRU(3, 4, batch_first=True), x)
before = peak()
rnnkit.verify(model, x)
print((peak() - before) / 400e6)
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert float(done.stdout) < 1.1


def test_weights_are_not_written_down():
    """A search for a leak copies what functions return, but no weight that a loop transposes."""

    def loop(m: Any, x: Tensor) -> Tensor:
        h = x[:, 0]
        for x_t in x.unbind(1):
            h = torch.tanh(x_t + h @ m.part.weight.t())
        return h

    recorder = Recorder(functions=True)
    part = nn.Linear(FEATURE, FEATURE)
    Session(Model(loop, part=part)).run(Given((X,), {}), watch=recorder.watch)

    assert [event.name for event in recorder.events].count("tanh") == X.shape[1]
    assert "t" not in [event.name for event in recorder.events]


if __name__ == "__main__":
    interrupt_anywhere()
