"""Masks of steps and of samples: booleans of the right shape, or why they are not."""

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, LayoutError, ShapeError
from rnnkit._base.message import refusal, wanted
from rnnkit._base.torch_tools import are_all
from rnnkit._checks.arrays import holds_integers, outlined_array, tensor_or_none
from rnnkit._checks.call_spec import CallSpec, RefusalCause, spell


class GivenMask(NamedTuple):
    """What came for a mask: one of steps or, without a spec of a call, of samples."""

    argument: str
    given: Any
    flags: Tensor | None  # the same as a tensor
    shape: tuple[Any, ...]  # which is wanted
    spec: CallSpec | None = None

    @property
    def name(self) -> str:
        """What is typed to have it as a tensor."""
        if isinstance(self.given, Tensor):
            return self.argument
        return f"torch.as_tensor({self.argument})"

    @property
    def came(self) -> tuple[int, ...]:
        """The shape that came."""
        return () if self.flags is None else tuple(self.flags.shape)

    @property
    def batch_first(self) -> bool:
        """Whether the batch is wanted on axis 0, before the steps."""
        return self.spec is not None and self.spec.batch_first

    @property
    def axis(self) -> int:
        """The axis of the steps."""
        return len(self.shape) - 1 if self.batch_first else 0

    @property
    def has_positions(self) -> bool:
        """Whether it may be a list of the positions that are meant."""
        return self.flags is not None and len(self.came) == 1 and holds_integers(self.flags)

    @property
    def is_turned(self) -> bool:
        """Whether seq and batch have changed places, before an axis of one if there is one."""
        turned = self.shape[::-1]
        return turned != self.shape and self.came in (turned, (*turned, 1))


def as_mask(name: str, mask: Any, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return a boolean mask over samples, in memory of its own: a backward pass may read it."""
    flags = _checked(GivenMask(name, mask, tensor_or_none(mask), shape))
    return flags.to(device, copy=flags is mask)


def checked_reset(spec: CallSpec, reset: Any) -> Tensor:
    """Return a mask of resets as booleans ``(seq, batch)``, in memory of their own."""
    shape: tuple[Any, ...] = (spec.seq, spec.batch)
    if spec.batch is None:
        shape = (spec.seq,)
    elif spec.batch_first:
        shape = (spec.batch, spec.seq)
    flags = _checked(GivenMask("reset", reset, tensor_or_none(reset), shape, spec))
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _checked(mask: GivenMask) -> Tensor:
    """Return a mask of booleans, or of 0 and 1, as booleans; refuse any other."""
    flags = mask.flags
    is_packed = mask.spec is not None and mask.spec.kind == "packed"
    if is_packed or flags is None or flags.shape != mask.shape or flags.is_complex():
        _refuse_mask(mask, _why_not(mask))
    if flags.dtype is torch.bool:
        return flags
    is_marked = flags != 0
    if not are_all(flags == is_marked, f"{mask.argument} must be booleans, or 0 and 1"):
        _refuse_mask(mask, _why_values(mask, flags))
    return is_marked


def _why_not(mask: GivenMask) -> RefusalCause:
    """Return why this is no mask of the wanted shape."""
    flags = mask.flags
    if mask.spec is not None and mask.spec.kind == "packed":
        option = ", batch_first=True" if mask.batch_first else ""
        return RefusalCause(
            "mask-packed",
            "the input is packed, and a mask of its steps is not possible",
            f"pad_packed_sequence(input{option}), then its two results as input and lengths=",
        )
    if flags is None or flags.is_complex():
        owner = "state" if mask.spec is None else "input"
        return RefusalCause(
            "mask-kind",
            f"{mask.argument} holds no values that can be read",
            f"a boolean tensor, on the device of the {owner}",
        )
    headline, fix = _why_shape(mask)
    return RefusalCause("mask-shape", headline, fix)


def _why_values(mask: GivenMask, flags: Tensor) -> RefusalCause:
    """Return what the numbers of a mask may be instead of 0 and 1."""
    headline = f"{mask.argument} holds numbers other than 0 and 1"
    fix = f"{mask.name} > 0.5"
    if mask.has_positions:
        headline += ": positions are not a mask"
        fix = _of_positions(mask)
    elif holds_integers(flags):
        before = ":, :1" if mask.axis else ":1"
        changes = f"{mask.name}.diff(dim={mask.axis}, prepend={mask.name}[{before}]) != 0"
        fix = f"{changes}, if these are numbers of documents"
    return RefusalCause("mask-values", headline, fix)


def _of_positions(mask: GivenMask) -> str:
    """Write the mask that is true at the positions that came."""
    return f"torch.zeros{mask.shape}.bool().index_fill({mask.axis}, {mask.name}, True)"


def _why_shape(mask: GivenMask) -> tuple[str, str]:
    """Return why a mask has the wrong shape, and what to type."""
    spec = mask.spec
    came = mask.came
    if came == (*mask.shape, 1):
        return "the mask has one axis too many", f"{mask.name}.squeeze(-1)"
    if mask.is_turned:
        looks = "seq" if mask.batch_first else "batch"
        headline = f"the mask looks {looks}-first, but batch_first={mask.batch_first}"
        squeezed = ".squeeze(-1)" if len(came) > len(mask.shape) else ""
        return headline, f"{mask.name}{squeezed}.t()"
    if spec is not None and came == (spec.batch,):
        headline = "there is one flag for each sample, and none for its steps"
        return headline, "to start them again before the call: rnnkit.states.reset(hx, mask)"
    if mask.has_positions:
        fix = _of_positions(mask)
        if spec is not None:
            fix += ", if these are steps of each sample"
        return "positions are not a mask", fix
    headline = "there must be one flag for each sample"
    if spec is not None:
        headline = "there must be one flag for each step of each sample"
    return headline, f"a boolean tensor {mask.shape}"


def _refuse_mask(mask: GivenMask, cause: RefusalCause) -> NoReturn:
    """Refuse a mask, with what is wrong and what to type."""
    spec = mask.spec
    argument = mask.argument
    error: Any = ArgumentError
    sizes: dict[str, Any] = {}
    sentence = f"{argument} must be booleans, or 0 and 1"
    if cause.code == "mask-packed":
        error = ShapeError
        sentence = "reset is a mask over the steps of a padded input"
    elif cause.code == "mask-shape":
        error = LayoutError if mask.is_turned else ShapeError
        sizes = {"expected": mask.shape, "actual": mask.came}
        sentence = f"{argument} must have shape {mask.shape}, got {mask.came}"
    came = outlined_array(mask.given if mask.flags is None else mask.flags)
    row = (argument, wanted(f"{spell(_axes(mask))}, booleans", came))
    if spec is None:
        fix = cause.fixes[0]
        refusal(ArgumentError, argument, sentence, cause.headline, row, fix=fix, code=cause.code)
    spec.refuse(error, argument, sentence, cause, spec.input_row, row, **sizes)


def _axes(mask: GivenMask) -> list[str]:
    """Name the axes of the mask that is wanted."""
    if mask.spec is None:
        return ["batch"][: len(mask.shape)]
    if len(mask.shape) == 1:
        return ["seq"]
    return ["batch", "seq"] if mask.batch_first else ["seq", "batch"]
