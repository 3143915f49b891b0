"""``dependency_map``: which output depends on which input, along one axis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.keywords import known_keywords
from rnnkit._base.message import refuse
from rnnkit._base.model import check_model
from rnnkit._diagnostics.inputs.axes import with_inferred_axes
from rnnkit._diagnostics.inputs.changes import other_leaves, sample_at
from rnnkit._diagnostics.inputs.reading import batch_of
from rnnkit._diagnostics.measure.baseline import Axes, Baseline
from rnnkit._diagnostics.measure.precision import COARSE, beyond_rounding, in_widest_dtype
from rnnkit._diagnostics.measure.prepared import judged_finite
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.measure.unfollowed import why_unfollowed
from rnnkit._diagnostics.options import check_option
from rnnkit._diagnostics.run.isolation import session
from rnnkit._diagnostics.run.outputs import Given, Leaves, in_float64, is_number
from rnnkit._diagnostics.tell.picture import DependencyMap

#: The widest map that a terminal of 80 columns shows.
WIDEST = 32
#: How much larger the second change is: others are then the largest, where a maximum is taken.
LARGER = 100
#: What people call the axis, by its names elsewhere.
OTHER_NAMES = dict.fromkeys(["axis", "batch_dim", "seq_dim"], "dim=") | {
    "out_axis": "out_dim=",
    "out_seq_dim": "out_dim=",
}
#: A gradient that cancels out shrinks in float64 by more than this.
SHRINKS = 1e-6


@known_keywords("verify-argument", OTHER_NAMES, check_option)
def dependency_map(
    model: torch.nn.Module,
    *inputs: Any,
    dim: int = 0,
    out_dim: int | None = None,
    kwargs: Mapping[str, Any] | None = None,
    call: Callable[..., Any] | None = None,
) -> DependencyMap:
    """Find which outputs depend on which inputs along one axis, such as the batch or the steps.

    For each index of the axis (33 at most, evenly spaced), a copy of the model runs in float64 with
    a changed value at this index, and once more with 100 times this change. An output depends on
    this input if it changes, or if its gradient with respect to the input is not zero. If several
    inputs have the axis, they are changed together.

    Args:
        model: any module.
        *inputs: the positional arguments of the model.
        dim: the axis of the inputs to check; a negative one counts from the first input's end.
        out_dim: the axis of the first output to check; None means the same as ``dim``.
        kwargs: the keyword arguments of the model.
        call: a function that calls the model, ``call(model, *inputs, **kwargs)``. None means
            ``model(*inputs, **kwargs)``.

    Returns:
        A map, which prints as a grid with a row for each output and a column for each input.

    Raises:
        ArgumentError: if ``model`` is not a module, if ``kwargs`` or ``call`` has the wrong type,
            or if the inputs do not have the axis ``dim``, or the output ``out_dim``.

    >>> print(rnnkit.dependency_map(torch.nn.GRU(3, 4), torch.randn(4, 2, 3)))
    output on axis 0 (down), input on axis 0 (across): each depends on its own and all earlier inputs
    0 ■ · · ·
    1 ■ ■ · ·
    2 ■ ■ ■ ·
    3 ■ ■ ■ ■
    """  # noqa: E501 - what it prints
    check_model("dependency_map", model)
    given = Given(inputs, dict(kwargs or {}))
    batch = batch_of(given, dim, caller="dependency_map")
    dim %= batch.leaves[batch.first].dim()
    out_dim = dim if out_dim is None else out_dim
    with session(model, call, given, "dependency_map") as opened:
        batch, replaced = judged_finite(batch, opened)
        batch = with_inferred_axes(batch, lambda batch: opened.attempt(batch.tree()))
        narrow = Baseline.of(opened, batch)
        first = narrow.first
        if first is None:
            refuse(ArgumentError, "out_dim", why_unfollowed(narrow), code="verify-axis")
        shape = tuple(narrow.normal[first].shape)
        if out_dim not in range(-len(shape), len(shape)):
            message = f"the first output has no axis {out_dim}: its shape is {shape}"
            refuse(ArgumentError, "out_dim", message, code="verify-axis")
        out_dim %= len(shape)
        narrow = replace(narrow, axes=Axes(batch={first: out_dim}))
        columns = _spaced(narrow.batch.size)
        rows = _spaced(shape[out_dim])
        wide = in_widest_dtype(narrow)
        if wide.doubt:
            wide = replace(narrow, tolerance=COARSE)
        found = torch.stack([_moved(wide, column)[list(rows)] for column in columns], 1)
        pair = (Gradients(wide.batch, wide.session), Gradients(narrow.batch, narrow.session))
        if all(one.are_whole for one in pair):
            # A gradient that shrinks in float64 cancels out, and is rounding.
            fine, coarse = (_slopes(one, first, out_dim, rows)[:, columns] for one in pair)
            found |= (fine > SHRINKS * coarse) & (coarse > 0)
    return DependencyMap(found, rows, columns, dim, out_dim, [*opened.notes, *replaced])


dependency_map.__module__ = "rnnkit"


def _spaced(size: int) -> tuple[int, ...]:
    """Return at most 33 evenly spaced indices of an axis, among them 0 and the last one."""
    return tuple(sorted({*range(0, size, -(-size // WIDEST)), size - 1}))


def _moved(wide: Baseline, column: int) -> Tensor:
    """Return which rows of the first output a change of the inputs moves, as a mask over its axis.

    ``wide`` is the model in float64, its inputs and its output; the inputs change at one index of
    their axis, ``column``. A second run has a change that is 100 times as large. An output that has
    become smaller counts as moved where it is missing.
    """
    first = wide.first or 0
    axis = wide.axes.batch[first]
    before = wide.normal[first]
    leaves = other_leaves(wide.batch, sample_at(column))
    pairs = zip(wide.batch.leaves, leaves, strict=True)
    larger = [x + LARGER * (y - x) if is_number(x) and y is not x else y for x, y in pairs]
    small = wide.session.run(wide.batch.tree(leaves))
    large = wide.session.attempt(wide.batch.tree(larger)) or wide.normal
    found = [_laid_over(before, output[first:]) for output in (small, large)]
    # So large a number may come to nothing by a mask and still give inf * 0: that is no sign.
    if not found[1].isfinite().all():
        found.pop()
    moved = [beyond_rounding(wide, before, after, wide.scale_of(first)) for after in found]
    rows = torch.stack(moved).any(0).movedim(axis, 0)
    return rows.reshape(len(rows), -1).any(1).cpu()


def _laid_over(before: Tensor, output: Leaves) -> Tensor:
    """Return the first leaf of an output in the shape of ``before``, the same without a change.

    Where it has no number, as if it is shorter, ``before + 1`` stands: that counts as moved.
    """
    after = before + 1
    made = output[0] if output else None
    if isinstance(made, Tensor) and made.dim() == before.dim():
        inside = tuple(slice(min(sizes)) for sizes in zip(before.shape, made.shape, strict=True))
        after[inside] = made[inside]
    return after


def _slopes(gradients: Gradients, index: int, dim: int, rows: Sequence[int]) -> Tensor:
    """Return how large the gradient of each row of an output is in each index of the first input.

    ``index`` is the output and ``dim`` its axis with the ``rows``. Returns ``(rows, inputs)``.
    Slopes are enlarged by the root of the dtype's largest number, which is divided out here.
    """
    batch = gradients.batch
    axis = batch.axes[batch.sequence] or 0
    sources = gradients.sources[batch.sequence]
    sizes = []
    for row in rows:
        part = gradients.output[index].narrow(dim, row, 1)
        slopes = gradients.slopes(sources, [part])
        every = [
            torch.zeros_like(source) if slope is None else slope.abs()
            for source, slope in zip(sources, slopes, strict=True)
        ]
        largest = [x.movedim(axis, 0).reshape(batch.size, -1).amax(1) for x in every]
        each = torch.stack(largest).amax(0)
        sizes.append(in_float64(each) / float(torch.finfo(part.dtype).max ** 0.5))
    return torch.stack(sizes)
