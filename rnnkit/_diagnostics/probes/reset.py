"""The probe *reset*: from a flagged step on, nothing depends on what was before it."""

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.changes import steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import Change, compare_each
from rnnkit._diagnostics.probes.causal import with_followed
from rnnkit._diagnostics.probes.memory import HOLDS as REMEMBERS
from rnnkit._diagnostics.tell.outcome import OTHER_OUTPUTS, Finding, Outcome, Passed, Skipped

#: What it means if nothing but the flagged step itself depends on what is before.
LATE = [("means", "the reset comes a step late, after the step that it is for")]
#: What it means if, besides, no other step depends on an earlier one.
INVERTED = [("or", "the state is kept at flagged steps only: use 1 - flag_t for flag_t")]


def probe_reset(baseline: Baseline) -> Outcome:
    """From the last flag of each sample on, no output depends on an earlier step.

    ``baseline`` is the model, a batch with an input of flags (``reset=``), and what it returned.
    """
    last = _last_flags(baseline)
    if last is None:
        return Skipped("the input that reset= names must have a flag for each step of each sample")
    if not last.any():
        return Skipped("no flag is set after the first step: pass a batch in which one is")
    indices = [*filter(baseline.has_steps, baseline.outputs_by_sample())]
    if not indices:
        return Skipped(OTHER_OUTPUTS)
    baseline = with_followed(baseline)
    # One change of the inputs, under the key 0: at the steps before each sample's last flag.
    changes = compare_each(baseline, {0: steps_at(baseline.batch.step_numbers < last)}, indices)
    if isinstance(changes, Skipped):
        return changes
    [change] = changes.values()
    for index in indices:
        finding = _finding_in(change, index, last)
        if finding is not None:
            return finding
    what = "from the last reset flag of each sample on, no output depends on earlier steps"
    return Passed(f"{what}{baseline.batch.of_sequence}", [change])


def _finding_in(change: Change, index: int, last: Tensor) -> Finding | None:
    """Return a finding if an output moved at, or after, the last flag of a sample; else None.

    ``change`` is the run with other values at the steps before the flags; ``index`` is the output,
    and ``last`` ``(batch, 1)`` each sample's last flagged step, 0 for none.
    """
    baseline = change.baseline
    early = max(-(baseline.missing(index) or 0), 0)  # steps before the first of the input
    step = torch.arange(baseline.batch.steps + 1, device="cpu") - early
    # A leak is where the output moved although it must not: at the steps of this mask.
    leak = change.leak([index], (step >= last) & (last > 0))
    if leak is None:
        return None
    places = [(sample, at - early) for sample, at in leak.places]
    sample, at = places[0]
    of = f"{baseline.of_sample(index, sample)} at step {at}"
    what = f"{of} depends on steps before {int(last[sample])}, although a reset is flagged there"
    is_late = all(at == last[sample] for sample, at in places)
    memory = baseline.known.answers.get("memory")
    is_remembering = isinstance(memory, Passed) and memory.text.startswith(REMEMBERS)
    if not is_late:
        return Finding(what)
    return Finding(what, LATE if is_remembering else INVERTED)


def _last_flags(baseline: Baseline) -> Tensor | None:
    """Return the last flagged step of each sample ``(batch, 1)``; None without such flags.

    It is 0 where nothing is before the flag, or none is set.
    """
    batch = baseline.batch
    flags = batch.flags or 0
    rows = batch.rows(flags)  # (batch, seq, ...)
    if rows is None or not batch.may_have_steps(flags):
        return None
    is_set = (rows.ne(0) & rows.isfinite()).unsqueeze(-1).flatten(2).any(2).cpu()
    return (batch.step_numbers * is_set).amax(1, keepdim=True)
