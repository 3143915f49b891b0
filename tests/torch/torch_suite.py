"""Torch's database of module samples, what a test asks of a sample, and how two answers compare."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
Stage = common_modules.ModuleErrorEnum


def draw(name: str, dtype: torch.dtype, *, requires_grad: bool = False) -> list[Sample]:
    """Torch's samples for a class, the packed ones included."""
    info = INFO[THEIRS[name]]
    packing = {} if name in CELLS else {"with_packed_sequence": True}
    samples = list(info.module_inputs_func(info, "cpu", dtype, requires_grad, True, **packing))
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
    """One sample of one class, whose modules are drawn from one seed."""

    name: str
    index: int
    sample: Sample

    @property
    def traits(self) -> tuple[tuple[str, object], ...]:
        """How the sample differs from the others of its class."""
        constructor, args = self.sample.constructor_input, self.inputs
        sizes = [("sizes", str(constructor.args)), ("shape", str(tensors(args)[0].shape))]
        also = [("packed", is_packed(self.sample)), ("hx", len(args) > 1)]
        return (*sizes, *constructor.kwargs.items(), *also)

    @property
    def inputs(self) -> tuple[object, ...]:
        """What the module is called with."""
        return self.sample.forward_input.args

    def build(self, classes: Classes) -> nn.Module:
        """Construct the sample's module, of our class or of torch's, in the dtype of its input."""
        constructor = self.sample.constructor_input
        dtype = tensors(self.inputs)[0].dtype
        torch.manual_seed(self.index + 1)
        return classes[self.name](*constructor.args, **constructor.kwargs, dtype=dtype)

    def pair(self, mode: str = "train") -> tuple[nn.Module, nn.Module]:
        """Construct our module and torch's, with the same weights."""
        ours, theirs = self.build(OURS), self.build(THEIRS)
        return ours.train(mode == "train"), theirs.train(mode == "train")


def cases(
    name: str, dtype: torch.dtype = torch.float32, *, requires_grad: bool = False
) -> list[Case]:
    """Torch's samples for a class, with inputs of this dtype."""
    samples = enumerate(draw(name, dtype, requires_grad=requires_grad))
    return [Case(name, index, sample) for index, sample in samples]


@contextmanager
def naming(case: Case) -> Iterator[None]:
    """Name the sample on which an assertion fails."""
    try:
        yield
    except Exception as error:
        error.add_note(f"sample {case.index}: {case.traits}")
        raise


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
