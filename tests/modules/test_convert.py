"""``convert`` and ``revert`` change the class of recurrent modules and nothing else."""

import pickle

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import rnnkit
from tests.copies import by_file
from tests.strategies import CELLS, CLASSES, LAYERS, assert_same
from tests.torch.interop import HIDDEN, INPUT, sample


def torchs(name: str):
    """One of torch's modules, of its own class whatever the test does."""
    return getattr(nn, name)(INPUT, HIDDEN)


class Double(nn.Module):
    """A parametrization of a user's."""

    def forward(self, weight):
        """Return the weight twice as large."""
        return 2 * weight


class OverTorch(nn.LSTM):
    """Somebody's subclass of torch's class."""


class OverOurs(rnnkit.LSTM):
    """Somebody's subclass of rnnkit's class."""


class Nested(nn.Module):
    """All six classes, in the places where models keep them."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(INPUT, INPUT)
        self.listed = nn.ModuleList(torchs(name) for name in LAYERS)
        self.named = nn.ModuleDict({name: torchs(name) for name in CELLS})
        self.deep = nn.Sequential(nn.Sequential(torchs("GRU")))


def kinds(model: nn.Module) -> list[type]:
    """The classes of a model's recurrent modules, in order."""
    recurrent = (nn.RNNBase, nn.RNNCellBase)
    return [type(module) for module in model.modules() if isinstance(module, recurrent)]


def normalise(module: nn.Module, weight: str):
    """Parametrize two weights, one of them by torch's own function."""
    parametrizations.weight_norm(module, weight)
    parametrize.register_parametrization(module, weight.replace("hh", "ih"), Double())


#: What people do to a module before it is converted; the second argument names its weight.
DONE = {
    "nothing": lambda *_: None,
    "evaluation": lambda module, _: module.eval(),
    "frozen": lambda module, weight: getattr(module, weight).requires_grad_(False),
    "parametrized": normalise,
    "hooked": lambda module, _: module.register_forward_pre_hook(lambda _, args: (2 * args[0],)),
    "pruned": lambda module, weight: prune.random_unstructured(module, weight, amount=0.5),
}


@pytest.mark.parametrize("done", DONE)
def test_nothing_but_the_class_changes(done):
    """Parameters, names, modes and numbers stay; only rnnkit's class checks the call."""
    for name in CLASSES:
        module = torchs(name)
        x = sample(name)
        weight = "weight_hh" if name in CELLS else "weight_hh_l0"
        DONE[done](module, weight)
        expected = module(x)

        def facts(module=module):
            named = [(key, id(one), one.requires_grad) for key, one in module.named_parameters()]
            return [named, list(module.state_dict()), module.training]

        before = facts()
        for change, namespace, error in (
            (rnnkit.convert, rnnkit, rnnkit.ShapeError),
            (rnnkit.revert, nn, RuntimeError),
        ):
            change(module)

            assert isinstance(module, getattr(namespace, name))
            assert isinstance(module, getattr(rnnkit, name)) == (namespace is rnnkit)
            assert facts() == before
            assert_same(expected, module(x))
            with pytest.raises(error) as caught:
                module(x[..., 1:])
            assert isinstance(caught.value, rnnkit.RnnkitError) == (namespace is rnnkit)


def test_every_recurrent_module_changes_and_comes_back():
    """All six classes, in lists, dicts and sequences; a second time changes nothing."""
    model = Nested()
    before = kinds(model)

    assert not rnnkit.revert(model).changed
    done = rnnkit.convert(model)
    assert kinds(model) == [getattr(rnnkit, kind.__name__) for kind in before]
    assert type(model.linear) is nn.Linear
    assert not rnnkit.convert(model).changed

    undone = rnnkit.revert(model)
    assert kinds(model) == before
    assert done.changed == undone.changed
    assert done.left == undone.left == {}


