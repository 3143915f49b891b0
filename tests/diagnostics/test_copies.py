"""Copies of a model: what they have of their own, and what in common."""

import copy
import enum
import functools
import io
import random
import threading
import types
import warnings
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import DataLoader

import rnnkit
from rnnkit._diagnostics import isolation, pristine
from rnnkit._diagnostics.isolation import EscapedError, Given, session

X = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(1))


class Holder(nn.Module):
    """A layer, and whatever a test lets it hold and do."""

    def __init__(self, act: Callable[[Any], Any] = lambda m: None, **held: Any) -> None:  # noqa: ARG005
        """Hold it."""
        super().__init__()
        self.gru = nn.GRU(3, 6, batch_first=True)
        self.act = act
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Act, then run; what acting gives is added."""
        acted = self.act(self)
        y: Tensor = self.gru(x)[0]
        return y + acted if isinstance(acted, Tensor) else y


def twice(model: nn.Module, *inputs: Any) -> isolation.Session:
    """Run a model twice, which gives the same."""
    with session(model) as opened:
        first, again = (opened.run(Given(inputs or (X,), {})) for _ in range(2))
    assert all(map(torch.equal, first, again))
    return opened


def test_weights_are_in_common() -> None:
    """Copies have the weights in common, in memory of their own; each its own parameters."""
    model = Holder()
    with session(model) as opened:
        one, other = (opened.pristine.copy()[0] for _ in range(2))
    for mine, first, second in zip(*(m.parameters() for m in (model, one, other)), strict=True):
        assert torch.equal(mine, first)
        assert first.data_ptr() == second.data_ptr() != mine.data_ptr()
        assert first is not second
        assert type(first) is nn.Parameter


def test_memory_stays_one() -> None:
    """Weights that share one piece of memory share one in a copy, with what else is there."""
    flat = torch.randn(12)
    model = Holder(held=flat)
    model.part = nn.Linear(3, 4, bias=False)
    model.part.weight.data = flat.view(4, 3)
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]
    assert copy.part.weight.data_ptr() == copy.held.data_ptr() != flat.data_ptr()


def test_small_weight_of_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small weight that is in data is copied without the rest."""
    monkeypatch.setattr(pristine, "DATA", 100)
    model = Holder()
    model.part = nn.Linear(3, 4, bias=False)
    model.part.weight.data = torch.zeros(2**20)[:12].view(4, 3)
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]
    assert copy.part.weight.untyped_storage().nbytes() == 48


