"""Why no output can be judged sample by sample, and what to type."""

from torch import Tensor
from torch.nn import Module

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.outputs import Leaves, is_number, shape_of
from rnnkit._diagnostics.tell.outcome import INTEGERS, ONE_SAMPLE, Skipped

NOT_FINITE = "no number of an output is finite: find the first NaN or infinity"


def why_not_finite(baseline: Baseline) -> Skipped | None:
    """Return, as a probe's answer, that no number of an output is finite; None if some number is.

    ``baseline`` is the model, a batch, and the output for it. In NaN no use of anything shows.
    """
    is_unknown = baseline.first is None and has_numbers(baseline.normal)
    return Skipped(NOT_FINITE) if is_unknown else None


def has_numbers(output: Leaves) -> bool:
    """Return whether an output has a tensor of several numbers, finite or not."""
    return any(isinstance(x, Tensor) and x.numel() > 1 for x in output)


def numbers_by_sample(baseline: Baseline) -> list[int] | Skipped:
    """Return the outputs of numbers with a row for each sample, by index; or why there are none."""
    every = baseline.outputs_by_sample()
    numbers = [index for index in every if is_number(baseline.normal[index])]
    return numbers or Skipped(INTEGERS if every else why_unfollowed(baseline))


def none_seen(baseline: Baseline, reason: str) -> Skipped:
    """Return that no recurrent module was seen, for the ``reason``; or that one takes no hooks."""
    modules = Module.modules(baseline.session.model)
    kinds = [getattr(module, "original_name", "") for module in modules]  # of a ScriptModule
    hidden = [kind for kind in kinds if kind in ("RNN", "LSTM", "GRU")]
    if hidden:
        return Skipped(f"a scripted {hidden[0]} takes no hooks: verify the model unscripted")
    return Skipped(reason, "inapplicable")


def why_unfollowed(baseline: Baseline) -> str:
    """Return why no output of a model has a row for each sample, and what to type.

    ``baseline`` has the output for a batch, and may have another one for one sample less.
    """
    first = baseline.first
    normal = baseline.normal
    lists = [k for k, leaf in enumerate(normal) if isinstance(leaf, list)]
    if lists:
        return f"{baseline.name(lists[0])} is a list of different lengths: return one padded tensor"
    if first is None:
        return _why_no_numbers(normal)
    fewer = baseline.axes.without_one
    if fewer is None and baseline.batch.size == 1:
        return why_one_sample(baseline.batch)
    if fewer is None:
        axis = "" if baseline.batch.batch_dim else "pass batch_dim=, or "
        return f"the model does not run on one sample less: {axis}let it accept any batch"
    if len(fewer) != len(normal):
        return "each sample has its own output tensor: return one padded tensor"
    name = baseline.name(first)
    if shape_of(fewer[first]) == shape_of(normal[first]):
        ways = "return (batch, ...), or pass batch_dim=, the axis of the samples"
        return f"{name} does not follow the samples: {ways}"
    return f"no axis of {name} follows the samples: return (batch, ...)"


def why_one_sample(batch: Batch) -> str:
    """Return why no samples of a batch of one can be compared, and which input may have more."""
    axis = batch.batch_dim
    for index in batch.content:
        shape = shape_of(batch.leaves[index]) or ()
        size = shape[axis] if axis < len(shape) else 0
        if index != batch.first and size > 1:
            first = f"{batch.names[batch.first]} has one sample on axis {axis}"
            way = "pass them first, with call=lambda model, x, h: ..."
            return f"{first}, {batch.names[index]} has {size}: if these are the samples, {way}"
    return ONE_SAMPLE


def _why_no_numbers(output: Leaves) -> str:
    """Return why no leaf of an output holds numbers that can be compared."""
    if has_numbers(output):
        return NOT_FINITE
    is_one = any(isinstance(x, int | float) or shape_of(x) == () for x in output)
    kind = "a single number" if is_one else "nothing to compare"
    return f"the model returns {kind}: return a row for each sample"
