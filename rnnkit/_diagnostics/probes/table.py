"""The probes in one table: what each one asks, when, and what the rest of the package knows of it.

A new probe is a file beside this one, and a row. The page of leaks has the questions, and
``rnnkit/errors.md`` a section for each: tests compare them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rnnkit._diagnostics.explain.causes import CARRY, MASK, REMEMBER
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.otherwise import is_absent_again
from rnnkit._diagnostics.probes.alone import probe_alone
from rnnkit._diagnostics.probes.batch import probe_batch
from rnnkit._diagnostics.probes.causal import probe_causal
from rnnkit._diagnostics.probes.coverage import probe_coverage
from rnnkit._diagnostics.probes.gradient import probe_gradient
from rnnkit._diagnostics.probes.memory import probe_memory
from rnnkit._diagnostics.probes.padding import probe_padding
from rnnkit._diagnostics.probes.repeatable import probe_repeatable
from rnnkit._diagnostics.probes.reset import probe_reset
from rnnkit._diagnostics.probes.streaming import probe_streaming
from rnnkit._diagnostics.probes.use import probe_use
from rnnkit._diagnostics.run.isolation import SpentError
from rnnkit._diagnostics.tell.outcome import (
    HIDDEN,
    NO_LENGTHS,
    SPENT,
    Finding,
    Outcome,
    Passed,
    Skipped,
)

#: What an absence may be that other values, or another size, do not confirm.
Absence = Literal["of these values", "of some steps"]


#: The names of the table below, which type checkers know: tests hold both together.
ProbeName = Literal[
    "repeatable",
    "batch",
    "alone",
    "padding",
    "causal",
    "reset",
    "memory",
    "coverage",
    "use",
    "gradient",
    "streaming",
]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question that ``verify`` asks of a model on a batch.

    Attributes:
        name: what ``skip=``, a message and ``python -m rnnkit explain`` call it.
        question: what must hold, in one sentence.
        run: asks it of a model on a batch, or says why it cannot be asked.
        fix: what to change where no cause is known.
        is_judging: whether it changes the inputs, or takes a part of the batch, and so judges what
            depends on what: a report without such a probe has judged nothing.
        asked_by: the argument of ``verify`` by which a caller asks for it.
        is_optional: whether it is asked by that argument only.
        needs_lengths: whether it is about inputs with lengths only.
        goes_with: the probe with which ``skip=`` leaves it out as well.
        hidden_by: the probes whose findings would show here as well.
        absence: if it finds that something is missing, what that is if it is not found again.
    """

    name: ProbeName
    question: str
    run: Callable[[Baseline], Outcome]
    is_judging: bool = True
    fix: str = ""
    asked_by: str = ""
    is_optional: bool = False
    needs_lengths: bool = False
    goes_with: str = ""
    hidden_by: tuple[str, ...] = ()
    absence: Absence | None = None

    def ask(self, baseline: Baseline) -> Outcome:
        """Return the answer to the question, or why it cannot be asked of a model on a batch.

        No *ok* rests on a run that could not be judged.
        """
        answer = self.run(baseline)
        return answer.settled() if isinstance(answer, Passed) else answer

    def ask_in_turn(self, baseline: Baseline) -> Outcome:
        """Return the answer, unless the batch or an earlier finding leaves nothing to ask.

        ``baseline`` is the model, a batch, its output, and the answers until now. As long as
        nothing is found, its session runs 48 times at most. What is missing is looked for again,
        with other values and at another size.
        """
        if self.needs_lengths and not baseline.batch.lengths:
            return Skipped(NO_LENGTHS, "inapplicable")
        if any(map(baseline.has_found, self.hidden_by)):
            return Skipped(HIDDEN)
        tally = baseline.session.tally
        try:
            answer = self.ask(baseline)
        except SpentError:
            return Skipped(SPENT)
        if not isinstance(answer, Finding):
            return answer
        limit = tally.most
        tally.most = None  # a mistake is confirmed, and told, however long that takes
        if self.absence is None or is_absent_again(baseline, self.ask, answer.what):
            return answer
        tally.most = limit
        if self.absence == "of some steps":
            return Skipped(f"with these values, {answer.what}", "partial", notes=answer.notes)
        text = f"holds with other values or another size, but not for this batch: {answer.what}"
        return Passed(text, [], notes=answer.notes)


#: In the order in which they run: what is not repeatable would look like something else.
TABLE = (
    Probe(
        name="repeatable",
        question="the same input returns the same output twice",
        run=probe_repeatable,
        fix="start each call from the same state; draw random numbers only in train mode",
        is_judging=False,
    ),
    Probe(
        name="batch",
        question="no sample's output depends on another sample's input; if the model returns only "
        "a loss, the direction of each sample's gradient is independent of the others",
        run=probe_batch,
        fix="keep views, norms, softmax and means within each sample, and let no int() or if of "
        "the whole batch decide what runs",
    ),
    Probe(
        name="alone",
        question="a sample, run by itself and cut to its length, returns what it returned in the "
        "batch",
        run=probe_alone,
        fix="mask or pack the padding; compute nothing from the batch as a whole",
        asked_by="lengths",
        goes_with="batch",
        hidden_by=("batch",),
    ),
    Probe(
        name="padding",
        question="no output depends on what the padding holds (needs lengths, and a model that is "
        "given them or a mask)",
        run=probe_padding,
        fix=MASK,
        needs_lengths=True,
        hidden_by=("batch", "alone"),
    ),
    Probe(
        name="causal",
        question="no step of the first output that has steps depends on a later one, and the "
        "report names further outputs that do (only with `causal=True`)",
        run=probe_causal,
        fix="at step t read steps 0 to t only, to t - 1 with causal='strict'; copy a state before "
        "another loop changes it",
        asked_by="causal",
        is_optional=True,
    ),
    Probe(
        name="reset",
        question="from a flagged step on, nothing depends on earlier steps (only with `reset=`)",
        run=probe_reset,
        fix="state = torch.where(flag_t.bool()[:, None], 0.0, state), for each state of the loop, "
        "before the step that the flag is for",
        asked_by="reset",
        is_optional=True,
    ),
    Probe(
        name="memory",
        question="the last output depends on some earlier step",
        run=probe_memory,
        fix=REMEMBER,
        hidden_by=("batch",),
        absence="of these values",
    ),
    Probe(
        name="coverage",
        question="every valid step of every sample reaches some output; the report names "
        "steps that do not, and this is a finding if a later step does",
        run=probe_coverage,
        fix="read each step, except a step that the model predicts: look at the range of a loop, "
        "slices, masks and views on its way",
        is_judging=False,
        hidden_by=("batch",),
        absence="of some steps",
    ),
    Probe(
        name="use",
        question="no part of a recurrent layer's result is taken for another part, and no "
        "direction is left out",
        run=probe_use,
        is_judging=False,
        absence="of these values",
    ),
    Probe(
        name="gradient",
        question="in training, every parameter that the call reads gets a gradient",
        run=probe_gradient,
        fix="find what cuts the graph, and use the value itself: detach(), .data, tolist(), "
        "argmax, x > 0, no_grad()",
        is_judging=False,
        hidden_by=("use",),
    ),
    Probe(
        name="streaming",
        question="chunks, with the state passed along, return what the whole sequence returns "
        "(only with `streaming=True`)",
        run=probe_streaming,
        fix=CARRY,
        asked_by="streaming",
        is_optional=True,
        hidden_by=("repeatable", "batch"),
    ),
)
PROBES: dict[str, Probe] = {probe.name: probe for probe in TABLE}
