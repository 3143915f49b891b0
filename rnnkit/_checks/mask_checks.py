"""Masks of steps and of samples: booleans of the right shape, or why they are not."""

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, ShapeError
from rnnkit._base.message import refuse, wanted
from rnnkit._base.torch_tools import are_all
from rnnkit._checks.arrays import outlined_array, tensor_or_none
from rnnkit._checks.call_spec import CallSpec, RefusalCause, axes_before_features, spell


class MaskArgument(NamedTuple):
    """An argument that should be a mask: of steps or, without the spec of a call, of samples."""

    name: str
    value: Any
    #: The same as a tensor, if it can be read.
    flags: Tensor | None
    #: The shape that it should have.
    shape: tuple[Any, ...]
    spec: CallSpec | None = None

    @property
    def typed(self) -> str:
        """What is typed to have it as a tensor."""
        return self.name if isinstance(self.value, Tensor) else f"torch.as_tensor({self.name})"


def as_mask(name: str, mask: Any, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return a boolean mask over samples, in memory of its own: a backward pass may read it.

    ``mask`` may be a list, and may hold 0 and 1; ``shape`` is the one that it must have,
    ``(batch,)``.
    """
    flags = _checked(MaskArgument(name, mask, tensor_or_none(mask), shape))
    return flags.to(device, copy=flags is mask)


def checked_reset(spec: CallSpec, reset: Any) -> Tensor:
    """Return a mask of resets as booleans ``(seq, batch)``, in memory of their own.

    ``reset`` has the axes of the call's input before its features: ``(batch, seq)`` if the layer is
    batch-first, and ``(seq,)``, which is returned so, of an unbatched sequence.
    """
    shape: tuple[Any, ...] = (spec.seq, spec.batch)
    if spec.batch is None:
        shape = (spec.seq,)
    elif spec.batch_first:
        shape = (spec.batch, spec.seq)
    flags = _checked(MaskArgument("reset", reset, tensor_or_none(reset), shape, spec))
    if spec.batch_first and spec.batch is not None:
        flags = flags.transpose(0, 1)
    return flags.clone(memory_format=torch.contiguous_format)


def _checked(mask: MaskArgument) -> Tensor:
    """Return a mask as booleans, if it has its shape and holds booleans or 0 and 1; else refuse it.

    The resets of packed input, which has no axis of steps, are refused first.
    """
    flags = mask.flags
    spec = mask.spec
    if spec is not None and spec.kind == "packed":
        option = ", batch_first=True" if spec.batch_first else ""
        cause = RefusalCause(
            "mask-packed",
            "the input is packed, so it has no seq axis for a mask",
            f"input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input{option}), "
            "then pass lengths=lengths",
        )
        sentence = "reset is a mask over steps, which needs a padded input"
        spec.refuse(ShapeError, "reset", sentence, cause, spec.input_row)
    if flags is None or flags.is_complex():
        headline = f"{mask.name} cannot be read as booleans"
        _refuse_mask(
            mask,
            RefusalCause("mask-kind", headline, f"pass a boolean tensor of shape {mask.shape}"),
        )
    if flags.shape != mask.shape:
        _refuse_mask(mask, _why_shape(mask, tuple(flags.shape)))
    if flags.dtype is torch.bool:
        return flags
    is_marked = flags != 0
    if not are_all(flags == is_marked, f"{mask.name} must be booleans, or 0 and 1"):
        fix = f"pass a boolean tensor of shape {mask.shape}"
        if flags.is_floating_point():
            fix = f"{mask.typed} > 0.5, if these are probabilities"
        headline = f"{mask.name} holds numbers other than 0 and 1"
        _refuse_mask(mask, RefusalCause("mask-values", headline, fix))
    return is_marked


def _why_shape(mask: MaskArgument, came: tuple[int, ...]) -> RefusalCause:
    """Return why a mask has the wrong shape, and what to type.

    ``came`` is its shape. Without a spec it is a mask ``(batch,)`` over samples, as functions on
    states take; with one, a mask of the steps of that call.
    """
    code = "mask-shape"
    spec = mask.spec
    typed = mask.typed
    # A last axis of one is taken off first: the rest may be right, or wrong in another way.
    if came[-1:] == (1,) and len(came) > len(mask.shape):
        came = came[:-1]
        typed = f"{typed}.squeeze(-1)"
    if came == mask.shape:
        return RefusalCause(code, "the mask has one axis too many", typed)
    fix = f"pass a boolean tensor of shape {mask.shape}"
    if spec is None:
        return RefusalCause(code, "there must be one flag for each sample", fix)
    if came == mask.shape[::-1]:
        looks = "seq" if spec.batch_first else "batch"
        headline = f"the mask looks {looks}-first, but batch_first={spec.batch_first}"
        return RefusalCause(code, headline, f"{typed}.t()")
    if came == (spec.batch,):
        fix = "hx=rnnkit.states.reset(hx, reset), to reset samples before the call"
    return RefusalCause(code, "there must be one flag for each step of each sample", fix)


def _refuse_mask(mask: MaskArgument, cause: RefusalCause) -> NoReturn:
    """Raise an error about a mask with its cause: about its shape, or about what it holds.

    Without the spec of a call, the mask is one over samples ``(batch,)`` of a state.
    """
    name = mask.name
    spec = mask.spec
    error: Any = ArgumentError
    sentence = f"{name} must be booleans, or 0 and 1"
    sizes: dict[str, Any] = {}
    if cause.code == "mask-shape":
        actual = () if mask.flags is None else tuple(mask.flags.shape)
        error = ShapeError
        sizes = {"expected": mask.shape, "actual": actual}
        sentence = f"{name} must have shape {mask.shape}, got {actual}"
    came = outlined_array(mask.value if mask.flags is None else mask.flags)
    if spec is None:
        row = (name, wanted("(batch,), booleans or 0 and 1", came))
        fix = cause.fixes
        refuse(ArgumentError, name, sentence, cause.headline, row, fix=fix, code=cause.code)
    axes = axes_before_features(len(mask.shape) + 1, batch_first=spec.batch_first)
    row = (name, wanted(f"{spell(axes)}, booleans or 0 and 1", came))
    spec.refuse(error, name, sentence, cause, spec.input_row, row, **sizes)
