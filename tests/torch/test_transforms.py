"""Where the fused kernels cannot go, the loop can: torch.func, forward mode, second derivatives.

What torch's own layers have of these stands in the table of the page on compilers.
"""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.testing import assert_close

import rnnkit
from tests.compiles import compiles
from tests.covering import covers
from tests.torch.models import CLASSES, CORES, WIDTH, Model, Unrolled, cell_of

SEQ = 5
BATCH = 2

pytestmark = [
    # torch's rules for forward mode are themselves scripted.
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
    # scan compiles its step when it runs for itself, and says so when it does not.
    pytest.mark.filterwarnings("ignore:torch.compile is ignored when called inside:UserWarning"),
]
classes = pytest.mark.parametrize("name", CLASSES)
cores = pytest.mark.parametrize("core", ["unroll", "Recurrent"])


class Outputs(Model):
    """A model that returns its outputs alone."""

    def forward(self, x, *args, **options):
        """Run it over a sequence."""
        return super().forward(x, *args, **options)[0]


def called(module: nn.Module, x: Tensor):
    """Return the module as a function of its weights."""
    return lambda weights: functional_call(module, weights, (x,))


def of_each_sample(module: nn.Module):
    """Return the weights, and the function of them and of an input to each sample's gradients."""

    def loss(weights, sample):
        return called(module, sample.unsqueeze(1))(weights).square().sum()

    weights = {key: weight.detach() for key, weight in module.named_parameters()}
    return weights, vmap(grad(loss), (None, 1))


@classes
@cores
def test_under_vmap(core, name):
    """By vmap over grad a module has the gradients that a loop over samples gives.

    Several models run at once, by vmap over their stacked weights, as one by one.
    """
    modules = [Outputs(CORES[core](name)) for _ in range(3)]
    module = modules[0]
    x = torch.randn(SEQ, BATCH, WIDTH)
    weights, each = of_each_sample(module)
    found = each(weights, x)
    for i in range(BATCH):
        one = module(x[:, i : i + 1]).square().sum()
        expected = torch.autograd.grad(one, list(module.parameters()))
        assert_close([grads[i] for grads in found.values()], list(expected))

    weights, _ = stack_module_state(modules)
    outputs = vmap(called(module, x))(weights)
    assert_close(outputs, torch.stack([module(x) for module in modules]))


@compiles
@pytest.mark.slow
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.needs_torch("2.13", "nobody has tried older ones")
def test_compiled_gradients_of_each_sample():
    """Compiled for any number of steps, a module has the gradients of each sample that it has eagerly.

    The operator has no rule for them, the loop has.
    """
    module = Outputs(CORES["Recurrent"]("GRU"))
    module.before = nn.Identity()  # behind a product, vmap fixes the number of steps
    weights, each = of_each_sample(module)
    compiled = torch.compile(each, fullgraph=True, dynamic=True, backend="eager")
    for steps in (3, 4):
        x = torch.randn(steps, BATCH, WIDTH)
        assert_close(compiled(weights, x), each(weights, x))


#: What cuts the samples of a layer.
CUT = {"lengths": [SEQ, 2], "reset": torch.arange(SEQ * BATCH).view(SEQ, BATCH) % 3 == 1}
#: How near derivatives are to the difference quotient.
NEAR = {torch.float64: 1e-6, torch.float32: 1e-3}


@classes
@pytest.mark.parametrize(
    ("core", "options", "dtypes"),
    [
        ("unroll", {}, [torch.float64, torch.float32]),
        ("Recurrent", {}, [torch.float64, torch.float32]),
        # oneDNN's LSTM, which is of float32, has no rule for it.
        pytest.param(
            *("stack", CUT, [torch.float64]),
            marks=pytest.mark.needs_torch("2.13", "jvp reads no value of a tensor made inside"),
        ),
    ],
)
def test_forward_mode(core, options, dtypes, name):
    """jvp, dual numbers and the difference quotient agree."""
    module = Outputs(CORES[core](name)).double()
    run = partial(module, **options)
    x = torch.randn(SEQ, BATCH, WIDTH).double()
    tangent = torch.randn_like(x)
    quotient = (run(x + 1e-6 * tangent) - run(x - 1e-6 * tangent)) / 2e-6

    for dtype in dtypes:
        tolerance = NEAR[dtype]
        module.to(dtype)
        given = (x.to(dtype), tangent.to(dtype))
        _, derivative = jvp(run, given[:1], given[1:])
        with forward_ad.dual_level():
            dual = forward_ad.unpack_dual(run(forward_ad.make_dual(*given))).tangent
        assert_close(derivative.double(), quotient, rtol=tolerance, atol=tolerance / 10)
        assert_close(dual, derivative)


@classes
def test_second_derivatives(name):
    """The loop's gradients can be differentiated again, by the input and by every weight."""
    module = Outputs(Unrolled(cell_of(name), fused=False)).double()
    x = torch.randn(3, BATCH, WIDTH).double().requires_grad_()
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(x, *weights):
        state = dict(zip(names, weights, strict=True))
        return functional_call(module, state, (x,), {"lengths": [3, 2]})

    assert torch.autograd.gradgradcheck(run, (x, *weights), fast_mode=True)


#: What cuts each of two examples of five samples.
BOUNDARIES = {
    "lengths": torch.tensor([[7, 2, 0, 4, 5], [1, 2, 3, 4, 7]]),
    "reset": torch.arange(2 * 7 * 5).view(2, 7, 5) % 3 == 1,
}


@covers(
    2,
    in_dim=[0, 1],
    cut=BOUNDARIES,
    core=["layer", "stack", "Recurrent", "unroll"],
    name=CLASSES,
)
def test_boundaries_of_each_example(core, name, cut, in_dim):
    """Under vmap each example has lengths, or resets, of its own; a length too long is refused."""
    model = CORES[core](name)
    x = torch.randn(2, 7, 5, WIDTH)
    each = BOUNDARIES[cut]
    given = each.movedim(0, in_dim)

    def run(x, boundary):
        return model(x, **{cut: boundary})[0]

    expected = torch.stack([run(*one) for one in zip(x, each, strict=True)])
    assert_close(vmap(run, (0, in_dim))(x, given), expected)
    if cut == "lengths":
        with pytest.raises(rnnkit.LengthsError, match=r"lengths\[3\] is 9"):
            vmap(run, (0, in_dim))(x, given.where(given != 4, 9))
