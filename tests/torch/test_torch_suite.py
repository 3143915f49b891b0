"""Torch's own database of module samples, run on the six classes.

``torch.testing._internal.common_modules`` lists, for every module of torch, how it is constructed,
what it is called with, what it must return and which mistakes it must name. Whatever holds there
for a recurrent class of torch has to hold for ours, so a new torch brings its new samples along.
"""

import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import rnnkit
from tests.torch.torch_suite import (
    LAYERS,
    OURS,
    THEIRS,
    Case,
    Classes,
    Stage,
    assert_identical,
    call,
    every_case,
    mistakes,
    strided,
    tensors,
)

# What jaxtyping's import hook leaves in a module.
HOOKED = hasattr(rnnkit, "jaxtyping")
# Torch gives this warning once in a process, to whichever test comes first.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
each_case = pytest.mark.parametrize("case", every_case(packed=True))
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
# The samples have no dropout, so one dtype says enough about evaluation.
each_mode = pytest.mark.parametrize(
    ("dtype", "mode"),
    [(torch.float32, "train"), (torch.float64, "train"), (torch.float32, "eval")],
    ids=str,
)


@each_case
def test_construction_draws_the_same_weights(case: Case) -> None:
    """From one seed both classes draw the same weights, and as many random numbers."""
    sample = case.sample(torch.float32)

    ours, after_ours = case.build(OURS, sample), torch.get_rng_state()
    theirs, after_theirs = case.build(THEIRS, sample), torch.get_rng_state()

    assert list(theirs.state_dict()) == list(ours.state_dict())
    assert_identical(list(ours.state_dict().values()), list(theirs.state_dict().values()))
    assert torch.equal(after_ours, after_theirs)


@each_case
@each_mode
def test_same_numbers_as_torch(case: Case, dtype: torch.dtype, mode: str) -> None:
    """Outputs, states and all gradients equal those of torch's class, bit for bit."""
    sample = case.sample(dtype, requires_grad=True)
    inputs = sample.forward_input.args

    ours, theirs = case.pair(sample, mode)

    assert_identical(call(ours, inputs), call(theirs, inputs))


@pytest.mark.parametrize("case", every_case(packed=False))
@each_mode
def test_reference(case: Case, dtype: torch.dtype, mode: str) -> None:
    """A batch of one, as torch's reference makes it, gives torch's numbers; unbatched likewise."""
    sample = case.sample(dtype)
    args = sample.forward_input.args
    ours, theirs = case.pair(sample, mode)

    expected = tensors(sample.reference_fn(theirs, *args))

    assert_identical(tensors(sample.reference_fn(ours, *args)), expected)
    torch.testing.assert_close(tensors(ours(*args)), expected)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_dropout_draws_the_same_masks(name: str, mode: str) -> None:
    """Dropout between layers uses random numbers as torch does, in training and in evaluation."""
    results = []
    for classes in (OURS, THEIRS):
        torch.manual_seed(3)
        module = classes[name](4, 6, num_layers=3, dropout=0.5).train(mode == "train")
        results.append([*call(module, (torch.randn(5, 2, 4),)), torch.get_rng_state()])

    assert_identical(*results)


@each_case
def test_pickle(case: Case) -> None:
    """A module that went through pickle is of the same class and gives the same output."""
    sample = case.sample(torch.float32)
    inputs = sample.forward_input.args
    module = case.build(OURS, sample)

    copy = pickle.loads(pickle.dumps(module))

    assert type(module) is type(copy)
    assert_identical(tensors(copy(*inputs)), tensors(module(*inputs)))


@each_case
@pytest.mark.parametrize(
    ("source", "target"), [(OURS, THEIRS), (THEIRS, OURS)], ids=["to torch", "from torch"]
)
def test_checkpoint(case: Case, source: Classes, target: Classes) -> None:
    """A state_dict of one class loads strictly into the other, which then gives the same output."""
    sample = case.sample(torch.float64)
    inputs = sample.forward_input.args
    trained, fresh = case.build(source, sample), case.build(target, sample)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(-0.5)

    fresh.load_state_dict(trained.state_dict(), strict=True)

    assert_identical(tensors(fresh(*inputs)), tensors(trained(*inputs)))


@each_case
@each_dtype
def test_non_contiguous(case: Case, dtype: torch.dtype) -> None:
    """Inputs and states in strided memory give the results and gradients of contiguous ones."""
    sample = case.sample(dtype, requires_grad=True)
    inputs = sample.forward_input.args
    module = case.build(OURS, sample)

    torch.testing.assert_close(call(module, strided(inputs)), call(module, inputs))


@pytest.mark.slow
@each_case
@pytest.mark.parametrize(
    "check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["grad", "gradgrad"]
)
def test_gradients(case: Case, check: Callable[..., bool]) -> None:
    """First and second derivatives in all parameters, inputs and states are the numerical ones."""
    sample = case.sample(torch.float64, requires_grad=True)
    inputs = sample.forward_input.args
    module = case.build(OURS, sample)
    leaves = [tensor for tensor in tensors(inputs) if tensor.requires_grad]

    def outputs(*_: Tensor) -> tuple[Tensor, ...]:
        """Call the module on leaves that the checks disturb in place."""
        return tuple(out for out in tensors(module(*inputs)) if out.requires_grad)

    assert check(outputs, (*leaves, *module.parameters()), fast_mode=True)


@each_case
def test_factory_arguments(case: Case) -> None:
    """Device and dtype given to the constructor land on every parameter."""
    constructor = case.sample(torch.float32).constructor_input

    options = {**constructor.kwargs, "device": "meta", "dtype": torch.float64}
    module = OURS[case.name](*constructor.args, **options)

    assert {("meta", torch.float64)} == {(p.device.type, p.dtype) for p in module.parameters()}


@each_case
def test_repr(case: Case) -> None:
    """A module prints as torch's does."""
    ours, theirs = case.pair(case.sample(torch.float32))

    assert repr(theirs) == repr(ours)


@each_dtype
@pytest.mark.parametrize(
    ("name", "index"),
    [(name, index) for name in OURS for index in range(len(mistakes(name, torch.float32)))],
)
def test_mistake_is_named_as_torch_names_it(name: str, index: int, dtype: torch.dtype) -> None:
    """Each mistake in torch's list raises torch's type of exception with torch's sentence in it."""
    torch.manual_seed(index)
    mistake = mistakes(name, dtype)[index]
    sample = mistake.module_error_input
    constructor = sample.constructor_input
    refused = pytest.raises(mistake.error_type, match=mistake.error_regex)

    if mistake.error_on is Stage.CONSTRUCTION_ERROR:
        with refused:
            OURS[name](*constructor.args, **constructor.kwargs)
        return

    if HOOKED and isinstance(constructor.args[-1], str):
        pytest.skip("under jaxtyping's hook the annotation of bias refuses a string")
    with warnings.catch_warnings():
        # Torch's list passes a cell's nonlinearity where bias stands, and we warn of that.
        warnings.filterwarnings("ignore", r".*the argument '\w+' is bias", UserWarning)
        module = OURS[name](*constructor.args, **constructor.kwargs)
    with refused:
        module(*sample.forward_input.args)
