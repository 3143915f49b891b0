"""Copies of modules that are no longer Python's: compiled, traced, merged or scripted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.copies import Pristine
from tests.diagnostics.models_of_users import Holder, numbers, twice

X = numbers(4, 7, 3)


class Merges(nn.Linear):
    """A module whose eval mode writes its weights."""

    def train(self, mode: bool = True) -> Any:
        """Write."""
        self.weight.data.mul_(2)
        return super().train(mode)


@pytest.mark.filterwarnings("ignore")
def test_modules_that_are_compiled_traced_or_merged():
    """A module that copies itself, or is no longer Python's, is copied; eval mode comes once."""
    traced: Any = torch.fx.symbolic_trace(nn.Linear(3, 6))
    model = Holder(lambda m: m.traced(X) + m.part(X).sum() + m.scripted(X).sum(), traced=traced)
    model.scripted = torch.jit.script(nn.Linear(3, 3))
    model.part = Merges(3, 3)
    expected = model.part.weight.detach() * 2
    opened: Any = twice(torch.compile(Holder(lambda m: m.inner(X).sum(), inner=model)))
    last = opened.last.inner

    assert last.traced.weight.data_ptr() != traced.weight.data_ptr()
    assert last.traced.weight.data_ptr() == opened.model.inner.traced.weight.data_ptr()
    assert torch.equal(last.part.weight, expected)
    assert torch.equal(model.part.weight * 2, expected)


class Inner(nn.Module):
    """A module that is scripted as a whole."""

    def __init__(self):
        """Make it."""
        super().__init__()
        self.rnn = nn.GRU(3, 6, batch_first=True)
        self.scale = nn.Parameter(torch.ones(6), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return self.rnn(x)[0] * self.scale


def scripted_method() -> Any:
    """Make a module with a method that is scripted."""

    class Scripted(torch.jit.ScriptModule):
        def __init__(self):
            super().__init__()
            self.inner = Inner()
            self.weight = nn.Parameter(torch.ones(6))

        @torch.jit.script_method
        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.weight

    return Scripted()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("make", [scripted_method, lambda: torch.jit.script(Inner())])
def test_scripted_modules(make: Callable[[], Any]):
    """A scripted module is judged without a warning, and its copies are on no graph."""
    scripted = make()
    for model in (scripted, Holder(lambda m: m.inner(X), inner=scripted)):
        assert {"batch", "gradient"} <= {*rnnkit.verify(model, X).checked}
        assert rnnkit.dependency_map(model, X).finding == "each depends on its own input alone"
        rnnkit.trace(model, X)
        copied = Pristine(model).wider(torch.float64).copy()
        for mine, its in zip(model.parameters(), copied.parameters(), strict=True):
            assert its.is_leaf
            assert its.requires_grad == mine.requires_grad
            assert its.dtype is torch.float64
