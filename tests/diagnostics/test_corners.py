"""What a strange model does to the ways in which it is looked at."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.isolation import EscapedError, Given, session
from rnnkit._diagnostics.lengths import shortened
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import gru, said

X = numbers(BATCH, SEQ, FEATURE)


def test_cause_that_cannot_be_undone() -> None:
    """Where the model refuses what would undo it, no cause is named."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y, h = m.gru(x)
        assert h.shape[1] == x.shape[1]
        return y

    lines = said(Model(compute, gru=gru(batch_first=False)))
    assert "gru (GRU), output of call 0" in lines
    assert "cause" not in lines


class OutputOnly(nn.GRU):
    """A layer that keeps its state to itself."""

    def forward(self, *inputs: Any) -> Any:  # type: ignore[override]
        """Run."""
        return super().forward(*inputs)[0]


def test_layer_that_returns_its_output_alone() -> None:
    """A layer that returns its output alone is turned as any other."""
    layer = OutputOnly(FEATURE, HIDDEN)
    assert "batch_first=True" in said(Model(lambda m, x: m.gru(x), gru=layer))


def test_output_without_steps_beside() -> None:
    """An output that has no steps is no obstacle to the cause in one that has."""

    def compute(m: Any, x: Tensor) -> Any:
        y = m.gru(x)[0]
        return y, y.mean((1, 2))

    lines = said(Model(compute, gru=gru(bidirectional=True)), causal=True)
    assert "gru is bidirectional" in lines


def test_state_that_has_seen_it_all() -> None:
    """A bidirectional LSTM is undone with both members of its state; packed, too."""

    def compute(m: Any, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, [x.shape[1]] * len(x), batch_first=True)
        y, _ = nn.utils.rnn.pad_packed_sequence(m.lstm(packed)[0], batch_first=True)
        return y

    model = Model(compute, lstm=nn.LSTM(FEATURE, HIDDEN, batch_first=True, bidirectional=True))
    assert "lstm is bidirectional" in said(model, causal=True)


def test_leak_that_does_not_run_under_watch() -> None:
    """Of what cannot be watched, no function is named."""

    def compute(m: Any, x: Tensor) -> Tensor:
        if torch._C._len_torch_function_stack():
            message = "not under watch"
            raise RuntimeError(message)
        y: Tensor = m.gru(x)[0]
        return y + y.mean(0)

    lines = said(Model(compute, gru=gru()))
    assert "after gru, in what the model does with tensors itself" in lines
    assert "by  " not in lines


def test_leak_by_other_functions() -> None:
    """Where other values mean other functions, none is named."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y: Tensor = m.gru(x)[0]
        y = y * 1 if (x[0] == X[0]).all() else y + 0
        return y + y.mean(0)

    assert "by  " not in said(Model(compute, gru=gru()))


@pytest.mark.filterwarnings("ignore:`torch.jit")  # by another category in each version
def test_scripted_model_under_autocast() -> None:
    """What a ScriptModule computes in under autocast is known from autocast."""

    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(FEATURE, 33)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(x)
            return y.float()

    scripted = torch.jit.script(Scripted())
    with torch.autocast("cpu", torch.bfloat16):
        assert "batch" in rnnkit.verify(scripted, X).checked


@pytest.mark.parametrize("way", ["method", "partial", "table"])
def test_ways_back_in_closures(way: str) -> None:
    """A closure may lead to the model by a method, a partial function or a table: it is noticed."""
    model = Model(lambda m, x: m.act(x), gru=gru())
    held: Any = {
        "method": model.gru.forward,
        "partial": functools.partial(lambda m, x: m.gru(x), model),
        "table": {"layer": model.gru},
    }[way]

    def act(x: Tensor) -> Any:
        return (held["layer"] if way == "table" else held)(x)[0]

    model.act = act
    before = model.gru.weight_ih_l0.clone()

    if way == "method":
        # A forward that is called directly runs no hook; it reads the weights and writes nothing.
        rnnkit.verify(model, X, raises=False)
    else:
        with pytest.raises(EscapedError), session(model) as opened:
            opened.run(Given((X,), {}))
    assert torch.equal(before, model.gru.weight_ih_l0)


class Box:
    """A container that torch takes apart."""

    def __init__(self, *parts: Any) -> None:
        """Keep parts."""
        self.parts = parts


def test_container_that_is_registered() -> None:
    """The tensors of a container that is registered with torch are judged."""
    pytree.register_pytree_node(
        Box, lambda box: (list(box.parts), None), lambda parts, _: Box(*parts)
    )
    try:
        right = Model(lambda m, x: Box(m.gru(x)[0], 1), gru=gru())
        assert "batch" in rnnkit.verify(right, X).checked
    finally:
        pytree._deregister_pytree_node(Box)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_arguments_under_watch() -> None:
    """A nested tensor among the arguments of an operation is no obstacle to watching it."""

    def compute(m: Any, x: Tensor) -> Tensor:
        nested = torch.nested.nested_tensor(list(x.unbind(0)))
        y: Tensor = m.gru(nested.to_padded_tensor(0.0))[0]
        return y + 1e-6 * y.sum(0)

    assert "depends on input of sample" in said(Model(compute, gru=gru()))


def test_lengths_beside_inputs_without_an_axis() -> None:
    """A list of numbers beside the inputs, or an input of one sample, is no mask of lengths."""
    batch = Batch(Given((X, [1, 2]), {}), 0, None)
    batch.lengths = {0: [7, 5, 2, 3]}
    assert not batch.knows_lengths()
    mask = torch.ones(BATCH, SEQ)
    assert shortened(mask, [7, 5, 2, 3], 6) is mask


def test_step_that_may_not_be_changed() -> None:
    """A step that is not read, and may not be changed, is no finding."""
    allowed = torch.cat([X.flatten(), torch.zeros(1)])

    def compute(m: Any, x: Tensor) -> Tensor:
        assert torch.isin(x.nan_to_num(0.0), allowed).all()
        y: Tensor = m.gru(x[:, 1:])[0]
        return nn.functional.pad(y, (0, 0, 1, 0))

    assert "coverage" in rnnkit.verify(Model(compute, gru=gru()), X).checked


def test_lengths_of_which_none_is_compared() -> None:
    """If a short sample has another shape alone, the long ones do not stand for it."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        y: Tensor = m.gru(x)[0]
        y = (y * (torch.arange(x.shape[1]) < n.unsqueeze(1)).unsqueeze(2)).sum(1)
        return y if x.shape[1] == SEQ else y[:, :2]

    n = torch.tensor([SEQ, SEQ, 2])
    report = rnnkit.verify(Model(compute, gru=gru()), X[:3], n, lengths=n)
    assert "no sample that is shorter" in str(report).splitlines()[0]