def test_what_was_done_is_printed():
    """The result has a line for each module; a name that reads as a number is quoted."""
    model = Nested()
    model.listed.append(OverTorch(INPUT, HIDDEN))

    assert str(rnnkit.convert(model)) == snapshot("""\
7 modules changed, 1 unchanged
  changed    listed.0
  changed    listed.1
  changed    listed.2
  changed    named.RNNCell
  changed    named.LSTMCell
  changed    named.GRUCell
  changed    deep.0.0
  unchanged  listed.3: OverTorch is a subclass of torch.nn.LSTM, whose forward may differ\
""")
    assert str(rnnkit.convert(nn.Sequential(torchs("GRU")))) == snapshot("""\
1 module changed, 0 unchanged
  changed    '0'\
""")
    layer = torchs("LSTM")
    assert str(rnnkit.convert(layer)) == snapshot("""\
1 module changed, 0 unchanged
  changed    (the model itself)\
""")
    assert type(layer) is rnnkit.LSTM


def test_what_is_shared_stays_shared():
    """A module in two places is changed once; weights tied between two layers are tied still."""
    shared = torchs("GRU")
    other = torchs("GRU")
    other.weight_hh_l0 = shared.weight_hh_l0
    model = nn.ModuleDict({"first": shared, "second": shared, "third": other})

    assert rnnkit.convert(model).changed == ["first", "third"]
    assert model["first"] is model["second"] is shared
    assert other.weight_hh_l0 is shared.weight_hh_l0


def test_parametrizations_and_pruning_can_be_removed_afterwards():
    """What was parametrized or pruned before convert is plain rnnkit once that is gone."""
    module = torchs("LSTM")
    parametrize.register_parametrization(module, "weight_hh_l0", Double())
    prune.random_unstructured(module, "weight_ih_l0", amount=0.5)
    expected = module.weight_hh_l0.detach().clone()

    rnnkit.convert(module)
    parametrize.remove_parametrizations(module, "weight_hh_l0")
    prune.remove(module, "weight_ih_l0")

    assert type(module) is rnnkit.LSTM
    assert torch.equal(module.weight_hh_l0, expected)
    assert int((module.weight_ih_l0 == 0).sum()) == module.weight_ih_l0.numel() // 2


def test_pickles():
    """A model that was saved with torch's classes is converted, and saved with rnnkit's."""
    x = sample("LSTM")
    model = nn.Sequential(torchs("LSTM"))

    loaded = by_file(model, weights_only=False)
    done = rnnkit.convert(loaded)

    assert pickle.loads(pickle.dumps(done)) == done
    for again in (loaded, pickle.loads(pickle.dumps(loaded))):
        assert type(again[0]) is rnnkit.LSTM
        assert_same(model(x), again(x))


def test_subclasses_are_left():
    """What somebody built on a class may rely on it; convert has nothing to say of rnnkit's."""
    model = nn.ModuleList([OverTorch(INPUT, HIDDEN), nn.GRU(INPUT, HIDDEN), OverOurs(3, 4)])

    done = rnnkit.convert(model)
    undone = rnnkit.revert(model)

    assert kinds(model) == [OverTorch, nn.GRU, OverOurs]
    assert done.changed == undone.changed == ["1"]
    assert done.left == {"0": "OverTorch is a subclass of torch.nn.LSTM, whose forward may differ"}
    assert undone.left == {"2": "OverOurs is a subclass of rnnkit.LSTM, whose forward may differ"}


def test_options_that_torch_lacks_are_left_by_revert():
    """A module that torch's class could not run as it is stays rnnkit's, and is named."""
    for name in CLASSES:
        kind = getattr(rnnkit, name)
        options = {"axes": {"batch": "b"}}
        if name in LAYERS:
            options["state_batch_first"] = True
        for option, value in options.items():
            model = nn.Sequential(kind(INPUT, HIDDEN, **{option: value}))

            assert rnnkit.revert(model).left == {"0": f"torch's class has no {option}"}
            assert type(model[0]) is kind


def test_wrapped_models():
    """Names are those of the wrapper; a model that was compiled and has run gives what it gave."""
    parallel = nn.DataParallel(nn.Sequential(nn.LSTM(INPUT, HIDDEN)))
    model = nn.Sequential(nn.GRUCell(INPUT, HIDDEN))
    x = sample("GRUCell")
    compiled = torch.compile(model, backend="eager")
    before = compiled(x)

    assert rnnkit.convert(parallel).changed == ["module.0"]
    assert rnnkit.convert(compiled).changed == ["_orig_mod.0"]
    assert kinds(model) == [rnnkit.GRUCell]
    torch.testing.assert_close(compiled(x), before)
