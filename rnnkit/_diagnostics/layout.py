"""The axes that were found for each input and output, as a report shows them."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch, is_whole
from rnnkit._diagnostics.report import Axis, Layout


def layout(baseline: Baseline) -> Layout:
    """Return the axes of each input and output of a model, as they were found.

    >>> rnnkit.verify(torch.nn.GRU(3, 4, batch_first=True), torch.randn(5, 7, 3)).axes["input"]
    ('batch', 'seq', 3)
    """
    batch = baseline.batch
    # "seq" are the steps that are judged: other inputs may have steps of their own.
    steps = [batch.seq_dim if batch.has_steps(k) else None for k in range(len(batch.leaves))]
    names = _input_names(batch)
    found = _named(names, batch.leaves, {"batch": batch.axes, "seq": steps})
    outputs = [baseline.name(index) for index in range(len(baseline.normal))]
    axes = {"batch": baseline.axes, "seq": baseline.step_axes}
    return found | _named(outputs, baseline.normal, axes)


def _input_names(batch: Batch) -> list[str]:
    flat = pytree.tree_flatten_with_path(batch.tree(), is_leaf=is_whole)[0]
    paths: list[Any] = [path for path, _ in flat]
    if sum(isinstance(leaf, Tensor) for leaf in batch.leaves) == 1:
        return ["input" for _ in paths]
    return [
        f"input{pytree.keystr(path[1:])}"
        if path[0].name == "args"
        else f"{path[1].key}{pytree.keystr(path[2:])}"
        for path in paths
    ]


def _named(
    names: Iterable[str], leaves: Iterable[Any], axes: Mapping[str, list[int | None]]
) -> Layout:
    found: Layout = {}
    for index, (name, leaf) in enumerate(zip(names, leaves, strict=True)):
        if isinstance(leaf, Tensor) and leaf.dim():
            parts: list[Axis] = list(leaf.shape)
            for axis, where in axes.items():
                if (at := where[index]) is not None:
                    parts[at] = axis
            found[name] = tuple(parts)
    return found
