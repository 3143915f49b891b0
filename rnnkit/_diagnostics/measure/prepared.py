"""The batch that is judged, and a model on it: what verify does before its first probe."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.inputs.axes import equal_rows, infer_batch_axes
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.lengths import (
    Named,
    counts_of,
    guess_lengths,
    lengths_of_other_names,
    padded_side,
)
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.finite import judged_finite
from rnnkit._diagnostics.measure.output_axes import find_axes
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.module_calls import calls_in
from rnnkit._diagnostics.run.outputs import is_number, is_one_leaf
from rnnkit._diagnostics.run.uncopied import unwrapped
from rnnkit._diagnostics.tell.outcome import Outcome
from rnnkit._diagnostics.tell.report import SAMPLES


@dataclass(frozen=True)
class Rules:
    """What a caller says of a model: where its padding and its steps are, and what they may read.

    Attributes:
        is_after: whether the padding is after a sample, not before it.
        causal: what a step of the output may read: see verify, whose argument it is.
        lookahead: how many later steps a causal model may read.
        out_seq_dim: the seq axis of the first output; None if it is to be found.
        finds_lengths: whether what a model packs may tell the lengths, if nothing else does.
    """

    is_after: bool = True
    causal: bool | str = False
    lookahead: int = 0
    out_seq_dim: int | None = None
    finds_lengths: bool = True


def find_lengths(
    whole: Batch, model: torch.nn.Module, call: Callable[..., Any] | None, *, is_after: bool
) -> tuple[bool, list[str]]:
    """Give a batch the lengths that its inputs tell, such as a mask.

    Return where padding is, and notes.

    ``whole`` are the inputs, ``call`` the user's own way to call the model, if any. The first
    result is whether padding is after a sample: ``is_after`` if no lengths are found.
    """
    inner = unwrapped(model)
    if call is None:
        named = _named_inputs(whole, getattr(inner, "forward", None))
    else:
        named = _named_inputs(whole, call, leading=1)
    lengths, is_after_each, lines = guess_lengths(inner, named, whole.size)
    whole.lengths = lengths
    lines += lengths_of_other_names(named, whole.names, whole.lengths)
    return (is_after_each if whole.lengths else is_after), lines


def baseline_of(
    opened: Session, whole: Batch, rules: Rules, answers: Mapping[str, Outcome]
) -> tuple[Baseline, list[str]]:
    """Run a model on four samples of a batch, or on all; return that as a baseline, and notes.

    A baseline is a model, a batch, and the output that other runs are compared with. Numbers that
    are not finite are replaced before, if they would spread; the batch axes of inputs are found,
    then the axes of outputs. ``answers`` are those of the probes, which whoever asks them fills in.
    """
    whole, notes = judged_finite(whole, opened, pads_after=rules.is_after)
    before = list(whole.axes)
    infer_batch_axes(whole, opened.attempt)
    if not _are_rows_of_samples(whole, opened):
        whole.rows_of = {}
    shared = _taken_for_shared(whole, before)
    part = whole.samples(whole.most_telling_samples(SAMPLES))
    if part.size < whole.size and opened.attempt(part.tree()) is None:
        part = whole  # a model for one batch size
    baseline = _first_run(opened, part, rules, answers, shared)
    are_grouped = comes_in_groups(baseline)
    if part.size < whole.size and are_grouped:
        part = whole  # the rows of one group show nothing of the others
        baseline = _first_run(opened, part, rules, answers, shared)
    if rules.finds_lengths and not part.lengths and _is_packed_where_padded(baseline):
        part.lengths = {part.sequence: part.valid_steps()}
    are_rows = are_grouped and part.leaves[part.first].dim() == 2
    if are_rows or _is_one_step(baseline):
        part.steps = None  # axis 1 has the features of that step
    return baseline, notes


def _first_run(
    opened: Session,
    batch: Batch,
    rules: Rules,
    answers: Mapping[str, Outcome],
    shared: list[str],
) -> Baseline:
    """Run a model on a batch, and find the axes of its outputs.

    ``shared`` names the inputs whose rows each sample takes all.
    """
    opened.joined_axes = {}  # of another batch
    baseline = Baseline(
        opened,
        batch,
        rules.is_after,
        rules.causal,
        rules.lookahead,
        answers,
        shared=shared,
    )
    find_axes(baseline, rules.out_seq_dim)
    return baseline


def comes_in_groups(baseline: Baseline) -> bool:
    """Return whether samples belong together in groups, as the rows of a rollout do.

    Then the model refuses the batch without one sample, and takes it twice over. A model for one
    batch size refuses both.
    """
    batch = baseline.batch
    if batch.size == 1 or baseline.output_without_one is not None:
        return False
    everyone = range(batch.size)
    return baseline.session.attempt(batch.samples([*everyone, *everyone]).tree()) is not None


def _are_rows_of_samples(batch: Batch, opened: Session) -> bool:
    """Return whether rows that another input counts go with the samples, as two runs show.

    A table may have as many rows by chance. Without the first sample a model returns the same for
    the others only if it is given what belongs to them: their rows, or the whole table.
    """
    if not batch.rows_of or batch.size < 2:
        return False
    samples = range(1, batch.size)
    rest = batch.samples(samples)
    uncut = list(rest.leaves)
    for index in batch.rows_of:
        uncut[index] = batch.leaves[index]
    normal = opened.attempt(batch.tree())
    with_rows = opened.attempt(rest.tree())
    with_table = opened.attempt(rest.tree(uncut))
    if normal is None or with_rows is None or not all(equal_rows(normal, with_rows, samples)):
        return False
    return with_table is None or not all(equal_rows(normal, with_table, samples))


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


def _taken_for_shared(batch: Batch, before: Sequence[int | None]) -> list[str]:
    """Return the names of inputs that have an axis like the batch, but that all samples share.

    ``before`` has the batch axis of each input as sizes told it, before runs did.
    """
    each = zip(batch.names, before, batch.axes, strict=True)
    return [name for name, one, other in each if one is not None and other is None]


def _named_inputs(batch: Batch, function: Any, leading: int = 0) -> list[Named]:
    """Return each input with its name as an argument of ``function``, and its rows if it has steps.

    ``leading`` arguments of the function come before the inputs, such as the model of a call.
    """
    arguments: list[Any] = []
    with suppress(TypeError, ValueError):  # such as a builtin
        told = [*inspect.signature(function).parameters.values()][leading:]
        arguments = [one.name for one in told if one.kind is not one.VAR_POSITIONAL]
    args, kwargs = batch.tree()
    keyed = dict(zip([*arguments, *range(len(args))], args, strict=False)) | kwargs
    paths: Any = pytree.tree_flatten_with_path(keyed, is_one_leaf)[0]
    names = [getattr(path[-1], "key", getattr(path[-1], "name", "")) for path, _ in paths]
    leaves = zip(batch.leaves, names, strict=False)  # what is given twice is Python's to refuse
    return [Named(leaf, str(name), batch.rows(k)) for k, (leaf, name) in enumerate(leaves)]
