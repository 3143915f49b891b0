"""``convert`` and ``revert`` change the class of recurrent modules and nothing else."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import rnnkit
from tests.strategies import CELLS, CLASSES, LAYERS

SEQ, BATCH, WIDTH, HIDDEN = 5, 2, 3, 4


def torchs(name: str) -> Any:
    """One of torch's modules, of its own class whatever the test does."""
    return getattr(nn, name)(WIDTH, HIDDEN)


def first_tensor(module: nn.Module, input: Tensor) -> Tensor:
    """What a recurrent module returns, without its state."""
    result = module(input)
    return result if isinstance(result, Tensor) else result[0]


def input_for(name: str) -> Tensor:
    """An input that the class takes."""
    return torch.randn(*((BATCH,) if name in CELLS else (SEQ, BATCH)), WIDTH)


class Double(nn.Module):
    """A parametrization of a user's."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight twice as large."""
        return 2 * weight


class Theirs(nn.LSTM):
    """Somebody's subclass."""


class Nested(nn.Module):
    """All six classes, in the places where models keep them."""

    def __init__(self) -> None:
        """Make them all."""
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.listed = nn.ModuleList(torchs(name) for name in LAYERS)
        self.named = nn.ModuleDict({name: torchs(name) for name in CELLS})
        self.deep = nn.Sequential(nn.Sequential(torchs("GRU")))


def recurrent(model: nn.Module) -> list[nn.Module]:
    """The recurrent modules of a model, in order."""
    kinds = (nn.RNNBase, nn.RNNCellBase)
    return [module for module in model.modules() if isinstance(module, kinds)]


def test_every_recurrent_module_changes_and_comes_back() -> None:
    """All six classes, in lists, dicts and sequences, become rnnkit's, and torch's again."""
    model = Nested()
    before = [type(module) for module in recurrent(model)]

    done = rnnkit.convert(model)
    assert [type(module) for module in recurrent(model)] == [
        getattr(rnnkit, kind.__name__) for kind in before
    ]
    assert type(model.linear) is nn.Linear

    undone = rnnkit.revert(model)
    assert [type(module) for module in recurrent(model)] == before
    assert done.changed == undone.changed
    assert not done.left
    assert not undone.left


def test_what_was_done_is_printed() -> None:
    """The result has a line for each module."""
    model = Nested()
    model.listed.append(Theirs(WIDTH, HIDDEN))

    assert str(rnnkit.convert(model)) == snapshot("""\
7 modules changed, 1 left
  changed  listed.0
  changed  listed.1
  changed  listed.2
  changed  named.RNNCell
  changed  named.LSTMCell
  changed  named.GRUCell
  changed  deep.0.0
  left     listed.3: Theirs is a subclass of torch.nn.LSTM, whose forward may differ\
""")


def test_the_model_itself_may_be_the_module() -> None:
    """A layer alone is converted, and printed as the model itself."""
    layer = torchs("LSTM")

    assert str(rnnkit.convert(layer)) == snapshot("""\
1 module changed, 0 left
  changed  (the model itself)\
""")
    assert type(layer) is rnnkit.LSTM


def test_a_second_time_changes_nothing() -> None:
    """A converted model has nothing to convert, and one of torch's nothing to revert."""
    model = Nested()

    assert not rnnkit.revert(model).changed
    rnnkit.convert(model)
    assert not rnnkit.convert(model).changed


@pytest.mark.parametrize("name", CLASSES)
def test_parameters_and_names_stay(name: str) -> None:
    """Parameters are the same objects under the same names, in the same order."""
    model = nn.Sequential(torchs(name))
    before = dict(model.named_parameters())

    rnnkit.convert(model)

    after = dict(model.named_parameters())
    assert list(before) == list(after) == list(model.state_dict())
    assert all(after[key] is before[key] for key in before)
    rnnkit.revert(model)
    assert all(dict(model.named_parameters())[key] is before[key] for key in before)


@pytest.mark.parametrize("name", CLASSES)
def test_results_stay(name: str) -> None:
    """A converted module gives torch's numbers, and so does a reverted one."""
    module, x = torchs(name), input_for(name)
    expected = first_tensor(module, x)

    rnnkit.convert(module)
    assert torch.equal(first_tensor(module, x), expected)

    rnnkit.revert(module)
    assert torch.equal(first_tensor(module, x), expected)


@pytest.mark.parametrize("name", CLASSES)
def test_a_converted_module_checks_its_calls(name: str) -> None:
    """After convert a wrong input is refused by rnnkit; after revert by torch."""
    module, wrong = torchs(name), input_for(name)[..., 1:]

    rnnkit.convert(module)
    with pytest.raises(rnnkit.ShapeError):
        module(wrong)

    rnnkit.revert(module)
    with pytest.raises(RuntimeError) as caught:
        module(wrong)
    assert not isinstance(caught.value, rnnkit.RnnkitError)


