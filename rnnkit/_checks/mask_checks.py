"""Masks of steps and of samples: booleans of the right shape, or why they are not."""

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, LayoutError, ShapeError
from rnnkit._base.message import refusal, wanted
from rnnkit._base.torch_tools import are_all, is_meta_or_fake
from rnnkit._checks.arrays import holds_integers, outlined_array, tensor_or_none
from rnnkit._checks.call_spec import CallSpec, RefusalCause, spell


def as_mask(name: str, mask: Any, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return a boolean mask over samples, in memory of its own: a backward pass may read it."""
    flags, code = read_mask(name, mask, shape)
    if flags is not None and flags.is_meta and device.type != "meta":
        code = "mask-values"
    if code or flags is None:
        _refuse_mask(WrongMask(None, name, mask, shape, flags, code))
    return flags.to(device, copy=flags is mask)


def check_reset(spec: CallSpec, reset: Any, input: Any) -> Tensor:
    """Return a mask of resets as booleans ``(seq, batch)``, in memory of their own."""
    shape = _shape_of_reset(spec)
    if spec.kind == "packed":
        given = tensor_or_none(reset)
        _refuse_mask(WrongMask(spec, "reset", reset, shape, given, "mask-packed"))
    flags, code = read_mask("reset", reset, shape)
    if flags is not None and is_meta_or_fake(flags) and not is_meta_or_fake(input):
        code = "mask-values"
    if code or flags is None:
        _refuse_mask(WrongMask(spec, "reset", reset, shape, flags, code))
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _shape_of_reset(spec: CallSpec) -> tuple[Any, ...]:
    """Return the shape of a mask of an input's steps."""
    if spec.batch is None:
        return (spec.seq,)
    if spec.batch_first:
        return (spec.batch, spec.seq)
    return (spec.seq, spec.batch)


def read_mask(name: str, mask: Any, shape: tuple[Any, ...]) -> tuple[Tensor | None, str]:
    """Return a mask of booleans, or of 0 and 1, as booleans, or the code of what is wrong."""
    flags = tensor_or_none(mask)
    if flags is None:
        return None, "mask-kind"
    if flags.shape != shape:
        return flags, "mask-shape"
    if flags.dtype is torch.bool:
        return flags, ""
    if flags.is_complex():
        return flags, "mask-values"
    is_marked = flags != 0
    fits = are_all(flags == is_marked, f"{name} must be booleans, or 0 and 1")
    return (is_marked, "") if fits else (flags, "mask-values")


class WrongMask(NamedTuple):
    """A mask that does not fit: one of steps or, without a spec of a call, of samples."""

    spec: CallSpec | None
    argument: str
    given: Any
    shape: tuple[Any, ...]  # which is wanted
    flags: Tensor | None  # what was given, as a tensor
    code: str

    @property
    def name(self) -> str:
        """What is typed to have it as a tensor."""
        return (
            self.argument if isinstance(self.given, Tensor) else f"torch.as_tensor({self.argument})"
        )

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
        """Whether seq and batch have changed places."""
        turned = self.shape[::-1]
        is_like = self.came[:2] == turned != self.shape and self.came[2:] in ((), (1,))
        return is_like and self.code == "mask-shape"


def _what_is_wrong(mask: WrongMask) -> tuple[str, str]:
    """Return what is wrong with a mask, and what to type."""
    flags = mask.flags
    if mask.code == "mask-packed":
        option = ", batch_first=True" if mask.batch_first else ""
        unpacked = f"pad_packed_sequence(input{option}), then its two results as input and lengths="
        return "the input is packed, and a mask of its steps is not possible", unpacked
    if flags is None or flags.is_meta:
        of = "state" if mask.spec is None else "input"
        headline = f"{mask.argument} holds no values that can be read"
        return headline, f"a boolean tensor, on the device of the {of}"
    if mask.code == "mask-values":
        return _why_values(mask, flags)
    return _why_shape(mask)


def _why_values(mask: WrongMask, flags: Tensor) -> tuple[str, str]:
    """Return what the numbers of a mask may be instead of 0 and 1."""
    others = f"{mask.argument} holds numbers other than 0 and 1"
    if mask.has_positions:
        return f"{others}: positions are not a mask", _of_positions(mask)
    if holds_integers(flags):
        before = ":, :1" if mask.axis else ":1"
        changes = f"{mask.name}.diff(dim={mask.axis}, prepend={mask.name}[{before}]) != 0"
        return others, f"{changes}, if these are numbers of documents"
    if flags.is_complex():
        return f"{mask.argument} holds complex numbers", f"{mask.name}.real > 0.5"
    return others, f"{mask.name} > 0.5"


def _of_positions(mask: WrongMask) -> str:
    """Write the mask that is true at the positions that came."""
    return f"torch.zeros{mask.shape}.bool().index_fill({mask.axis}, {mask.name}, True)"


def _why_shape(mask: WrongMask) -> tuple[str, str]:
    """Return why a mask has the wrong shape."""
    spec = mask.spec
    came = mask.came
    if came == (*mask.shape, 1):
        return "the mask has one axis too many", f"{mask.name}.squeeze(-1)"
    if mask.is_turned:
        looks = "seq" if mask.batch_first else "batch"
        headline = f"the mask looks {looks}-first, but batch_first={mask.batch_first}"
        squeezed = ".squeeze(-1)" if len(came) == 3 else ""
        return headline, f"{mask.name}{squeezed}.t()"
    if spec is not None and came == (spec.batch,):
        headline = "there is one flag for each sample, and none for its steps"
        return headline, "to start them again before the call: rnnkit.states.reset(hx, mask)"
    if mask.has_positions:
        fix = _of_positions(mask)
        if spec is not None:
            fix += ", if these are steps of each sample"
        return "positions are not a mask", fix
    axis = _wrong_axis(mask)
    if axis is not None:
        return _why_size(mask, axis)
    headline = "there must be one flag for each sample"
    if spec is not None:
        headline = "there must be one flag for each step of each sample"
    return headline, f"a boolean tensor {mask.shape}"


def _wrong_axis(mask: WrongMask) -> int | None:
    """Return the only axis whose size is wrong, if one alone is."""
    if len(mask.came) != len(mask.shape):
        return None
    wrong = [axis for axis, size in enumerate(mask.shape) if mask.came[axis] != size]
    return wrong[0] if len(wrong) == 1 else None


def _why_size(mask: WrongMask, axis: int) -> tuple[str, str]:
    """Return that a mask has more or fewer flags along an axis than the input or the state."""
    came = mask.came[axis]
    size = mask.shape[axis]
    of = "state" if mask.spec is None else "input"
    noun = "steps" if mask.spec is not None and axis == mask.axis else "samples"
    headline = f"axis {axis} of the mask has {came} {noun}, the {of} {size}"
    if came <= size:
        return headline, f"a boolean tensor {mask.shape}"
    index = f":, :{size}" if axis else f":{size}"
    return headline, f"{mask.name}[{index}], if the {of} is the first part of what the mask is for"


def _refuse_mask(mask: WrongMask) -> NoReturn:
    """Refuse a mask, with what is wrong and what to type."""
    spec = mask.spec
    argument = mask.argument
    headline, fix = _what_is_wrong(mask)
    sentence = f"{argument} must be booleans, or 0 and 1"
    if mask.code == "mask-packed":
        sentence = "reset is a mask over the steps of a padded input"
    elif mask.code == "mask-shape":
        sentence = f"{argument} must have shape {mask.shape}, got {mask.came}"
    came = outlined_array(mask.given if mask.flags is None else mask.flags)
    row = (argument, wanted(f"{spell(_axes(mask))}, booleans", came))
    if spec is None:
        refusal(ArgumentError, argument, sentence, headline, row, fix=fix, code=mask.code)
    error: Any = ArgumentError
    facts: dict[str, Any] = {}
    if mask.code == "mask-shape":
        error = LayoutError if mask.is_turned else ShapeError
        facts = {"expected": mask.shape, "actual": mask.came}
    elif mask.code == "mask-packed":
        error = ShapeError
    cause = RefusalCause(mask.code, headline, fix)
    spec.refuse(error, argument, sentence, cause, spec.input_row, row, **facts)


def _axes(mask: WrongMask) -> list[str]:
    """Name the axes of the mask that is wanted."""
    if mask.spec is None:
        return ["batch"][: len(mask.shape)]
    if len(mask.shape) == 1:
        return ["seq"]
    return ["batch", "seq"] if mask.batch_first else ["seq", "batch"]