def test_pooled_padding_that_loses_its_axis() -> None:
    """The cause is found where a sample alone has lost its axis, too."""
    n = torch.tensor([3, 7, 5, 2])
    model = Model(lambda m, x, n: m.gru(x)[0].mean(1).squeeze(), gru=gru())  # noqa: ARG005
    assert "padding is pooled" in said(model, X, n, lengths=n)


def test_padding_that_decides_shapes() -> None:
    """Where padding decides the shape of an output, nothing is compared."""
    n = torch.tensor([3, 7, 5, 2])
    valid = torch.arange(SEQ) < n.unsqueeze(1)

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        keep = torch.arange(x.shape[1]) < n.unsqueeze(1)
        y: Tensor = (m.gru(x)[0] * keep.unsqueeze(2)).sum(1)
        return y[:, :1] if bool(x[~keep].any()) else y

    report = rnnkit.verify(Model(compute, gru=gru()), X * valid.unsqueeze(2), n, lengths=n)
    assert "padding" not in report.checked


def test_input_through_which_it_happens() -> None:
    """Of several inputs with steps, the one that alone shows a later step is named."""
    model = Model(
        lambda m, a, b: m.one(a)[0] + m.two(b)[0],
        one=gru(),
        two=nn.GRU(3, 3, batch_first=True, bidirectional=True),
    )
    lines = said(model, X, X + 1, causal=True)
    assert "through    input 1;" in lines


def test_parameters_of_the_user() -> None:
    """A small part of much memory that wants a gradient does so in a copy."""
    model = Model(lambda m, x: m.gru(x)[0], gru=gru())
    model.part = torch.zeros(2**21)[:3].requires_grad_()
    with session(model) as opened:
        assert opened.pristine.copy()[0].part.requires_grad  # type: ignore[union-attr]


def test_functions_that_call_each_other() -> None:
    """Functions that lead to each other, and not to the model, are left as they are."""

    def one(n: int) -> int:
        return two(n - 1) if n else 0

    def two(n: int) -> int:
        return one(n)

    model = Model(lambda m, x: m.gru(x)[0] + m.one(3), gru=gru())
    model.one, model.pair = one, (one, two)
    with session(model) as opened:
        opened.run(Given((X,), {}))
        assert opened.last.one is one


class Frozen(dict[str, int]):
    """A mapping that refuses to be written."""

    def __setitem__(self, key: str, value: int) -> None:
        """Refuse."""
        raise TypeError(key, value)


def test_object_beside_one_that_refuses() -> None:
    """What can be copied is copied, beside what cannot."""
    model = Model(lambda m, x: m.gru(x)[0], gru=gru())
    model.frozen, model.array = Frozen({"a": 1}), torch.distributions.Normal(0.0, 1.0)
    assert rnnkit.verify(model, X).notes == ["not copied, but shared with the model: frozen"]
