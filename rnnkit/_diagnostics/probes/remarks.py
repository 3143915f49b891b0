"""What a report says of a model without any alarm: what its outputs read, and what they do not."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import other_leaves
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.read_steps import steps_read
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_in_training, gradients_of
from rnnkit._diagnostics.measure.unfollowed import why_not_finite
from rnnkit._diagnostics.probes.lines import LINES, chunks_beside_the_whole
from rnnkit._diagnostics.run.isolation import SpentError
from rnnkit._diagnostics.run.outputs import equal, gradient_arrives, is_dense, is_number
from rnnkit._diagnostics.tell.outcome import RUNS, Answer, Drawn, Passed, Skipped
from rnnkit._diagnostics.tell.picture import DependencyMap, Rule


def remarks(baseline: Baseline, *, streaming: bool) -> Answer:
    """Write what outputs read, which inputs reach none, and whether a state goes in and out.

    The answer has lines on what was measured, and a map of the steps.

    ``baseline`` is the model, a batch, its output, and the answers of all probes; ``streaming``
    says that chunks were asked for. Where the session's runs are spent, a note names the lines that
    are left out.
    """
    notes: list[str] = []
    left: list[str] = []
    drawn: Drawn | None = None
    try:
        drawn = _map_of_steps(baseline)
    except SpentError:
        left.append("steps of outputs")
    if drawn is not None and not baseline.has_found("causal"):
        name = baseline.name(baseline.first or 0)
        batch = baseline.batch
        of = batch.names[batch.sequence] if batch.of_sequence else "the input"
        text = f"steps of {name} depend {_words_of_steps(drawn.map)} of {of}"
        tried = len(drawn.map.outputs)
        if tried < batch.steps:
            text += f" (tried at {tried} of {batch.steps} steps)"
        notes.append(text)
    asked = [unread_inputs, inputs_of_one_value, *LINES]
    if not streaming:
        asked.append(chunks_beside_the_whole)
    for line in asked:
        try:
            notes += line(baseline)
        except SpentError:
            left.append(line.__name__.replace("_", " "))
    if left:
        notes.append(f"after {RUNS} runs, verify wrote no notes on {', '.join(left)}")
    return Answer(notes=notes, drawn=drawn)


def unread_inputs(baseline: Baseline) -> Iterator[str]:
    """Yield a line for each input that reaches no output, if outputs are finite numbers."""
    if why_not_finite(baseline) is None and any(map(is_number, baseline.normal)):
        for index, name in enumerate(baseline.batch.names):
            if _is_unread(baseline, index):
                is_trained = _arrives(gradients_in_training(baseline), index)
                where = " in eval mode; in train mode one does" if is_trained else ""
                yield f"no output depends on {name}{where}"


def inputs_of_one_value(baseline: Baseline) -> Iterator[str]:
    """Yield flags, masks or tokens of one value: no other one occurs that they could change to."""
    for name, leaf in zip(baseline.batch.names, baseline.batch.leaves, strict=True):
        if not is_dense(leaf) or leaf.dim() < 2 or is_number(leaf) or leaf.is_complex():
            continue
        numbers = leaf.flatten()
        if len(numbers) and (numbers == numbers[0]).all():
            what = f"{name} is {numbers[0].item()} everywhere, and was not changed"
            yield f"{what}: pass a batch where it varies"


def _is_unread(baseline: Baseline, index: int) -> bool:
    """Return whether no output moves with the input ``index``: no gradient arrives, nor a change.

    A flag, or what is rounded, has no gradient. False if the model takes no other values.
    """
    batch = baseline.batch
    if _arrives(gradients_of(baseline), index):
        return False
    leaf = batch.leaves[index]
    others = [other for other in _others(batch, index) if not equal(other, leaf)]
    for other in others:
        output = baseline.attempt(batch.with_leaf(index, other))
        if output is None or not all(map(equal, baseline.normal, output)):
            return False
    return bool(others)


def _arrives(run: Gradients, index: int) -> bool:
    """Return whether a gradient of the outputs arrives in the input ``index``."""
    slopes = [run.by_id[id(source)] for source in run.sources.get(index, [])]
    return any(slope is not None and gradient_arrives(slope).any() for slope in slopes)


def _others(batch: Batch, index: int) -> list[Any]:
    """Return what may be other values of the input ``index``, or the same; none if it has none.

    Flags are turned around; numbers are scaled and negated; tokens are redrawn, or 0; labels and
    lengths are moved to other samples. If the caller gave a second batch, the values are its own.
    """
    if batch.second_leaves is not None:
        return [batch.second_leaves[index]]
    leaf = batch.leaves[index]
    if isinstance(leaf, list | tuple):  # a number for each sample
        return [leaf[::-1]]
    if not is_dense(leaf) or not leaf.dim() or not leaf.numel():
        return []
    if leaf.dtype is torch.bool or is_binary(leaf):
        return [leaf.logical_not().to(leaf.dtype), torch.ones_like(leaf)]
    if is_number(leaf):  # also their sum changes, and what a ReLU lets through
        return [2 * leaf + 1, -leaf]
    if batch.is_content(index):
        everywhere = torch.ones_like(leaf, dtype=torch.bool)
        drawn = other_leaves(batch, lambda *_: everywhere, only=index)[index]
        return [drawn, torch.zeros_like(leaf)]
    axis = batch.axes[index] or 0
    return [leaf.roll(1, axis), leaf.flip(axis), torch.full_like(leaf, leaf.max().item())]


def _map_of_steps(baseline: Baseline) -> Drawn | None:
    """Return which steps of the input some steps of the first output read, as a map for the report.

    Its rows are those output steps, its columns all input steps. None if gradients do not tell it:
    some input or step was not followed. ``baseline`` has the answers of the probes that ran before.
    """
    batch = baseline.batch
    read = steps_read(baseline)
    coverage = baseline.known.answers.get("coverage")
    # Steps without a gradient that were not tried may be read all the same.
    are_without = isinstance(coverage, Skipped) and "no gradient" in coverage.reason
    memory = baseline.known.answers.get("memory")
    # Tokens that a model picks by argmax carry no gradient.
    is_cut = isinstance(memory, Passed) and "gradients do not" in memory.text
    # Gradients are whole if every input that is read was followed, and no backward failed.
    if not read or are_without or is_cut or not gradients_of(baseline).are_whole:
        return None
    is_causal = baseline.rules.causal in (True, "strict") and not baseline.rules.lookahead
    rule: Rule | None = "causal" if is_causal else None
    matrix = torch.stack([*read.values()])
    columns = batch.step_numbers
    if is_causal and baseline.has_passed("causal"):  # what cancels out may leave a gradient
        steps = torch.tensor([*read], device="cpu")
        matrix &= columns <= steps.unsqueeze(1)
    axes = (batch.seq_dim, baseline.out_seq_dim or 0)
    return Drawn("step", DependencyMap(matrix, (*read,), (*range(len(columns)),), *axes), rule)


def _words_of_steps(measured: DependencyMap) -> str:
    """Write on which input steps (a map's columns) a step of the output (a row) depends.

    ``measured`` is that map, with the numbers of its rows and columns.
    """
    matrix: Tensor = measured.matrix
    if matrix.all():
        return "on all steps"
    rows, places = matrix.nonzero().unbind(1)
    off = places - torch.tensor(measured.outputs, device="cpu")[rows]
    has_earlier = int(off.min()) < 0
    latest = int(off.max())
    if latest <= 0:
        return "on the same and earlier steps" if has_earlier else "only on the same step"
    is_inside = places < len(measured.inputs) - 1
    if (is_inside & (off == latest)).any():
        return f"on up to {count(latest, 'later step', 'later steps')}"
    return "on earlier and later steps" if has_earlier else "on the same and later steps"
