"""The arguments of ``rnnkit.masked``: a padded batch of floats, the axis of its steps, lengths."""

from typing import Any

from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse
from rnnkit._checks.arrays import outlined_array, tensor_or_none
from rnnkit._checks.call_spec import Axis, CallSpec
from rnnkit._checks.constructors import check_count, is_index
from rnnkit._checks.length_checks import checked_lengths
from rnnkit._kernels.lengths import Lengths


def lengths_of_mask(lengths: Any, steps: Any) -> Lengths:
    """Return the lengths ``(batch,)`` of a mask ``(batch, steps)``, each from 0 to ``steps``."""
    fix = "pass the number of steps, such as x.shape[1] of a padded batch x (batch, seq, ...)"
    check_count("masked.mask: steps", steps, code="masked-steps", fix=fix)
    read = tensor_or_none(lengths)
    batch = len(read) if read is not None and read.dim() else 1
    axes = (Axis("batch", batch), Axis("steps", steps))
    spec = _spec_of("masked.mask", (batch, steps), axes, axis=1)
    return checked_lengths(spec, lengths, read)


def _spec_of(name: str, shape: tuple[int, ...], axes: tuple[Axis, ...], *, axis: int) -> CallSpec:
    """Read a call of a function of ``rnnkit.masked``; ``axis`` of the ``shape`` has the steps.

    The samples are on axis 0 or, if the steps are there, on axis 1.
    """
    return CallSpec(
        name=name,
        module=None,
        kind="masked",
        actual=shape,
        input_axes=axes,
        batch=shape[0] if axis else shape[1],
        seq=shape[axis],
        batch_first=axis > 0,
    )


def lengths_over_axis(name: str, x: Any, lengths: object, dim: Any) -> Lengths:
    """Check that ``x`` is a padded batch of floats with steps on axis ``dim``; return its lengths.

    ``name`` is the function of ``rnnkit.masked`` that was called. The samples are on axis 0, or on
    axis 1 if ``dim`` is axis 0.
    """
    name = f"masked.{name}"
    if not isinstance(x, Tensor) or x.dim() < 2 or not x.is_floating_point():
        refuse(
            ArgumentError,
            "x",
            f"{name}: x must be a float tensor (batch, seq, ...), got {outlined_array(x)}",
            fix="torch.as_tensor(x, dtype=torch.float32), of shape (batch, seq, ...)",
            code="masked-input",
        )
    rank = x.dim()
    if not is_index(dim) or not -rank <= dim < rank:
        refuse(
            ArgumentError,
            "dim",
            f"{name}: dim must be an axis of x, from {-rank} to {rank - 1}, got {brief(dim)}",
            fix="dim=1 for (batch, seq, ...), dim=0 for (seq, batch, ...)",
            code="masked-dim",
        )
    axis = dim % rank
    names = ["..."] * rank
    batch_axis = 0 if axis else 1
    names[batch_axis] = "batch"
    names[axis] = "seq"
    spec = _spec_of(name, tuple(x.shape), tuple(map(Axis, names)), axis=axis)
    return checked_lengths(spec, lengths, x)