def test_a_shared_module_stays_shared() -> None:
    """A module in two places is changed once, and is one module still."""
    shared = torchs("GRU")
    model = nn.ModuleDict({"first": shared, "second": shared})

    done = rnnkit.convert(model)

    assert done.changed == ["first"]
    assert model["first"] is model["second"] is shared


def test_shared_parameters_stay_shared() -> None:
    """Weights tied between two layers are tied still."""
    model = nn.ModuleList([torchs("GRU"), torchs("GRU")])
    model[1].weight_hh_l0 = model[0].weight_hh_l0

    rnnkit.convert(model)

    assert model[1].weight_hh_l0 is model[0].weight_hh_l0


@pytest.mark.parametrize("name", CLASSES)
def test_hooks_still_fire(name: str) -> None:
    """Forward hooks, pre-hooks and backward hooks are called, once a call."""
    module, seen = torchs(name), []
    module.register_forward_pre_hook(lambda *_: seen.append("before"))
    module.register_forward_hook(lambda *_: seen.append("after"))
    weight = next(module.parameters())
    weight.register_hook(lambda _: seen.append("gradient"))

    rnnkit.convert(module)
    first_tensor(module, input_for(name)).sum().backward()

    assert seen == ["before", "after", "gradient"]


def test_modes_and_frozen_weights_stay() -> None:
    """The training mode of each module, and whether a weight is trained, stay."""
    model = Nested()
    model.listed[0].eval()
    model.listed[1].weight_hh_l0.requires_grad_(requires_grad=False)
    modes = [module.training for module in model.modules()]
    trained = [weight.requires_grad for weight in model.parameters()]

    rnnkit.convert(model)

    assert [module.training for module in model.modules()] == modes
    assert [weight.requires_grad for weight in model.parameters()] == trained


def test_an_optimizer_goes_on() -> None:
    """Momentum gathered before convert is used after it: training goes as if nothing happened."""
    x = torch.randn(SEQ, BATCH, WIDTH)
    one = torchs("LSTM")
    other = copy.deepcopy(one)
    ways = [
        (one, torch.optim.Adam(one.parameters())),
        (other, torch.optim.Adam(other.parameters())),
    ]

    for turn in range(4):
        if turn == 2:
            rnnkit.convert(other)
        for module, optimizer in ways:
            optimizer.zero_grad()
            first_tensor(module, x).square().sum().backward()
            optimizer.step()

    for ours, theirs in zip(other.parameters(), one.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", CLASSES)
def test_parametrizations_stay(name: str) -> None:
    """weight_norm and a user's parametrization give the same weights before, between, after."""
    module, x = torchs(name), input_for(name)
    suffix = "" if name in CELLS else "_l0"
    parametrizations.weight_norm(module, f"weight_hh{suffix}")
    parametrize.register_parametrization(module, f"weight_ih{suffix}", Double())
    expected = first_tensor(module, x)

    rnnkit.convert(module)
    assert isinstance(module, getattr(rnnkit, name))
    assert parametrize.is_parametrized(module, f"weight_hh{suffix}")
    assert torch.equal(first_tensor(module, x), expected)

    rnnkit.revert(module)
    assert not isinstance(module, getattr(rnnkit, name))
    assert torch.equal(first_tensor(module, x), expected)


def test_a_parametrization_can_be_removed_afterwards() -> None:
    """What was parametrized before convert is plain rnnkit once the parametrization is gone."""
    module = torchs("LSTM")
    parametrize.register_parametrization(module, "weight_hh_l0", Double())
    expected = module.weight_hh_l0.detach().clone()

    rnnkit.convert(module)
    parametrize.remove_parametrizations(module, "weight_hh_l0")

    assert type(module) is rnnkit.LSTM
    assert torch.equal(module.weight_hh_l0, expected)


@pytest.mark.parametrize("name", CLASSES)
def test_pruning_stays(name: str) -> None:
    """A pruned weight is pruned still, and can be made permanent."""
    module, x = torchs(name), input_for(name)
    weight = "weight_hh" if name in CELLS else "weight_hh_l0"
    prune.random_unstructured(module, weight, amount=0.5)
    expected = first_tensor(module, x)

    rnnkit.convert(module)
    assert torch.equal(first_tensor(module, x), expected)

    prune.remove(module, weight)
    assert int((getattr(module, weight) == 0).sum()) == getattr(module, weight).numel() // 2


def test_a_model_out_of_a_pickle() -> None:
    """A model that was saved whole with torch's classes is converted once it is loaded."""
    file, x = io.BytesIO(), torch.randn(SEQ, BATCH, WIDTH)
    model = nn.Sequential(torchs("LSTM"))
    torch.save(model, file)
    file.seek(0)

    loaded = torch.load(file, weights_only=False)
    rnnkit.convert(loaded)

    assert type(loaded[0]) is rnnkit.LSTM
    assert torch.equal(loaded(x)[0], model(x)[0])
    again = pickle.loads(pickle.dumps(loaded))
    assert type(again[0]) is rnnkit.LSTM
    assert torch.equal(again(x)[0], model(x)[0])
