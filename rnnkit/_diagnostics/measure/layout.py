"""Which axes of inputs and outputs are batch and seq, as a report shows them."""

from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline

#: What each axis is: ``"batch"``, ``"seq"``, or its size.
Axes = tuple[str | int, ...]


def layout_of(baseline: Baseline) -> dict[str, Axes]:
    """Return the axes of each input and output of a model, as they were found."""
    batch = baseline.batch
    layout: dict[str, Axes] = {}
    for k, (name, leaf) in enumerate(zip(batch.names, batch.leaves, strict=True)):
        if isinstance(leaf, Tensor) and leaf.dim():
            # "seq" are the steps that are judged: other inputs may have steps of their own.
            seq = batch.seq_dims[k] if batch.has_steps(k) else None
            layout[name] = _named(leaf, batch.axes[k], seq)
    for k, leaf in enumerate(baseline.normal):
        if isinstance(leaf, Tensor) and leaf.dim():
            seq = baseline.step_axes[k] if baseline.step_inputs[k] == batch.sequence else None
            layout[baseline.name(k)] = _named(leaf, baseline.axes[k], seq)
    for k, flat in baseline.session.joined_axes.items():
        name = baseline.name(k)
        axes = layout[name]
        both = " * ".join(map(str, axes[flat.axis : flat.axis + 2]))
        layout[name] = (*axes[: flat.axis], both, *axes[flat.axis + 2 :])
    return layout


def _named(leaf: Tensor, batch: int | None, seq: int | None) -> Axes:
    known = {seq: "seq", batch: "batch"}
    return tuple(known.get(axis, size) for axis, size in enumerate(leaf.shape))
