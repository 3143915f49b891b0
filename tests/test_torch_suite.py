"""
Torch's own database of module samples, run on the six classes.

``torch.testing._internal.common_modules`` lists, for every module of torch, how it is constructed,
what it is called with, what it must return and which mistakes it must name. Whatever holds there
for a recurrent class of torch has to hold for ours, so a new torch brings its new samples along.
"""

import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import rnnkit

# Torch's test modules are written to own the process: they load a hypothesis profile of ten
# examples and freeze the flags of torch.backends. The other test files share this process, so
# neither may outlive the import.
with pytest.MonkeyPatch.context() as kept, warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Fail to import hypothesis", ImportWarning)
    kept.setitem(sys.modules, "hypothesis", None)
    kept.setattr(torch.backends, "disable_global_flags", lambda: None)
    from torch.testing._internal import common_modules

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
OURS = {name: getattr(rnnkit, name) for name in LAYERS + CELLS}
THEIRS = {name: getattr(nn, name) for name in LAYERS + CELLS}
INFO = {info.module_cls: info for info in common_modules.module_db}

Classes = dict[str, type[nn.Module]]
Sample = common_modules.ModuleInput
Mistake = common_modules.ErrorModuleInput


def draw(name: str, dtype: torch.dtype, *, requires_grad: bool = False) -> list[Sample]:
    """Torch's samples for a class, the packed ones included."""
    info = INFO[THEIRS[name]]
    packing = {} if name in CELLS else {"with_packed_sequence": True}
    samples = list(info.module_inputs_func(info, "cpu", dtype, requires_grad, True, **packing))  # noqa: FBT003
    if name == "LSTM":
        # Torch has packed samples for RNN and GRU only; they carry no state, so an LSTM takes them.
        samples += filter(is_packed, draw("GRU", dtype, requires_grad=requires_grad))
    return samples


def mistakes(name: str, dtype: torch.dtype) -> list[Mistake]:
    """Torch's samples that a class must refuse."""
    info = INFO[THEIRS[name]]
    return info.module_error_inputs_func(info, "cpu", dtype, requires_grad=False, training=True)


def is_packed(sample: Sample) -> bool:
    """Whether a sample's input is a PackedSequence."""
    return isinstance(sample.forward_input.args[0], PackedSequence)


@dataclass(frozen=True)
class Case:
    """One sample of one class: its data and weights are drawn anew, from one seed, in each test."""

    name: str
    index: int

    def sample(self, dtype: torch.dtype, *, requires_grad: bool = False) -> Sample:
        """Torch's sample, with inputs of this dtype."""
        torch.manual_seed(self.index)
        return draw(self.name, dtype, requires_grad=requires_grad)[self.index]

    def build(self, classes: Classes, sample: Sample) -> nn.Module:
        """Construct the sample's module, of our class or of torch's, in the dtype of its input."""
        constructor = sample.constructor_input
        dtype = tensors(sample.forward_input.args)[0].dtype
        torch.manual_seed(self.index + 1)
        return classes[self.name](*constructor.args, **constructor.kwargs, dtype=dtype)


def tensors(value: object) -> list[Tensor]:
    """Every tensor of a nested input or output, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for member in value for tensor in tensors(member)]
    return []


def call(module: nn.Module, inputs: tuple[object, ...]) -> list[Tensor]:
    """Give the outputs of a call, and the gradients of all inputs and parameters that take one."""
    outputs = tensors(module(*inputs))
    floating = [out for out in outputs if out.requires_grad]
    leaves = [tensor for tensor in tensors(inputs) if tensor.requires_grad]
    # Plain sums would give every step the same gradient, and a swap of steps could pass.
    slopes = [torch.linspace(0.5, 1.5, out.numel()).to(out).view_as(out) for out in floating]
    return [*outputs, *torch.autograd.grad(floating, [*leaves, *module.parameters()], slopes)]


def strided(value: object) -> object:
    """Give the same input, with every floating tensor a non-contiguous leaf."""
    if isinstance(value, PackedSequence):
        return value._replace(data=strided(value.data))
    if isinstance(value, tuple):
        return tuple(strided(member) for member in value)
    spread = torch.stack([value.detach(), value.detach() + 1], dim=-1)[..., 0]
    assert not spread.is_contiguous()
    return spread.requires_grad_(value.requires_grad)


def assert_identical(actual: list[Tensor], expected: list[Tensor]) -> None:
    """Equal bit for bit."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def every_case(*, packed: bool) -> list[object]:
    """List the samples of all six classes, as parameters whose ids say how they differ."""
    cases = []
    for name in OURS:
        for index, sample in enumerate(draw(name, torch.float32)):
            constructor, args = sample.constructor_input, sample.forward_input.args
            said = [f"{key}={value}" for key, value in constructor.kwargs.items()]
            said += ["packed"] * is_packed(sample) + ["hx"] * (len(args) - 1)
            if packed or not is_packed(sample):
                cases.append(pytest.param(Case(name, index), id="-".join([name, str(index), *said])))
    return cases


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

    modules = [case.build(classes, sample).train(mode == "train") for classes in (OURS, THEIRS)]

    assert_identical(*(call(module, inputs) for module in modules))


@pytest.mark.parametrize("case", every_case(packed=False))
@each_mode
def test_reference(case: Case, dtype: torch.dtype, mode: str) -> None:
    """The output is the one that torch's reference function for the sample gives."""
    sample = case.sample(dtype)
    module = case.build(OURS, sample).train(mode == "train")

    expected = sample.reference_fn(module, *sample.forward_input.args)

    torch.testing.assert_close(tensors(module(*sample.forward_input.args)), tensors(expected))


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

    copy = pickle.loads(pickle.dumps(module))  # noqa: S301 - our own bytes

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

    module = OURS[case.name](
        *constructor.args, **constructor.kwargs, device="meta", dtype=torch.float64
    )

    assert {("meta", torch.float64)} == {(p.device.type, p.dtype) for p in module.parameters()}


@each_case
def test_repr(case: Case) -> None:
    """A module prints as torch's does."""
    sample = case.sample(torch.float32)

    assert repr(case.build(THEIRS, sample)) == repr(case.build(OURS, sample))


@pytest.mark.refuses
@each_dtype
@pytest.mark.parametrize(
    ("name", "index"),
    [(name, index) for name in OURS for index in range(len(mistakes(name, torch.float32)))],
)
def test_mistake_is_named_as_torch_names_it(name: str, index: int, dtype: torch.dtype) -> None:
    """Each mistake in torch's list raises torch's type of exception with torch's sentence in it."""
    torch.manual_seed(index)
    mistake = mistakes(name, dtype)[index]
    constructor = mistake.module_error_input.constructor_input
    forward = mistake.module_error_input.forward_input
    refused = pytest.raises(mistake.error_type, match=mistake.error_regex)

    if mistake.error_on is common_modules.ModuleErrorEnum.CONSTRUCTION_ERROR:
        with refused:
            OURS[name](*constructor.args, **constructor.kwargs)
        return

    with warnings.catch_warnings():
        if name in CELLS and isinstance(constructor.args[-1], str):
            # Torch's list passes a nonlinearity where bias stands, and we warn of that.
            warnings.filterwarnings("ignore", "(?s).*bias", UserWarning)
        module = OURS[name](*constructor.args, **constructor.kwargs)
    with refused:
        module(*forward.args)
