"""Copies of a model: what each has by itself, and what they share; tensors and modules of all kinds."""

from contextlib import suppress

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import rnnkit
from rnnkit._diagnostics.run.copies import Pristine
from rnnkit._diagnostics.run.isolation import session
from tests.diagnostics.models_of_users import GIVEN, Holder, X, gru, twice


def freed():
    """Make a tensor whose memory was given back."""
    tensor = torch.ones(1000)
    tensor.untyped_storage().resize_(0)
    return tensor


TENSORS = {
    "fake": lambda: FakeTensorMode().from_tensor(torch.ones(3)),
    "inference": torch.inference_mode()(lambda: torch.ones(3)),
    "meta": lambda: torch.ones(3, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "mkldnn": lambda: torch.ones(3).to_mkldnn(),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "expanded": lambda: torch.zeros(2, 1).expand(2, 3),
    "part of much": lambda: torch.zeros(2**21)[:3],
    "not a number": lambda: torch.full((3,), torch.nan),
    "on a graph": lambda: nn.GRU(3, 3)(X)[1],
    "freed": freed,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_all_kinds(name):
    """A tensor of any kind is copied, as a parameter and beside, and none ends the process."""
    for as_parameter in (False, True):
        tensor = TENSORS[name]()
        held = nn.Parameter(tensor, requires_grad=False) if as_parameter else tensor
        copy = twice(Holder(held=held)).last

        assert (copy.held is held) == (name == "freed")
        assert held.is_nested or copy.held.shape == held.shape
        assert copy.held.layout is held.layout
        assert type(copy.held) is type(held)


class Tagged(nn.Parameter):
    """A parameter of a user's class."""


def test_weights_are_in_common():
    """Copies share the weights, in memory of their own; each has its own parameters."""
    tagged = Tagged(torch.ones(3), requires_grad=False)
    tagged.tag = "a"
    memory = torch.zeros(4)
    model = Holder(tagged=tagged, plain=torch.ones(3, requires_grad=True), memory=memory)
    model.view = memory[1:]
    model.same = model.gru.weight_hh_l0
    pristine = Pristine(model)
    copy = pristine.copy()
    other = pristine.copy()
    for mine, first, second in zip(*(m.parameters() for m in (model, copy, other)), strict=True):
        assert torch.equal(mine, first)
        assert first.data_ptr() == second.data_ptr() != mine.data_ptr()
        assert first is not second
        assert type(first) is type(mine)
    assert (copy.tagged.tag, copy.tagged.requires_grad, copy.plain.requires_grad) == ("a", 0, 1)
    assert copy.same is copy.gru.weight_hh_l0
    assert copy.view.add_(1).sum() == copy.memory.sum() == 3
    assert not memory.any()


COUNT = iter(range(1000))

#: What a run writes into: weights, and tensors that are so large that runs share them.
WRITES = {
    "weights": lambda m: m.gru.bias_hh_l0.add_(1),
    "data of weights": lambda m: m.gru.bias_hh_l0.data.add_(1),
    "large tensor": lambda m: m.large.add_(1),
    "data of a large tensor": lambda m: m.large.data.add_(1),
    "sometimes": lambda m: m.unused.add_(1) if next(COUNT) % 2 else None,
    "in training": lambda m: [m.gru.bias_hh_l0.data.add_(1)] if m.training else None,
    "before it fails": lambda m: (m.gru.bias_hh_l0.add_(1), 1 / (next(COUNT) % 2)),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written(name):
    """What a run writes into what runs share, by whatever way, the next one finds as it was."""

    def act(m):
        WRITES[name](m)
        return m.large.sum()

    model = Holder(
        act,
        large=torch.zeros(2**18 + 1),
        unused=nn.Parameter(torch.ones(3)),
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with session(model) as opened:
        runs = [opened.attempt(GIVEN) for _ in range(3)]
        with opened.watched(), torch.no_grad(), suppress(ZeroDivisionError):
            opened.pristine.copy().train()(X)
        runs += [opened.attempt(GIVEN) for _ in range(2)]
    first, *rest = [run[0] for run in runs if run is not None]

    assert rest
    assert all(torch.equal(first, other) for other in rest)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.large.any()


def test_nothing_is_written():
    """The first run counts if it writes and draws nothing, also where weights are NaN."""
    model = Holder()
    model.gru.bias_hh_l0.data[0] = torch.nan
    with session(model) as opened:
        opened.run(GIVEN)
    assert opened.tally.passes == 1


#: What makes a layer hold a tensor on a graph, which Python refuses to copy.
ON_A_GRAPH = {
    "normalised": nn.utils.weight_norm,
    "pruned": lambda part: torch.nn.utils.prune.l1_unstructured(part, "weight", 1),
    "parametrized": nn.utils.parametrizations.weight_norm,
    "spectral": nn.utils.parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ON_A_GRAPH)
def test_modules_with_tensors_on_a_graph(kind):
    """Such a module is copied, and its graph stays with the model."""
    part = nn.Linear(3, 3)
    ON_A_GRAPH[kind](part)
    part(X)
    twice(Holder(lambda m: m.part(X).sum(), part=part))
    part(X).sum().backward()

    assert next(part.parameters()).grad is not None


class Merges(nn.Linear):
    """A module whose eval mode writes its weights."""

    def train(self, mode=True):
        """Write."""
        self.weight.data.mul_(2)
        return super().train(mode)


@pytest.mark.filterwarnings("ignore")
def test_modules_that_are_compiled_traced_or_merged():
    """A module that copies itself, or is no longer Python's, is copied; eval mode comes once."""
    traced = torch.fx.symbolic_trace(nn.Linear(3, 6))
    model = Holder(lambda m: m.traced(X) + m.part(X).sum() + m.scripted(X).sum(), traced=traced)
    model.scripted = torch.jit.script(nn.Linear(3, 3))
    model.part = Merges(3, 3)
    expected = model.part.weight.detach() * 2
    opened = twice(torch.compile(Holder(lambda m: m.inner(X).sum(), inner=model)))
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
        self.rnn = gru()
        self.scale = nn.Parameter(torch.ones(6), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return self.rnn(x)[0] * self.scale


def scripted_method():
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
def test_scripted_modules(make):
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
