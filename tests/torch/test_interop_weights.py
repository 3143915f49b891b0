"""Weights that torch's tools compute, replace or delete: a call of ours reads what torch's reads."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.testing import assert_close

import rnnkit
from tests.kernels.paths import by_loop
from tests.strategies import CELLS, CLASSES, LAYERS, tensors_of
from tests.torch.interop import Given, Use, attempt, cast, cells, given, same, table

#: What computes a weight. Spectral norm advances at each look at it, and the last one draws numbers:
#: they show that a call looks at no weight more often than torch's does.
COMPUTED = {
    "weight_norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "spectral_norm": parametrizations.spectral_norm,
    "old weight_norm": nn.utils.weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "l1 pruned": lambda m, key: prune.l1_unstructured(m, key, 0.5),
    "drawn": lambda m, key: parametrize.register_parametrization(m, key, nn.Dropout(0.3)),
}


def parametrized(how: str) -> Use:
    """Return a use that computes both weights."""

    def used(g):
        torch.manual_seed(1)
        for weight in g.weights:
            COMPUTED[how](g.module, weight)
        slopes = g.slopes()
        torch.optim.SGD(g.module.parameters(), lr=0.1).step()
        return slopes, g.call(), torch.get_rng_state()

    used.__name__ = how
    return used


def made_permanent(g: Given):
    """Weights that were computed are the last of the parameters, in the order of their removal."""
    parametrizations.weight_norm(g.module, g.weights[0])
    prune.l1_unstructured(g.module, g.weights[1], amount=0.5)
    computed = g.call()
    parametrize.remove_parametrizations(g.module, g.weights[0])
    prune.remove(g.module, g.weights[1])
    return computed, [key for key, _ in g.module.named_parameters()], g.call()


def parametrized_in_another_dtype(g: Given):
    """A parametrized module is called with float64 parameters, then moved to float64."""
    args = cast((g.x, g.hx), torch.float64)
    found = []
    for weight in g.weights:
        module = copy.deepcopy(g.module)
        parametrizations.weight_norm(module, weight)
        double = {key: value.double() for key, value in module.named_parameters()}
        found += [torch.func.functional_call(module, double, args), module.double()(*args)]
    return found


def deleted(g: Given):
    """A call without one of its weights ends as torch's does; what reads it by its name names it."""
    found = []
    for key, _ in [*g.module.named_parameters()]:
        module = copy.deepcopy(g.module)
        delattr(module, key)
        found.append(attempt(module, g.x))
        if isinstance(module, OURS):
            with pytest.raises(AttributeError, match=key):
                _ = module.cells() if g.name in LAYERS else rnnkit.unroll(module, g.x[None])
    return found


OURS = tuple(getattr(rnnkit, name) for name in CLASSES)


def check_steps(g, module):
    """Check that what runs one of ours over a sequence reads what a call of it reads."""
    if not isinstance(module, OURS):
        return
    expected = tensors_of(module(g.x))[0]
    if g.name in CELLS:
        assert_close(rnnkit.unroll(module, g.x[None])[0][0], expected)
        return
    assert_close(rnnkit.unroll(module.cells()[0], g.x)[0], expected)
    output, _ = module(g.x, lengths=[6, 6, 6, 6, 5])
    assert_close(output[:5], expected[:5])


def replaced(g: Given):
    """The weights that attribute access finds are the ones that are used, whoever replaced them."""
    found = []
    for key in (*g.weights, g.weights[0].replace("weight", "bias")):
        shape = getattr(g.module, key).shape
        other = torch.linspace(-1, 1, shape.numel()).view(shape)

        class Doubles(g.kind):  # type: ignore[name-defined]
            def __getattr__(self, name, key=key):
                value = super().__getattr__(name)
                return 2 * value if name == key else value

        in_dict = g.twin(g.own())
        read = g.own()
        in_dict.__dict__[key] = other
        called = g.twin(g.kind)
        g.call(called)  # after which a layer keeps a list of its weights
        called.__dict__[key] = other
        with_property = g.twin(read)
        set_later = g.twin(g.kind)
        setattr(read, key, property(lambda _, other=other: other))
        setattr(set_later, key, nn.Parameter(other))
        for module in (in_dict, called, with_property, set_later, g.twin(Doubles)):
            found += [*g.call(module), module(g.x[..., 0, :])]
            if g.name in CELLS:
                check_steps(g, module)
    return found


def other_nonlinearity(g: Given):
    """A nonlinearity, or a layer's mode, that is set later counts; an unknown one is refused."""
    found = []
    for name, value in [("nonlinearity", "relu"), ("mode", "RNN_RELU")]:
        if hasattr(g.module, name) and g.name.startswith("RNN"):
            setattr(g.module, name, value)
            found += g.call()
            check_steps(g, g.module)
    if g.name == "RNNCell":
        g.module.nonlinearity = "sigmoid"
        found.append(attempt(g.module, g.x))
    return found


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@table(vars(), *map(parametrized, COMPUTED))
def test_a_use(check):
    """What comes out of a use is the same for torch's module and for ours."""
    check()


@cells
@pytest.mark.parametrize("how", ["l1 pruned", "drawn"])
def test_a_computed_weight_of_a_cell(name, how):
    """It is checked as any weight is, and unroll reads it as often as the loop does."""
    g = given(name, 1)
    COMPUTED[how](g.module, "weight_ih")
    sequence = torch.stack([g.x] * 3)
    torch.manual_seed(5)
    expected = by_loop(g.module, sequence, g.hx)
    torch.manual_seed(5)
    same(expected, rnnkit.unroll(g.module, sequence, g.hx))

    for call in (g.module, lambda x: rnnkit.unroll(g.module, x[None])):
        with pytest.raises(rnnkit.DtypeError):
            call(g.x.double())
        with pytest.raises(rnnkit.DeviceError):
            call(g.x.to("meta"))
