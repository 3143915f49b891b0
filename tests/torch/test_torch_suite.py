"""Torch's own database of module samples, run on the six classes.

``torch.testing._internal.common_modules`` lists, for every module of torch, how it is constructed,
what it is called with, what it must return and which mistakes it must name. Whatever holds there
for a recurrent class of torch has to hold for ours, so a new torch brings its new samples along.
"""

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnkit
from tests.covering import covering
from tests.torch.torch_suite import (
    LAYERS,
    OURS,
    THEIRS,
    Classes,
    Stage,
    assert_identical,
    call,
    cases,
    is_packed,
    mistakes,
    naming,
    strided,
    tensors,
)

# What jaxtyping's import hook leaves in a module.
HOOKED = hasattr(rnnkit, "jaxtyping")
# Torch gives this warning once in a process, to whichever test comes first.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
each_class = pytest.mark.parametrize("name", OURS)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
# The samples have no dropout, so one dtype says enough about evaluation.
each_mode = pytest.mark.parametrize(
    ("dtype", "mode"),
    [(torch.float32, "train"), (torch.float64, "train"), (torch.float32, "eval")],
    ids=str,
)


@each_class
def test_construction_draws_the_same_weights(name: str) -> None:
    """From one seed both classes draw the same weights, and as many random numbers."""
    for case in cases(name):
        with naming(case):
            ours, after_ours = case.build(OURS), torch.get_rng_state()
            theirs, after_theirs = case.build(THEIRS), torch.get_rng_state()

            assert list(theirs.state_dict()) == list(ours.state_dict())
            assert_identical(list(ours.state_dict().values()), list(theirs.state_dict().values()))
            assert torch.equal(after_ours, after_theirs)


@each_class
@each_mode
def test_same_numbers_as_torch(name: str, dtype: torch.dtype, mode: str) -> None:
    """Outputs, states and all gradients equal those of torch's class, bit for bit."""
    for case in cases(name, dtype, requires_grad=True):
        with naming(case):
            ours, theirs = case.pair(mode)

            assert_identical(call(ours, case.inputs), call(theirs, case.inputs))


@each_class
@each_mode
def test_reference(name: str, dtype: torch.dtype, mode: str) -> None:
    """A batch of one, as torch's reference makes it, gives torch's numbers; unbatched likewise."""
    for case in cases(name, dtype):
        if is_packed(case.sample):
            continue
        with naming(case):
            ours, theirs = case.pair(mode)

            expected = tensors(case.sample.reference_fn(theirs, *case.inputs))

            assert_identical(tensors(case.sample.reference_fn(ours, *case.inputs)), expected)
            torch.testing.assert_close(tensors(ours(*case.inputs)), expected)


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


@each_class
def test_pickle(name: str) -> None:
    """A module that went through pickle is of the same class and gives the same output."""
    for case in cases(name):
        with naming(case):
            module = case.build(OURS)

            copy = pickle.loads(pickle.dumps(module))

            assert type(module) is type(copy)
            assert_identical(tensors(copy(*case.inputs)), tensors(module(*case.inputs)))


@each_class
@pytest.mark.parametrize(
    ("source", "target"), [(OURS, THEIRS), (THEIRS, OURS)], ids=["to torch", "from torch"]
)
def test_checkpoint(name: str, source: Classes, target: Classes) -> None:
    """A state_dict of one class loads strictly into the other, which then gives the same output."""
    for case in cases(name, torch.float64):
        with naming(case):
            trained, fresh = case.build(source), case.build(target)
            with torch.no_grad():
                for parameter in trained.parameters():
                    parameter.mul_(-0.5)

            fresh.load_state_dict(trained.state_dict(), strict=True)

            assert_identical(tensors(fresh(*case.inputs)), tensors(trained(*case.inputs)))


@each_class
@each_dtype
def test_non_contiguous(name: str, dtype: torch.dtype) -> None:
    """Inputs and states in strided memory give the results and gradients of contiguous ones."""
    for case in cases(name, dtype, requires_grad=True):
        with naming(case):
            module = case.build(OURS)

            torch.testing.assert_close(
                call(module, strided(case.inputs)), call(module, case.inputs)
            )


@pytest.mark.slow
@each_class
@pytest.mark.parametrize(
    "check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["grad", "gradgrad"]
)
def test_gradients(name: str, check: Callable[..., bool]) -> None:
    """First and second derivatives in all parameters, inputs and states are the numerical ones.

    They take long, and torch computes them: any two options meet in one of these samples.
    """
    by_traits = {case.traits: case for case in cases(name, torch.float64, requires_grad=True)}
    for case in map(by_traits.get, covering(list(by_traits), 2)):
        with naming(case):
            module, inputs = case.build(OURS), case.inputs
            leaves = [tensor for tensor in tensors(inputs) if tensor.requires_grad]

            def outputs(*_: Tensor, module: Any = module, inputs: Any = inputs) -> Any:
                """Call the module on leaves that the checks disturb in place."""
                return tuple(out for out in tensors(module(*inputs)) if out.requires_grad)

            assert check(outputs, (*leaves, *module.parameters()), fast_mode=True)


@each_class
def test_factory_arguments(name: str) -> None:
    """Device and dtype given to the constructor land on every parameter."""
    for case in cases(name):
        with naming(case):
            constructor = case.sample.constructor_input

            options = {**constructor.kwargs, "device": "meta", "dtype": torch.float64}
            module = OURS[name](*constructor.args, **options)

            found = {(p.device.type, p.dtype) for p in module.parameters()}
            assert found == {("meta", torch.float64)}


@each_class
def test_repr(name: str) -> None:
    """A module prints as torch's does."""
    for case in cases(name):
        with naming(case):
            ours, theirs = case.pair()

            assert repr(theirs) == repr(ours)


@each_class
@each_dtype
def test_mistakes_are_named_as_torch_names_them(name: str, dtype: torch.dtype) -> None:
    """Each mistake in torch's list raises torch's type of exception with torch's sentence in it."""
    for mistake in mistakes(name, dtype):
        sample = mistake.module_error_input
        constructor = sample.constructor_input
        refused = pytest.raises(mistake.error_type, match=mistake.error_regex)

        if mistake.error_on is Stage.CONSTRUCTION_ERROR:
            with refused:
                OURS[name](*constructor.args, **constructor.kwargs)
            continue

        if HOOKED and isinstance(constructor.args[-1], str):
            continue  # under jaxtyping's hook the annotation of bias refuses a string
        with warnings.catch_warnings():
            # Torch's list passes a cell's nonlinearity where bias stands, and we warn of that.
            warnings.filterwarnings("ignore", r".*the argument '\w+' is bias", UserWarning)
            module = OURS[name](*constructor.args, **constructor.kwargs)
        with refused:
            module(*sample.forward_input.args)
