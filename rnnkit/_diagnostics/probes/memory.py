"""The probe *memory*: the last output depends on earlier steps."""

from collections import Counter
from itertools import product

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.changes import EVERY_STEP, Where, earlier_steps, steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import compare_changed, refused
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.measure.unfollowed import none_seen, numbers_by_sample
from rnnkit._diagnostics.run.events import stateful_modules
from rnnkit._diagnostics.run.module_calls import calls_in
from rnnkit._diagnostics.run.outputs import Leaves, are_bit_equal, is_number
from rnnkit._diagnostics.tell.outcome import NO_STEPS, Finding, Outcome, Passed, Skipped

HOLDS = "the last output depends on earlier steps"


#: Steps of an output, within each sample's length.
FIRST = 0
LAST = -1


def probe_memory(baseline: Baseline) -> Outcome:
    """The last step, or the pooled output, depends on earlier steps at all.

    Gradients are asked first and, if they show nothing, changed inputs. ``baseline`` is the model,
    a batch, and what it returned for that.
    """
    batch = baseline.batch
    if not stateful_modules(baseline.events) and not gradients_of(baseline).noticed.cut:
        unseen = "no recurrent module was seen; a loop of plain functions is not recognized"
        return none_seen(baseline, unseen)
    valid = batch.valid_places
    earlier = earlier_steps(valid)
    if not earlier.any() or not any(map(batch.has_steps, batch.indices)):
        return Skipped(NO_STEPS, "inapplicable")
    numbers = numbers_by_sample(baseline)
    if isinstance(numbers, Skipped):
        return numbers
    gradients = gradients_of(baseline)
    ends = _ends(baseline, gradients.output, LAST) if gradients.output else []
    read = gradients.places(ends, every=True) if ends else None
    if read is not None and (read & earlier).any():
        return Passed(HOLDS, [], notes=_notes_of_cuts(baseline, valid, read))
    if baseline.doubt:
        return Skipped(baseline.doubt)  # rounding may move any output
    return _judge_changes(baseline, valid, read)


def _notes_of_cuts(baseline: Baseline, valid: Tensor, read: Tensor) -> list[str]:
    """Return a note if the last output depends on steps before the first that gets a gradient.

    ``valid`` ``(batch, seq)`` has the steps within the lengths, and ``read`` those that get one;
    forward cuts the graph before them.
    """
    cut = gradients_of(baseline).noticed.cut
    before = valid & (read.cumsum(1) == 0)
    if not cut or not before.any():
        return []
    is_read = _moves(baseline, steps_at(before), LAST) is True
    return [_reach_in_words(valid, read, cut)] if is_read else []


def _reach_in_words(valid: Tensor, read: Tensor, cut: str) -> str:
    """Write how many steps the gradient reaches back, where most are cut off, and what cuts it.

    ``valid`` ``(batch, seq)`` has the steps within the lengths, and ``read`` those that get a
    gradient; ``cut`` says what cuts it, and where.
    """
    before = (valid & (read.cumsum(1) == 0)).sum(1)
    sample = int(before.argmax())
    steps = int(valid[sample].sum())
    reach = steps - int(before[sample])
    return f"the gradient reaches back only {reach} of {count(steps, 'step', 'steps')}, {cut}"


def _judge_changes(baseline: Baseline, valid: Tensor, read: Tensor | None) -> Outcome:
    """Change steps and return what that shows, where gradients say that no earlier step is read.

    ``valid`` ``(batch, seq)`` has the steps within the lengths, and ``read`` those that get a
    gradient from the ends of the outputs; it is None if no gradient can be measured, and then no
    note says where gradients are cut. A model whose first output reads later steps runs backwards.
    """
    moves = _moves(baseline, steps_at(earlier_steps(valid)), LAST)
    if isinstance(moves, Skipped):
        return moves
    if moves:
        if read is None:
            return Passed(HOLDS, [])
        text = f"{HOLDS}: changed inputs show it, although gradients do not"
        cut = gradients_of(baseline).noticed.cut
        if not cut:
            return Passed(text, [])
        reach = _reach_in_words(valid, read, cut)
        return Passed(text, [], notes=[reach], but=reach)
    later = earlier_steps(valid.flip(1)).flip(1)
    moves = _moves(baseline, steps_at(later), FIRST)
    if isinstance(moves, Skipped):
        return moves
    if moves:
        backwards = "the first output depends on later steps, and the last one on no earlier step"
        return Passed(backwards, [])
    moves = _moves(baseline, EVERY_STEP, LAST)
    if isinstance(moves, Skipped):
        return moves
    if not moves:
        what = f"the last output depends on no step{baseline.batch.of_sequence} at all"
        another = "another input has the steps, as seq_dim={position: axis} says"
        return Skipped(f"{what}: its units may always be zero, or {another}")
    return _nothing_is_remembered(baseline)


