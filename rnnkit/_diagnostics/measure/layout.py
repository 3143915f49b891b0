"""Which axes of inputs and outputs are batch and seq, as a report shows them."""

from collections.abc import Mapping
from typing import Any

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.outputs import shape_of

#: What each axis is: ``"batch"``, ``"seq"``, or its size.
Axes = tuple[str | int, ...]


def layout_of(baseline: Baseline) -> dict[str, Axes]:
    """Return the axes of each input and output of a model, as they were found, by its name.

    ``baseline`` is the model, a batch, and the output for it.
    """
    batch = baseline.batch
    found = baseline.axes
    layout: dict[str, Axes] = {}
    for k, (name, leaf) in enumerate(zip(batch.names, batch.leaves, strict=True)):
        # "seq" are the steps that are judged: other inputs may have steps of their own.
        seq = batch.seq_dims[k] if batch.has_steps(k) else None
        _write_axes(layout, name, leaf, {seq: "seq", batch.axes[k]: "batch"})
    for k, leaf in enumerate(baseline.normal):
        seq = found.seq.get(k) if found.source.get(k) == batch.sequence else None
        _write_axes(layout, baseline.name(k), leaf, {seq: "seq", found.batch.get(k): "batch"})
    for k, flat in found.joined.items():
        name = baseline.name(k)
        axes = layout[name]
        both = " * ".join(map(str, axes[flat.axis : flat.axis + 2]))
        layout[name] = (*axes[: flat.axis], both, *axes[flat.axis + 2 :])
    return layout


def _write_axes(
    layout: dict[str, Axes], name: str, leaf: Any, words: Mapping[int | None, str]
) -> None:
    """Write what the axes of a tensor are into the layout: a word by axis, or else its size."""
    sizes = enumerate(shape_of(leaf) or ())
    axes = tuple(words.get(axis, size) for axis, size in sizes)
    if axes:
        layout[name] = axes
