"""The probe *coverage*: every valid step of the first input reaches some output."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.batch import Batch, steps_within
from rnnkit._diagnostics.inputs.changes import changed, earlier_steps, steps_at
from rnnkit._diagnostics.inputs.lengths import counts_of
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.measure.unfollowed import numbers_by_sample
from rnnkit._diagnostics.probes.calls import LARGE, filled, other_order
from rnnkit._diagnostics.run.outputs import Leaves, are_bit_equal, difference, shapes_of
from rnnkit._diagnostics.tell.outcome import Finding, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import joined_by_and

#: In how many parts the steps of a sample that get no gradient are tried.
PARTS = 16
#: How many places, or runs of steps, are named.
NAMED = 3


def probe_coverage(baseline: Baseline) -> Outcome:
    """A gradient arrives at each valid step or, where none does, a change of it shows.

    ``baseline`` is the model, a batch, and what it returned for that. A finding says that a step
    reaches no output though later ones do; other silent steps are named in a partial skip.
    """
    unasked = _why_unasked(baseline)
    if unasked is not None:
        return unasked
    valid = _valid_places(baseline)
    slopes = gradients_of(baseline).places()  # (batch, seq), where one arrives; None: unknown
    learned = torch.zeros_like(valid) if slopes is None else slopes
    finding = other_order(baseline) or _other_lengths(baseline, learned)
    if finding is not None:
        return finding
    doubtful = valid & ~learned
    if doubtful.any() and baseline.doubt:
        return Skipped(baseline.doubt)  # rounding may move any output
    silent, unknown = _tried(baseline, doubtful)
    if silent.equal(valid):
        return Skipped(f"no step{baseline.batch.of_sequence} reaches an output")
    untried = int(unknown.any(0).sum())
    finding = _skipped_step(baseline, valid, silent, untried)
    if finding is not None:
        return finding
    steps = baseline.batch.steps
    if silent.any():
        return Skipped(f"{_words_of_silent_places(baseline, valid, silent)} no output", "partial")
    if untried:
        what = f"{untried} of {steps} steps showed no gradient, and verify did not try each of them"
        return Skipped(what, "partial")
    read = f"every valid step ({int(valid.any(0).sum())} of {steps}){baseline.batch.of_sequence}"
    return Passed(f"{read} reaches an output", [])


def _why_unasked(baseline: Baseline) -> Skipped | None:
    """Return why there are no steps to read, or no number to see it in; None if there are.

    ``baseline`` is the model, a batch, and what it returned for that.
    """
    batch = baseline.batch
    steps = batch.steps
    if steps == 0 or not batch.has_steps(batch.sequence):
        return Skipped(_why_without_steps(batch), "inapplicable")
    if steps < 3:
        return Skipped("the input has fewer than three steps: is seq_dim= another axis?")
    numbers = numbers_by_sample(baseline)
    return numbers if isinstance(numbers, Skipped) else None


def _why_without_steps(batch: Batch) -> str:
    """Say that an input has no steps, and what is typed if an axis of it has some."""
    axis = batch.seq_dim
    if not batch.length(batch.sequence):
        return "the input has no steps"
    return f"the input has no steps; if axis {axis} has them, pass seq_dim={axis}"


def _valid_places(baseline: Baseline) -> Tensor:
    """Return a mask ``(batch, seq)``, true where the input is no padding by lengths or zeros.

    If ``causal="strict"`` was asked, each sample's last step is left out too.
    """
    valid = baseline.batch.valid_places
    if baseline.rules.causal == "strict":  # which forbids each sample's last step to all outputs
        valid = earlier_steps(valid)
    padding = baseline.batch.padding(baseline.batch.sequence)
    return valid if padding is None else valid & ~padding.cpu()


def _tried(baseline: Baseline, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return at which places no change shows in an output, and where that stays unknown.

    All are masks ``(batch, seq)``. Each of ``places`` is changed in three ways, until that shows:
    other values that occur, a large number, and a large negative one. Of several neighbours that
    are changed together it is unknown which one shows.
    """
    silent = places.clone()
    tried = torch.zeros_like(places)
    unknown = torch.zeros_like(places)
    raised = partial(filled, factor=LARGE)
    lowered = partial(filled, factor=-LARGE)
    for run in (_redrawn, raised, lowered):
        if not silent.any():
            break
        together = moved_samples(baseline, run(baseline, silent))
        if together is not None and not together.any():
            tried |= silent  # one run shows what each part by itself would
            continue
        for part in _parts(baseline, silent.clone()):
            samples = moved_samples(baseline, run(baseline, part))
            if samples is None:
                continue
            tried |= part
            shown = part & samples.unsqueeze(1)
            silent &= ~shown
            unknown |= shown & (part.sum(1, keepdim=True) > 1)
    return silent & tried, unknown | silent & ~tried