WRITES: dict[str, Callable[[Any], Any]] = {
    "weights": lambda m: m.gru.bias_hh_l0.add_(1),
    "data of weights": lambda m: m.gru.bias_hh_l0.data.add_(1),
    "large tensor": lambda m: m.large.add_(1),
    "data of a large tensor": lambda m: m.large.data.add_(1),
    "buffer": lambda m: m.buffer.add_(1),
    "sometimes": lambda m: m.unused.add_(1) if next(COUNT) % 2 else None,
}
COUNT = iter(range(1000))


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written(name: str) -> None:
    """What a run writes, by whatever way, the next one finds as it was."""
    model = Holder(
        lambda m: [WRITES[name](m), m.large.sum() + m.buffer.sum()][1],
        large=torch.zeros(2**18 + 1),
        unused=nn.Parameter(torch.ones(3)),
        buffer=nn.Buffer(torch.ones(3)),
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    twice(model)

    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.large.any()


def partial() -> Holder:
    """Make a model with a partial function of itself."""
    model = Holder()
    model.act = functools.partial(lambda m, _: m.gru(X)[0], model)
    return model


def bound() -> Holder:
    """Make a model with a method of its own in a table."""
    model = Holder()
    model.table = {"run": model.gru.forward, model.gru: 1}
    model.act = lambda m: m.table["run"](X)[0] * m.table[m.gru]
    return model


def weakly() -> Holder:
    """Make a model that knows itself by a weak reference."""
    model = Holder(lambda m: m.me().gru(X)[0])
    model.me = weakref.ref(model)
    return model


def replaced() -> Holder:
    """Make a model whose forward was replaced by a method of another function."""

    def forward(self: Any, x: Tensor) -> Any:
        return self.gru(x)[0] * 2

    model = Holder()
    model.forward = types.MethodType(forward, model)
    return model


def ringed() -> Holder:
    """Make a model with an object that holds a compiled wrapper of a module around it."""
    model = Holder(lambda m: m.gru.trainer.model(X)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.gru.trainer = SimpleNamespace(model=torch.compile(nn.Sequential(model.gru)))
    return model


@pytest.mark.parametrize("make", [partial, bound, replaced, weakly, ringed])
def test_ways_back(make: Any) -> None:
    """What leads back to the model leads to the copy in a copy."""
    twice(make())


def test_closure_over_the_model() -> None:
    """A closure is not copied: a model that calls itself by way of one is not run."""
    model = Holder()
    model.fn = lambda t: model.gru(t)[0]
    model.act = lambda m: m.fn(X)
    called: list[int] = []
    model.gru.register_forward_hook(lambda *_: called.append(1))
    with session(model) as opened, pytest.raises(EscapedError, match=r"calls model\.gru, and not"):
        opened.run(Given((X,), {}))

    assert called == []


def test_closure_that_a_later_run_reaches() -> None:
    """A way past the copy is noticed in whichever run it is taken, and whatever is raised then."""
    model = Holder()
    hidden = nn.GRU(3, 6)
    model.hidden = [hidden]

    def act(m: Any) -> Any:
        m.runs.append(1)
        if len(m.runs) < 3:
            return None
        try:
            return hidden(X)
        except rnnkit.ArgumentError as error:
            raise KeyError from error

    model.act, model.runs = act, [1]
    with session(model) as opened:
        opened.run(Given((X,), {}))
        with pytest.raises(EscapedError, match="calls a GRU of the model"):
            opened.run(Given((X,), {}), on=opened.last)


def test_ways_past_the_copy() -> None:
    """A model that calls itself by way of a global is not run, and that is said."""
    model = GLOBAL["model"] = Holder(lambda m: GLOBAL["model"].gru(X)[0])  # noqa: ARG005
    with session(model) as opened, pytest.raises(EscapedError, match=r"calls model\.gru, and not"):
        opened.run(Given((X,), {}))
    with session(model) as opened, pytest.raises(EscapedError):
        opened.attempt(Given((X,), {}))

    def swallow(_: Any) -> None:
        try:
            GLOBAL["model"](X)
        except rnnkit.ArgumentError:
            return

    model.act = swallow
    with session(model) as opened, pytest.raises(EscapedError, match="calls the model itself"):
        opened.run(Given((X,), {}))


GLOBAL: dict[str, Any] = {}


def test_other_threads_may_run_it() -> None:
    """Another thread may run the model itself meanwhile."""
    model = Holder()

    def act(_: Any) -> None:
        thread = threading.Thread(target=lambda: outputs.append(GLOBAL["model"].gru(X)))
        thread.start()
        thread.join()

    outputs: list[Any] = []
    GLOBAL["model"] = model
    model.act = act
    twice(model)

    assert len(outputs) == 3


class Frozen(dict[str, int]):
    """A mapping that refuses to be written, and so to be copied."""

    def __setitem__(self, key: str, value: int) -> None:
        """Refuse."""
        raise TypeError(key, value)


SHARED: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "file": io.StringIO,
    "generator": lambda: (k for k in range(3)),
    "loader": lambda: DataLoader([1, 2]),
    "system": random.SystemRandom,
    "mapping": lambda: Frozen({"a": 1}),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared(name: str) -> None:
    """What cannot be copied is shared, and the session says what."""
    held = SHARED[name]()
    model = Holder(lambda m: None if m.held is held else 1 / 0, held=held, outer=[{"a": held}])

    assert twice(model).pristine.shared == ["held"]


def test_modules_of_python_are_shared() -> None:
    """A module of Python's is no part of a model, and not worth a word."""
    assert twice(Holder(held=np)).pristine.shared == []


def test_data_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors and arrays that are larger than the model are data, and not copied."""
    monkeypatch.setattr(pristine, "DATA", 100)
    held = torch.zeros(1000)
    array = np.zeros(1000)
    model = Holder(held=held, part=SimpleNamespace(array=array, small=np.zeros(3)))
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]

    assert copy.held.data_ptr() == held.data_ptr()
    assert copy.part.array is array
    assert copy.part.small is not model.part.small
    assert opened.pristine.shared == ["held", "array"]


class Refuses(nn.Linear):
    """A module that cannot be copied, as a sharded one."""

    def __deepcopy__(self, memo: Any) -> Any:
        """Refuse."""
        message = "no deepcopy"
        raise AssertionError(message)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Sequential(Refuses(3, 3))), "model.1.0"),
        (lambda: Refuses(3, 3), "the model"),
    ],
)
def test_module_that_cannot_be_copied(make: Any, name: str) -> None:
    """A module that refuses to be copied is named, with what to do."""
    with pytest.raises(rnnkit.ArgumentError) as error, session(make()):
        pass

    assert str(error.value) == (
        f"{name} (Refuses) cannot be copied, and the model itself is never run: no deepcopy; "
        "give the model as it was before it was wrapped or sharded"
    )


def fake() -> Tensor:
    """Make a tensor without numbers."""
    with FakeTensorMode():
        return torch.ones(3)


def inference() -> Tensor:
    """Make a tensor that counts no versions."""
    with torch.inference_mode():
        return torch.ones(3)


def quantized() -> Tensor:
    """Make a tensor of few bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


def compressed() -> Tensor:
    """Make a tensor in rows of numbers that are not zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.eye(3).to_sparse_csr()


def freed() -> Tensor:
    """Make a tensor whose memory was given back."""
    tensor = torch.ones(1000)
    tensor.untyped_storage().resize_(0)
    return tensor


KINDS: dict[str, Callable[[], Tensor]] = {
    "fake": fake,
    "inference": inference,
    "meta": lambda: torch.ones(3, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": compressed,
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "mkldnn": lambda: torch.ones(3).to_mkldnn(),
    "quantized": quantized,
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "expanded": lambda: torch.zeros(2, 1).expand(2, 3),
    "part of much": lambda: torch.zeros(2**21)[:3],
    "freed": freed,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("as_parameter", [False, True])
def test_tensors_of_all_kinds(name: str, as_parameter: bool) -> None:
    """A tensor of any kind is copied, as a parameter and beside, and none ends the process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = KINDS[name]()
        held = nn.Parameter(tensor, requires_grad=False) if as_parameter else tensor
        model = Holder(held=held)
        with session(model) as opened:
            copy: Any = opened.pristine.copy()[0]
            opened.run(Given((X,), {}))

    assert copy.held is not held
    assert held.is_nested or copy.held.shape == held.shape
    assert copy.held.layout is held.layout
    assert type(copy.held) is type(held)


class Tagged(nn.Parameter):
    """A parameter of somebody's own class."""


def test_parameter_of_a_class() -> None:
    """A parameter keeps its class, its attributes, and whether it wants a gradient."""
    weight = Tagged(torch.ones(3), requires_grad=False)
    weight.tag = "a"
    model = Holder(held=weight, plain=torch.ones(3, requires_grad=True))
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]

    assert type(copy.held) is Tagged
    assert copy.held.tag == "a"
    assert not copy.held.requires_grad
    assert copy.plain.requires_grad


def prepared(kind: str) -> nn.Module:
    """Make a part with a tensor that hangs on a graph."""
    part: Any = nn.Linear(3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "normalised":
            nn.utils.weight_norm(part)
        elif kind == "pruned":
            torch.nn.utils.prune.l1_unstructured(part, "weight", 1)
        elif kind == "parametrized":
            part = nn.LSTM(3, 3)
            nn.utils.parametrizations.weight_norm(part, "weight_hh_l0")
        elif kind == "cached":
            part.held = nn.GRU(3, 3)(X)[1]
        elif kind == "spectral":
            nn.utils.parametrizations.spectral_norm(part)
    part(X)
    return part


@pytest.mark.parametrize("kind", ["normalised", "pruned", "parametrized", "cached", "spectral"])
def test_tensors_on_a_graph(kind: str) -> None:
    """A tensor that hangs on a graph, which Python refuses to copy, is copied without that."""
    part = prepared(kind)
    model = Holder(lambda m: m.part(X)[0].sum(), part=part)
    twice(model)
    part(X)[0].sum().backward()

    assert next(part.parameters()).grad is not None


def test_optimizer_inside() -> None:
    """An optimizer that a model holds writes copies."""
    model = Holder()
    model.optimizer = torch.optim.Adam(model.parameters())
    model(X).sum().backward()
    model.optimizer.step()

    def act(m: Any) -> None:
        with torch.enable_grad():
            m.optimizer.zero_grad()
            m.gru(X)[0].sum().backward()
        m.gru.requires_grad_(requires_grad=False)
        m.optimizer.step()

    model.act = act
    weight = model.gru.weight_hh_l0
    before, grad = weight.detach().clone(), weight.grad
    twice(model)

    assert torch.equal(weight, before)
    assert weight.grad is grad
    assert weight.requires_grad
    assert model.optimizer.state[weight]["step"] == 1


def test_scripted_and_compiled_parts() -> None:
    """What was compiled is copied, too."""
    model = Holder(lambda m: m.scripted(X).sum() + m.compiled(X).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.scripted = torch.jit.script(nn.Linear(3, 3))
        model.compiled = torch.compile(nn.Linear(3, 3))
        twice(model)
        twice(torch.compile(model))


class Grows:
    """Something that lets what holds it grow when it is copied, for so many times."""

    def __init__(self, times: int) -> None:
        """Grow later."""
        self.times, self.held = times, dict[str, Any]()

    def __reduce__(self) -> Any:
        """Grow."""
        if self.times:
            self.times -= 1
            self.held[f"{self.times}"] = 1
        return int, ()


def growing(times: int) -> Holder:
    """Make a model with a container that another thread, say, changes while it is copied."""
    grows = Grows(times)
    grows.held.update(a=grows, b=grows)
    return Holder(held=grows.held)


def test_container_that_grows_meanwhile() -> None:
    """What another thread changes while it is copied is copied again."""
    assert len(twice(growing(3)).model.held) == 2 + 3


def test_container_that_grows_for_ever() -> None:
    """What is changed each time it is copied cannot be copied."""
    with (
        pytest.raises(rnnkit.ArgumentError, match=r"the model .* changed size"),
        session(growing(99)),
    ):
        pass


def test_parts_that_are_made_anew() -> None:
    """Of what refuses, and is another object each time, the owner is shared."""
    model = Holder(held=Remakes())

    assert twice(model).last.held is model.held


class Remakes:
    """An object that is written down as one that cannot be read."""

    def __reduce__(self) -> Any:
        """Make one."""
        return list, ([Frozen({"a": 1})],)


class Colour(enum.Enum):
    """What is one object for each value."""

    RED = 1


class Counts:
    """An object that copies itself, and counts; or refuses to."""

    def __init__(self, count: int | None, held: Any = None) -> None:
        """Begin with a count."""
        self.count, self.held = count, held

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy it with what it holds, if it has a count."""
        if self.count is None:
            raise TypeError
        return Counts(self.count, copy.deepcopy(self.held, memo))


def test_objects_that_copy_themselves() -> None:
    """What copies itself is asked to, with the copies of tensors at hand; else it is shared."""

    def act(m: Any) -> Tensor:
        m.counts.count += 1
        m.counts.held.add_(m.counts.count)
        return m.gru.bias_hh_l0[0] + m.colours[Colour.RED] + m.kinds[1]

    model = Holder(act, colours={Colour.RED: 1}, kinds=(len, 1j.real, 1j, int | str, [X.dtype]))
    model.refuses = Counts(None)
    model.counts = Counts(1, model.gru.bias_hh_l0)
    before = model.gru.bias_hh_l0.detach().clone()
    opened = twice(model)

    assert model.counts.count == 1
    assert opened.last.counts.held is opened.last.gru.bias_hh_l0
    assert opened.last.refuses is model.refuses
    assert opened.pristine.shared == ["Counts"]
    assert torch.equal(model.gru.bias_hh_l0, before)


def test_graph_module() -> None:
    """A traced module, which copies itself, has its weights in common with other copies."""
    model = Holder(lambda m: m.traced(X), traced=torch.fx.symbolic_trace(nn.Linear(3, 6)))
    opened = twice(model)

    assert opened.last.traced.weight.data_ptr() != model.traced.weight.data_ptr()
    assert opened.last.traced.weight.data_ptr() == opened.model.traced.weight.data_ptr()


def test_weak_references_elsewhere() -> None:
    """A weak reference to what is no part of the model stays."""
    other = Colour.RED, nn.Linear(3, 3)
    model = Holder(refs=[*map(weakref.ref, other)])

    assert [ref() for ref in twice(model).last.refs] == [*other]


def test_weights_written_by_a_run_that_fails() -> None:
    """What a run has written is put right when it has raised, too."""

    def act(m: Any) -> None:
        if m.fails:
            m.gru.bias_hh_l0.add_(1)
            raise KeyError

    model = Holder(act, fails=False)
    with session(model) as opened:
        first = opened.run(Given((X,), {}))
        opened.last.fails = True
        with pytest.raises(KeyError):
            opened.run(Given((X,), {}), on=opened.last)
        assert torch.equal(first[0], opened.run(Given((X,), {}))[0])


def test_mode_that_merges_weights() -> None:
    """A module whose eval mode writes its weights has them so in each run, and once only."""

    class Merges(nn.Linear):
        def train(self, mode: bool = True) -> Any:
            self.weight.data.mul_(2)
            return super().train(mode)

    model = Holder(lambda m: m.part(X[..., :3]).sum(), part=Merges(3, 3))
    expected = model.part.weight.detach() * 2
    opened = twice(model)

    assert torch.equal(opened.last.part.weight, expected)
    assert torch.equal(model.part.weight * 2, expected)


def test_random_numbers_are_put_back() -> None:
    """Random numbers are seeded and put back where a run draws any, and left alone elsewhere."""
    model = Holder(lambda m: torch.rand(1))  # noqa: ARG005
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    assert twice(model).chance.drawn >= {"torch"}
    model.act = lambda _: torch.tensor(np.random.rand())  # noqa: NPY002
    assert twice(model).chance.drawn >= {"numpy.random"}
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[2][1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_numbers_that_are_none() -> None:
    """A weight that is not a number is the same weight afterwards, not one that was written."""
    model = Holder()
    model.gru.bias_hh_l0.data[0] = torch.nan
    with session(model) as opened:
        opened.run(Given((X,), {}))
        assert opened.passes == 2
