"""The batch that is judged, and a model on it: what verify does before its first probe."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.axes import with_inferred_axes
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import by_rows, steps_at
from rnnkit._diagnostics.inputs.lengths import (
    Named,
    counts_of,
    guess_lengths,
    lengths_of_other_names,
    padded_side,
)
from rnnkit._diagnostics.inputs.reading import Caller, bound_to
from rnnkit._diagnostics.measure.baseline import Baseline, Rules
from rnnkit._diagnostics.measure.output_axes import with_axes
from rnnkit._diagnostics.measure.precision import in_widest_dtype
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.module_calls import Call, calls_in
from rnnkit._diagnostics.run.outputs import (
    Leaves,
    is_number,
    is_one_leaf,
    with_finite_numbers,
)
from rnnkit._diagnostics.run.uncopied import unwrapped
from rnnkit._diagnostics.tell.report import SAMPLES

UNTRAINABLE = (
    "with the numbers that are not finite, outputs are finite and gradients of weights are NaN: "
    "torch.where and masks leave them out too late, so replace them before anything is computed"
)


def with_found_lengths(
    whole: Batch, model: torch.nn.Module, call: Caller | None
) -> tuple[Batch, list[str]]:
    """Return a batch with the lengths that its inputs tell, such as a mask, and notes.

    ``whole`` are the inputs, ``call`` the user's own way to call the model, if any.
    """
    inner = unwrapped(model)
    named = _named_inputs(inner, call, whole)
    lengths, pads_after, lines = guess_lengths(inner, named, whole.size)
    lines += lengths_of_other_names(named, whole.names, lengths)
    return replace(whole, lengths=lengths, pads_after=pads_after) if lengths else whole, lines


def baseline_of(opened: Session, whole: Batch, rules: Rules) -> tuple[Baseline, list[str]]:
    """Run a model on four samples of a batch, or on all; return that as a baseline, and notes.

    A baseline is a model, a batch, and the output that other runs are compared with. Numbers that
    are not finite are replaced before, if they would spread; the batch axes of inputs are found,
    then the axes of outputs.
    """
    whole, notes = judged_finite(whole, opened)
    whole = with_inferred_axes(whole, lambda batch: opened.attempt(batch.tree()))
    baseline = with_axes(in_widest_dtype(_of_telling_samples(opened, whole, rules)))
    are_grouped = comes_in_groups(baseline)
    if baseline.batch.size < whole.size and are_grouped:
        # The rows of one group show nothing of the others.
        baseline = with_axes(in_widest_dtype(Baseline.of(opened, whole, rules)))
    batch = baseline.batch
    if rules.finds_lengths and not batch.lengths and _is_packed_where_padded(baseline):
        batch = replace(batch, lengths={batch.sequence: batch.valid_steps()})
    are_rows = are_grouped and batch.leaves[batch.first].dim() == 2
    is_one_step = _is_one_step(baseline)
    if is_one_step and any(map(_is_layer_from_zeros, calls_in(baseline.events))):
        features = batch.leaves[batch.sequence].shape[1]
        what = f"each sample is read as one step of {features} features"
        notes.append(f"{what}: if these are the steps, x.unsqueeze(-1) gives each one feature")
    if are_rows or (is_one_step and not rules.names_steps):
        batch = replace(batch, steps=0)  # axis 1 has the features of that step
    if _are_features(baseline):
        batch = _without_steps_of_features(baseline)
    return replace(baseline, batch=batch), notes


def _of_telling_samples(opened: Session, whole: Batch, rules: Rules) -> Baseline:
    """Run a model on four samples of a batch, or on all if it takes no other batch size."""
    with suppress(Exception):  # it may refuse as it likes
        part = whole.samples(whole.most_telling_samples(SAMPLES))
        return Baseline.of(opened, part, rules)
    return Baseline.of(opened, whole, rules)


def comes_in_groups(baseline: Baseline) -> bool:
    """Return whether samples belong together in groups, as the rows of a rollout do.

    Then the model refuses the batch without one sample, and takes it twice over. A model for one
    batch size refuses both.
    """
    batch = baseline.batch
    if batch.size == 1 or baseline.axes.without_one is not None:
        return False
    everyone = range(batch.size)
    return baseline.session.attempt(batch.samples([*everyone, *everyone]).tree()) is not None


def _is_packed_where_padded(baseline: Baseline) -> bool:
    """Return whether a layer gets lengths, or packed rows, that end where the input's zeros begin.

    Then the model takes these for padding itself.
    """
    batch = baseline.batch
    rows = batch.rows(batch.sequence)
    counts = batch.valid_steps()
    if rows is None or padded_side(rows, counts) != "post":
        return False
    trees = [event.tree for event in baseline.events if event.kind == "input"]
    given = pytree.tree_leaves(trees, is_leaf=is_one_leaf)
    return any(counts_of(part) == counts for part in given)


def _is_one_step(baseline: Baseline) -> bool:
    """Return whether the input is one step of each sample: ``(batch, feature)`` for a cell.

    ``baseline`` is the model and a batch: the calls of its cells in a run tell.
    """
    sequence = baseline.batch.leaves[baseline.batch.sequence]
    if sequence.dim() != 2 or not is_number(sequence):
        return False
    calls = calls_in(baseline.events)
    return bool(calls) and all(call.is_step and call.number == 0 for call in calls)


def _are_features(baseline: Baseline) -> bool:
    """Return whether axis 1 of an input ``(batch, n)`` has features, and not steps.

    Then the model takes no other number of them, nothing in it is recurrent, and the caller says
    nothing of steps.
    """
    batch = baseline.batch
    rules = baseline.rules
    sequence = batch.leaves[batch.sequence]
    if sequence.dim() != 2 or not sequence.is_floating_point() or batch.lengths:
        return False
    if rules.names_steps or rules.causal or rules.out_seq_dim is not None:
        return False
    return not baseline.axes.runs_on_less and not calls_in(baseline.events)


def _without_steps_of_features(baseline: Baseline) -> Batch:
    """Return the batch with the steps that the first output follows; without steps if it has none.

    The input whose steps were judged before has features.
    """
    batch = baseline.batch
    followed = baseline.axes.source.get(baseline.first or 0, batch.sequence)
    if followed == batch.sequence:
        return replace(batch, steps=0)
    return batch.with_steps_of(followed)


def _is_layer_from_zeros(call: Call) -> bool:
    """Return whether a call is of a layer, which starts from zeros and so may read a sequence."""
    is_given = any(part.any() for part in call.state.values())
    return isinstance(call.module, RNNBase) and not is_given


def _named_inputs(model: torch.nn.Module, call: Caller | None, batch: Batch) -> list[Named]:
    """Return each input with the name of the argument that takes it, and its rows if it has steps.

    ``call`` is the user's own way to call the model, if any.
    """
    places = batch.tree(batch.indices)
    paths: Any = pytree.tree_flatten_with_path(bound_to(model, call, places).arguments)[0]
    names = {
        index: str(getattr(path[-1], "key", getattr(path[-1], "name", ""))) for path, index in paths
    }
    return [
        Named(leaf, names.get(index, ""), batch.rows(index))
        for index, leaf in enumerate(batch.leaves)
    ]


def judged_finite(batch: Batch, opened: Session) -> tuple[Batch, list[str]]:
    """Return the batch with finite numbers in place of NaN and infinity, if those reach an output.

    Also a line for the report for each input that was changed so. A model that masks them is judged
    as it is. ``opened`` runs copies of the model.
    """
    filled = batch.with_each(partial(_finite_leaf, batch))
    batch = replace(batch, second_leaves=filled.second_leaves)  # which are finite in any case
    changed = [k for k, leaf in enumerate(filled.leaves) if leaf is not batch.leaves[k]]
    if not changed:
        return batch, []
    reached = _reached(batch, filled, opened)
    if not reached:
        return batch, []
    lines = [UNTRAINABLE] if reached == "weights" else []
    for k in changed:
        number = int((~batch.leaves[k].isfinite()).sum())
        what = count(number, "number that is not finite", "numbers that are not finite")
        lines.append(f"{batch.names[k]} has {what}: verify ran with finite numbers instead")
    return filled, lines


def _finite_leaf(batch: Batch, index: int, leaf: Any) -> Any:
    """Return a leaf, the input ``index``, with finite numbers of the same features.

    Lengths, labels and masks stay as they are, as does a leaf that has no NaN and no infinity.
    """
    if not is_number(leaf) or not batch.is_content(index) or leaf.isfinite().all():
        return leaf
    padding = steps_at(~batch.valid_places)(batch, index)
    if padding is not None:  # a convolution may count on zeros past the end
        leaf = torch.where(padding & ~leaf.isfinite(), 0.0, leaf)
    return by_rows(leaf, batch.axes_of(index), with_finite_numbers)


def _reached(batch: Batch, filled: Batch, opened: Session) -> str:
    """Return what numbers that are not finite reach: outputs, or gradients of weights or inputs.

    Empty if they reach nothing. ``filled`` is the batch without them; ``opened`` runs copies of the
    model.
    """
    after = opened.attempt(filled.tree())
    if after is None:
        return ""
    before = opened.attempt(batch.tree())
    if before is None or _count_finite(before) < _count_finite(after):
        return "outputs"
    run = Gradients(batch, opened)
    if "nan" in run.amounts.values():
        return "weights"
    slopes = [x for x in run.by_id.values() if x is not None]
    return "" if all(x.isfinite().all() for x in slopes) else "inputs"


def _count_finite(output: Leaves) -> int:
    """Return how many numbers of an output are finite."""
    return sum(int(x.isfinite().sum()) for x in output if isinstance(x, Tensor))
