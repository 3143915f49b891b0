"""The classes in the hands of torch's tools: copies, files, autocast, parametrizations.

Every test lets one of torch's tools loose on a module of torch and on ours with the same weights,
and what comes out must be the same bit for bit. Where torch's tool fails on torch's class the test
says so, so that a later torch that can do more is noticed.
"""

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils import _pytree as pytree

import rnnkit
from tests.torch.side_by_side import (
    BATCH,
    CELLS,
    HIDDEN,
    INPUT,
    assert_same,
    carried,
    cells,
    layers,
    pair,
    sample,
    six,
)


def carried_ones(name: str) -> Tensor | tuple[Tensor, Tensor]:
    """A state that reaches every recurrent weight."""
    return pytree.tree_map(torch.ones_like, carried(name))


def weights(name: str) -> tuple[str, str]:
    """The names of the parameters that multiply the input and the state."""
    return ("weight_ih", "weight_hh") if name in CELLS else ("weight_ih_l0", "weight_hh_l0")


def assert_same_outcome(theirs: Callable[[], object], ours: Callable[[], object]) -> None:
    """Both give the same result, or ours raises what can be caught as torch's exception."""
    try:
        expected = theirs()
    except (RuntimeError, ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            ours()
    else:
        assert_same(expected, ours())


def gradients(module: nn.Module, *args: object) -> dict[str, Tensor | None]:
    """The gradient of each parameter for a loss that weighs every output differently."""
    module.zero_grad()
    outputs = pytree.tree_leaves(module(*args))
    torch.stack([output.float().square().sum() for output in outputs]).sum().backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


@layers
def test_skip_init_does_what_torch_layers_cannot(name: str) -> None:
    """Torch's layers hide `device` from skip_init, ours show it; no random number is drawn."""
    with pytest.raises(RuntimeError, match="'device' arg"):
        nn.utils.skip_init(getattr(nn, name), INPUT, HIDDEN)
    before = torch.get_rng_state()

    ours = nn.utils.skip_init(getattr(rnnkit, name), INPUT, HIDDEN, num_layers=2)

    assert torch.equal(torch.get_rng_state(), before)
    assert {weight.device.type for weight in ours.parameters()} == {"cpu"}


@six
def test_module_from_skip_init_computes(name: str) -> None:
    """A module made by skip_init is usable as soon as weights are loaded into it."""
    torch.manual_seed(0)
    theirs, x = getattr(nn, name)(INPUT, HIDDEN), sample(name)

    ours = nn.utils.skip_init(getattr(rnnkit, name), INPUT, HIDDEN)
    ours.load_state_dict(theirs.state_dict())

    assert type(ours) is getattr(rnnkit, name)
    assert_same(theirs(x), ours(x))


@six
def test_skip_init_on_a_device(name: str) -> None:
    """skip_init leaves the parameters on the device that it was given."""
    ours = nn.utils.skip_init(getattr(rnnkit, name), INPUT, HIDDEN, device="meta")

    assert {weight.device.type for weight in ours.parameters()} == {"meta"}


@six
def test_device_context(name: str) -> None:
    """A module that is constructed under `torch.device` has its parameters there."""
    with torch.device("meta"):
        ours = getattr(rnnkit, name)(INPUT, HIDDEN)

    assert {weight.device.type for weight in ours.parameters()} == {"meta"}


def by_file(module: nn.Module) -> nn.Module:
    """A module that went through torch.save."""
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def by_pickle(module: nn.Module) -> nn.Module:
    """A module that went through pickle."""
    return pickle.loads(pickle.dumps(module))


copiers = pytest.mark.parametrize("copier", [copy.deepcopy, by_pickle, by_file])


@six
@copiers
def test_copy_lives_by_itself(name: str, copier: Callable[[nn.Module], nn.Module]) -> None:
    """A copy made after a call is of our class and follows its own parameters, as torch's does."""
    torch.manual_seed(0)
    x, state = sample(name), carried(name)
    modules = pair(name)
    for module in modules:
        module(x)
    theirs, ours = (copier(module) for module in modules)

    for module in (theirs, ours):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(0.5)

    assert type(ours) is getattr(rnnkit, name)
    assert_same(theirs(x, state), ours(x, state))
    assert_same(modules[0](x, state), modules[1](x, state))


@layers
@copiers
def test_copy_keeps_options(name: str, copier: Callable[[nn.Module], nn.Module]) -> None:
    """The keyword options that torch does not know survive a copy."""
    torch.manual_seed(0)
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, num_layers=4, state_batch_first=True)
    x = sample(name)

    output, state = copier(layer)(x)

    assert {tuple(leaf.shape) for leaf in pytree.tree_leaves(state)} == {(BATCH, 4, HIDDEN)}
    assert_same(layer(x), (output, state))