def _parts(baseline: Baseline, places: Tensor) -> Iterator[Tensor]:
    """Yield masks ``(batch, seq)`` that have each of ``places`` once: neighbours of each sample.

    If samples are not known to be independent, a mask has the same steps of all.
    """
    known = places if baseline.has_passed("batch") else places.any(0).expand_as(places)
    most = known.sum(1, keepdim=True)
    number = (known.cumsum(1) - 1) * most.clamp(max=PARTS) // most.clamp(min=1)
    for part in range(PARTS):
        chosen = places & (number == part)
        if chosen.any():
            yield chosen


def moved_samples(baseline: Baseline, output: Leaves | None) -> Tensor | None:
    """Return which samples' outputs moved, ``(batch,)``: all, if an output without samples did.

    ``output`` has the leaves of a run on changed inputs. None if it is None (the model refused
    them), or if they have other shapes than before.
    """
    if output is None or shapes_of(output) != shapes_of(baseline.normal):
        return None
    samples = torch.zeros(baseline.batch.size, dtype=torch.bool, device="cpu")
    by_sample = baseline.outputs_by_sample()
    both = (baseline.in_input_order(one) for one in (baseline.normal, output))
    for index, (before, after) in enumerate(zip(*both, strict=True)):
        if not isinstance(before, Tensor):
            continue
        # What is not finite any more may be a zero times a large number.
        moved = (difference(before, after) > 0) & (after.isfinite() | ~before.isfinite()).cpu()
        rows = moved.unsqueeze(0)
        if index in by_sample:
            rows = moved.movedim(baseline.axes.batch[index], 0)
        samples |= rows.reshape(len(rows), -1).any(1)
    return samples


def _redrawn(baseline: Baseline, mask: Tensor) -> Leaves | None:
    """Run with other values of the sequence where a mask ``(batch, seq)`` is true.

    The sequence is the input whose steps are judged. Returns the output's leaves; None if the model
    refuses, or if a second batch has no other value there, such as the same start token.
    """
    batch = baseline.batch
    other = changed(batch, steps_at(mask), only=batch.sequence)
    return None if other is None else baseline.attempt(other)


