"""Why no output can be judged sample by sample, and what to type."""

from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.outputs import shape_of
from rnnkit._diagnostics.tell.outcome import ONE_SAMPLE


def why_unfollowed(baseline: Baseline) -> str:
    """Return why no output has a row for each sample, and what to type."""
    first = baseline.first
    normal = baseline.normal
    fewer = baseline.fewer
    if lists := [k for k, leaf in enumerate(normal) if isinstance(leaf, list)]:
        return f"{baseline.name(lists[0])} is a list of different lengths: return one padded tensor"
    if first is None:
        if any(isinstance(x, Tensor) and x.numel() > 1 for x in normal):
            return "no number of an output is finite: look for the first NaN, or infinity"
        is_one = any(isinstance(x, int | float) or shape_of(x) == () for x in normal)
        kind = "a single number" if is_one else "nothing to compare"
        return f"the model returns {kind}: return a row for each sample"
    if fewer is None:
        text = "the model refuses one sample less: give batch_dim, or let it take any batch"
        return ONE_SAMPLE if baseline.batch.size == 1 else text
    if len(fewer) != len(normal):
        return "each sample has an output of its own: return one padded tensor"
    name = baseline.name(first)
    if shape_of(fewer[first]) == shape_of(normal[first]):
        return f"{name} keeps its shape without a sample: batch_dim= is the axis of the samples"
    return f"the rows of {name} are in no order of samples: return (batch, ...)"
