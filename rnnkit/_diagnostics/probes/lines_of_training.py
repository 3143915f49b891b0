"""Lines about train mode: random numbers that samples share, other code, averages over padding."""

from collections.abc import Iterator

from torch import Tensor
from torch.nn import BatchNorm1d, Module

from rnnkit._diagnostics.inputs.changes import other_leaves, steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import are_like, gradients_in_training
from rnnkit._diagnostics.run.outputs import Given, Leaves, difference, shapes_of, sizes_of

#: How far the numbers of two runs may be apart, relative to the largest one, and still be close.
CLOSE = 1e-3


def shared_draws(baseline: Baseline) -> Iterator[str]:
    """Yield a line if all samples get the same random numbers in train mode, as one dropout mask.

    A batch of one sample, repeated, then returns equal rows that differ from run to run.
    """
    batch = baseline.batch
    session = baseline.session
    gradients_in_training(baseline)  # by which the session knows what is drawn in train mode
    if batch.size < 2 or not any(name.startswith("torch") for name in session.drawn):
        return
    equal_samples = batch.samples([0] * batch.size).tree()
    copy = session.fresh(training=True)
    one = _trained(baseline, equal_samples, copy)
    other = _trained(baseline, equal_samples, copy)
    if one is None or other is None:
        return
    drawn = [
        one[index].movedim(baseline.axes.batch[index], 0)
        for index in baseline.outputs_by_sample()
        if _apart(one[index], other[index]).any()
    ]
    if drawn and not any(_apart(rows, rows[:1].expand_as(rows)).any() for rows in drawn):
        yield "in train mode all samples share random numbers, such as a dropout mask: intended?"


def other_in_training(baseline: Baseline) -> Iterator[str]:
    """Yield a line if a model runs differently in train mode than in eval mode, which is judged.

    What dropout or buffers change is usual.
    """
    session = baseline.session
    output = gradients_in_training(baseline).output
    if not output or are_like(output, baseline.normal):
        return
    buffers = [*session.model.buffers()]
    if not (session.drawn or buffers) or shapes_of(output) != shapes_of(baseline.normal):
        train = "call=lambda model, *inputs, **named: model.train()(*inputs, **named)"
        yield f"in train mode the model runs differently, and eval mode was judged: {train}"


def norms_over_padding(baseline: Baseline) -> Iterator[str]:
    """Yield a line if a batch norm reads padding in train mode, and so the valid steps do."""
    batch = baseline.batch
    if min(batch.valid_counts) == batch.steps or baseline.has_found("padding"):
        return
    places = batch.size * batch.steps  # all, and not the valid ones, or one of each sample
    norms = [
        event.label
        for event in baseline.events
        if isinstance(event.module, BatchNorm1d)
        if event.tensors[0].numel() == places * event.module.num_features
    ]
    if not norms:
        return
    where = steps_at(~batch.valid_places)
    changed = batch.with_leaves(other_leaves(batch, where))
    session = baseline.session
    one = _trained(baseline, batch.tree(), session.fresh(training=True))
    other = _trained(baseline, changed.tree(), session.fresh(training=True))
    if one is None or other is None:
        return
    indices = baseline.outputs_by_sample()
    if any(baseline.places(k, _apart(one[k], other[k])).any() for k in indices):
        yield f"in train mode, valid steps depend on padding: {norms[0]} averages over both"


def _trained(baseline: Baseline, inputs: Given, copy: Module) -> Leaves | None:
    """Run a copy in train mode; None if it refuses, or returns other shapes than in eval mode."""
    output = baseline.session.attempt(inputs, on=copy)
    if output is None or shapes_of(output) != shapes_of(baseline.normal):
        return None
    return output


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Return where two tensors of one shape are not close, relative to the largest number."""
    return difference(one, other) > CLOSE * sizes_of(one)