@six
def test_checkpoint_goes_both_ways(name: str) -> None:
    """A state_dict file, read with weights_only, loads from torch's class into ours and back."""
    torch.manual_seed(0)
    theirs, ours = pair(name)
    x = sample(name)
    for source, target in [(theirs, getattr(rnnkit, name)), (ours, getattr(nn, name))]:
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        loaded = target(INPUT, HIDDEN)

        loaded.load_state_dict(torch.load(file, weights_only=True))

        assert_same(source(x), loaded(x))


@pytest.mark.covering(2)
@six
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kept", [None, torch.float32, torch.bfloat16])
def test_autocast(name: str, given: torch.dtype, kept: torch.dtype | None) -> None:
    """Under autocast torch mixes dtypes of input, state and weights; ours give the same numbers."""
    torch.manual_seed(0)
    theirs, ours = pair(name)
    x = sample(name).to(given)
    state = None if kept is None else pytree.tree_map(lambda t: t.to(kept), carried(name))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same_outcome(lambda: theirs(x, state), lambda: ours(x, state))


@six
@pytest.mark.parametrize(
    "method",
    [
        parametrizations.weight_norm,
        parametrizations.orthogonal,
        parametrizations.spectral_norm,
        pytest.param(
            nn.utils.weight_norm,
            # The old function is deprecated, but checkpoints made with it are about.
            marks=pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),
            id="old_weight_norm",
        ),
        pytest.param(nn.utils.spectral_norm, id="old_spectral_norm"),
    ],
)
def test_parametrization(name: str, method: Callable[..., nn.Module]) -> None:
    """Parametrized weights give torch's outputs and gradients, also after a step.

    Each look at a weight under spectral norm advances its power iteration, so the numbers also show
    that a call looks at no weight more often than torch's does.
    """
    torch.manual_seed(0)
    modules = pair(name)
    x, state = sample(name), carried(name)
    outputs, grads = [], []
    for module in modules:
        torch.manual_seed(1)
        for weight in weights(name):
            method(module, weight)
        grads.append(gradients(module, x, state))
        torch.optim.SGD(module.parameters(), lr=0.1).step()
        outputs.append(module(x, state))

    assert_same(*outputs)
    assert_same(*grads)


@six
def test_parametrization_made_permanent(name: str) -> None:
    """After a parametrization is removed its weight is the last of the parameters, and is used."""
    torch.manual_seed(0)
    modules = pair(name)
    x, state = sample(name), carried(name)
    for module in modules:
        parametrizations.weight_norm(module, weights(name)[0])
        nn.utils.parametrize.remove_parametrizations(module, weights(name)[0])

    assert [key for key, _ in modules[1].named_parameters()][-1] == weights(name)[0]
    assert_same(modules[0](x, state), modules[1](x, state))


@six
@pytest.mark.parametrize("weight", [0, 1])
def test_parametrized_module_in_another_dtype(name: str, weight: int) -> None:
    """A parametrized float32 module is called with float64 parameters, then moved to float64."""
    torch.manual_seed(0)
    x, state = pytree.tree_map(lambda tensor: tensor.double(), (sample(name), carried(name)))
    results = []
    for module in pair(name):
        parametrizations.weight_norm(module, weights(name)[weight])
        double = {key: value.double() for key, value in module.named_parameters()}
        called = torch.func.functional_call(module, double, (x, state))
        results.append((called, module.double()(x, state)))

    assert_same(*results)


@cells
def test_deepcopy_of_a_parametrized_cell(name: str) -> None:
    """A parametrized cell can be copied after a call."""
    torch.manual_seed(0)
    _, ours = pair(name)
    x = sample(name)
    parametrizations.weight_norm(ours, weights(name)[1])
    expected = ours(x)

    assert_same(expected, copy.deepcopy(ours)(x))


@layers
def test_deepcopy_of_a_parametrized_layer_of_torch(name: str) -> None:
    """Torch cannot copy a parametrized layer after a call; nothing is promised for ours."""
    theirs = getattr(nn, name)(INPUT, HIDDEN)
    parametrizations.weight_norm(theirs, weights(name)[1])
    theirs(sample(name))

    with pytest.raises(RuntimeError, match="deepcopy protocol"):
        copy.deepcopy(theirs)


@six
def test_prune(name: str) -> None:
    """A pruned weight is seen by the call, before and after the pruning is made permanent."""
    torch.manual_seed(0)
    modules = pair(name)
    x, (_, weight) = sample(name), weights(name)
    results = []
    for module in modules:
        whole = module(x, carried_ones(name))
        prune.l1_unstructured(module, weight, amount=0.5)
        pruned, grads = module(x, carried_ones(name)), gradients(module, x)
        prune.remove(module, weight)
        results.append((whole, pruned, grads, module(x, carried_ones(name))))

    assert_same(*results)
