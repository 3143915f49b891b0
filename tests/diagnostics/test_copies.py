"""Copies of a model: what they have of their own, and what in common."""

import functools
import gc
import io
import random
import threading
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
from rnnkit._diagnostics import isolation, pristine, tensors
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
    """Weights that lie in one piece of memory do so in a copy, with what else lies there."""
    flat = torch.randn(12)
    model = Holder(held=flat)
    model.part = nn.Linear(3, 4, bias=False)
    model.part.weight.data = flat.view(4, 3)
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]
    assert copy.part.weight.data_ptr() == copy.held.data_ptr() != flat.data_ptr()


def test_small_weight_of_much_memory() -> None:
    """Of much memory, a small weight is copied alone."""
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


def closed() -> Holder:
    """Make a model with a closure over itself, of a function in a list and a default."""
    model = Holder()
    inner = [lambda t, m=model: m.gru(t)[0]]
    model.fn = lambda t: inner[0](t) + model.gru(t)[0]
    model.act = lambda m: m.fn(X)
    return model


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


def unfilled() -> Holder:
    """Make a model with a function one of whose variables has no value."""
    model = Holder()

    def act(m: Any, read: bool = False) -> Any:
        return later if read else m.gru(X)[0] + model.gru(X)[0]

    model.act = act
    if gc.isenabled() is None:
        later = 1
    return model


@pytest.mark.parametrize("make", [closed, partial, bound, weakly, unfilled])
def test_ways_back(make: Any) -> None:
    """Functions that lead back to the model lead to the copy; the model itself is not called."""
    model = make()
    called: list[int] = []
    model.register_forward_pre_hook(lambda *_: called.append(1))
    model.norm = nn.BatchNorm1d(1)
    twice(model)

    def refuse(*_: Any) -> None:
        raise AssertionError

    handle = model.gru.register_forward_pre_hook(refuse)
    handle.remove()


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

    assert twice(model).pristine.shared in (["held"], ["outer[0].a"])


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
    assert opened.pristine.shared == ["part.array", "held"]


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


def test_container_that_grows_meanwhile() -> None:
    """What another thread changes while it is copied is copied again."""

    class Grows:
        tries = 0

        def __reduce_ex__(self, _: Any) -> Any:
            Grows.tries += 1
            if Grows.tries == 2:
                message = "dictionary changed size during iteration"
                raise RuntimeError(message)
            return Grows, ()

    twice(Holder(held=Grows()))
    assert Grows.tries > 3


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
    assert tensors.same_bits(torch.tensor([torch.nan, 1]), torch.tensor([torch.nan, 1]))
    assert not tensors.same_bits(torch.tensor([torch.nan, 1]), torch.tensor([torch.nan, 2]))
