"""Copies of what is neither module nor tensor; and what a run leaves as it was."""

import copy
import enum
import random
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.isolation import Given, session
from tests.diagnostics.held import Frozen, Holder, X, twice


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


@pytest.mark.unhooked("beartype draws what it looks at of a list: a run more")
def test_numbers_that_are_none() -> None:
    """A weight that is not a number is the same weight afterwards, not one that was written."""
    model = Holder()
    model.gru.bias_hh_l0.data[0] = torch.nan
    with session(model) as opened:
        opened.run(Given((X,), {}))
        assert opened.passes == 1