def _nothing_is_remembered(baseline: Baseline) -> Finding | Skipped:
    """Return a finding if a state was seen to run along the steps; else a skip.

    Then a layer is called on many steps, or a cell as often as there are steps. ``baseline`` is a
    model whose outputs depend on no earlier step.
    """
    seq_dim = baseline.batch.seq_dim
    are_steps = all(call.is_step for call in calls_in(baseline.events))
    if not are_steps or not _runs_along(baseline, stateful_modules(baseline.events)):
        other = "pass seq_dim= if the steps are on another axis"
        return Skipped(f"no state runs along axis {seq_dim} ({other}), or none reaches an output")
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        (
            "likely",
            "each step is a sequence of its own: a view or a loop without a state makes it so",
        ),
        ("or", f"axis {seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    return Finding(what, rows)


def _outputs(baseline: Baseline, step: int) -> list[int]:
    """Return the outputs of numbers with a row for each sample, by index.

    ``step`` is FIRST or LAST: only an output with the steps of the input has a first one.
    """
    return [
        index
        for index in baseline.outputs_by_sample()
        if is_number(baseline.normal[index]) and (step == LAST or baseline.has_steps(index))
    ]


def _ends(baseline: Baseline, output: Leaves, step: int) -> list[Tensor]:
    """Return one step of each sample that has several, of the outputs that have that step.

    ``output`` has the leaves of a run, and ``step`` is FIRST or LAST within the sample's length,
    which is all steps if there are no lengths. A pooled output, which has no steps, gives its whole
    sample for LAST.
    """
    several = [sample for sample, count in enumerate(baseline.batch.valid_counts) if count > 1]
    ends = []
    for index, sample in product(_outputs(baseline, step), several):
        row = baseline.valid_row(output[index], index, sample)
        if baseline.has_steps(index):
            seq = baseline.axes.seq[index]
            is_behind_batch = seq > baseline.axes.batch[index]  # which the row has no more
            row = row.select(seq - int(is_behind_batch), step)
        ends.append(row)
    return ends


def _moves(baseline: Baseline, where: Where, step: int) -> bool | Skipped:
    """Return whether other inputs at some places show at a step, FIRST or LAST, of some output.

    ``where`` tells the places. A change of the outputs' shapes shows as well; a skip if the model
    refuses the inputs.
    """
    change = compare_changed(baseline, where)
    if change is None:
        return False
    if change.refusal:
        return refused(change)
    if not all(map(change.has, _outputs(baseline, step))):
        return True
    return not are_bit_equal(*(_ends(baseline, x, step) for x in (baseline.normal, change.output)))


def _runs_along(baseline: Baseline, names: set[str]) -> bool:
    """Return whether a layer is called once, or a module for each step, or step of a sample.

    ``names`` are the modules that have a state.
    """
    batch = baseline.batch
    inputs = [event for event in baseline.events if event.kind == "input"]
    calls = Counter(event.name for event in inputs if event.name in names)
    if any(isinstance(event.module, RNNBase) and calls[event.name] == 1 for event in inputs):
        return True
    of_batch = {batch.steps, batch.longest}
    of_samples = {batch.size * batch.steps, sum(batch.valid_counts)}
    return not (of_batch | of_samples).isdisjoint(calls.values())