def _skipped_step(
    baseline: Baseline, valid: Tensor, silent: Tensor, untried: int
) -> Finding | None:
    """Return a finding if a step reaches no output, not even as a NaN, and a later one does.

    The masks are ``(batch, seq)``: which steps are valid, and which of them reach no output;
    ``untried`` is of how many it is unknown. None if there is no such step, or if steps may be left
    out on purpose.
    """
    steps = valid.any(0).nonzero().flatten().tolist()
    skipped = _unread_steps(valid, silent)
    if not skipped or steps[-1] in skipped or _may_be_thinned(baseline, steps, skipped, untried):
        return None
    length = baseline.batch.steps
    # Of one output for all steps, a middle step that is not read may be the word to predict.
    middle = ((length - 1) // 2, length // 2) if baseline.out_seq_dim is None else ()
    for step in skipped:
        if step not in middle and _stops_nan(baseline, step):
            what = f"step {step} reaches no output of the model, although later steps do"
            evidence = ("evidence", "even a NaN at that step reaches no output")
            return Finding(what, [evidence])
    return None


def _may_be_thinned(
    baseline: Baseline, steps: Sequence[int], skipped: Sequence[int], untried: int
) -> bool:
    """Return whether a model may leave out steps on purpose: for a stride, or a shorter chunk.

    Then the first of the valid ``steps`` is skipped, or about half of them; and the output has
    other steps than the input. ``untried`` is of how many steps it is unknown.
    """
    first = baseline.first or 0
    if baseline.has_steps(first) and not baseline.missing(first):
        return False
    most = len(skipped) + untried
    return steps[0] in skipped or (len(skipped) > 1 and 2 * most + 1 >= len(steps))


def _stops_nan(baseline: Baseline, step: int) -> bool:
    """Return whether a NaN at a step of all samples goes into the model, and changes no output."""
    output = filled(baseline, baseline.batch.step_numbers == step, torch.nan)
    return output is not None and are_bit_equal(baseline.normal, output)


def _unread_steps(valid: Tensor, silent: Tensor) -> list[int]:
    """Return the steps that reach no output in any sample in which they are valid.

    Both masks are ``(batch, seq)``; ``silent`` has the valid steps that reach none.
    """
    unread = silent.any(0) & (silent == valid).all(0)
    return unread.nonzero().flatten().tolist()


def _words_of_silent_places(baseline: Baseline, valid: Tensor, silent: Tensor) -> str:
    """Name the places that reach no output, and "reach": as steps, if no sample's step does.

    Both masks are ``(batch, seq)``; ``silent`` has the valid steps that reach no output.
    """
    if baseline.batch.counts and silent.equal(valid & ~earlier_steps(valid)):
        return "the last valid step of each sample reaches"
    steps = _unread_steps(valid, silent)
    places = silent.nonzero().tolist()
    verb = "reaches" if len(steps or places) == 1 else "reach"
    if steps:
        return f"{_ranges(steps)} of {valid.shape[1]} {verb}"
    names = [
        f"step {step} of sample {baseline.batch.caller_indices[k]}" for k, step in places[:NAMED]
    ]
    if len(places) > NAMED:
        names.append(count(len(places) - NAMED, "other place", "other places"))
    return f"{joined_by_and(names)} {verb}"


def _ranges(steps: list[int]) -> str:
    """Write steps in words; steps that follow each other become 'first to last'."""
    firsts = [step for step in steps if step - 1 not in steps]
    lasts = [step for step in steps if step + 1 not in steps]
    ends = [*zip(firsts, lasts, strict=True)]
    texts = [str(one) if one == last else f"{one} to {last}" for one, last in ends[:NAMED]]
    if len(ends) > NAMED:
        texts.append("others")
    return f"{'step' if len(steps) == 1 else 'steps'} {', '.join(texts)}"


def _other_lengths(baseline: Baseline, read: Tensor) -> Finding | None:
    """Return a finding if each sample is read up to its length in another input, not its own.

    ``read`` ``(batch, seq)`` has the steps that get a gradient. The other lengths have to be too
    long for some samples, and too short for others; else None, as if padding is in front of the
    samples.
    """
    batch = baseline.batch
    counts = batch.counts
    if counts is None or not batch.pads_after:
        return None
    for index, leaf in enumerate(batch.leaves):
        others = counts_of(leaf)
        if len(others) != batch.size:
            continue
        surplus = read.sum(1) - torch.tensor(counts, device="cpu")
        is_read = steps_within(others, batch.steps, pads_after=True)
        if surplus.min() < 0 < surplus.max() and is_read.equal(read):
            sample = int(surplus.argmin())
            has = f"has {counts[sample]} steps, but only {others[sample]} are read"
            cause = f"each sample is read up to its length in {batch.names[index]}"
            fix = f"pack, mask or index {batch.names[batch.sequence]} by its own lengths instead"
            what = f"sample {batch.caller_indices[sample]} {has}"
            return Finding(what, [("cause", cause)], fix=fix)
    return None
