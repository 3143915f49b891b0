"""What a probe answers: its law holds, was not judged, or is broken."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from rnnkit._diagnostics.tell.picture import DependencyMap, Rule

INTEGERS = "the outputs are integers, which may stay the same by chance: also return the scores"
UNCHANGED = "the inputs have the same value everywhere: pass a batch whose values differ"
ONE_SAMPLE = "the batch has one sample: pass two or more"
NO_LENGTHS = "no lengths were given"
LEFT_OUT = "left out by skip="
HIDDEN = "fix the mistake above first"
NO_STEPS = "the input has fewer than two steps"
OTHER_OUTPUTS = (
    "verify found no output with the steps of the input; if the first one has them, pass "
    "out_seq_dim="
)
TOGETHER = "if inputs must change together, verify(model, *batch, other=batch2)"

#: How many runs are made, unless something is found.
RUNS = 48
SPENT = f"verify stops after {RUNS} runs: leave other probes out with skip="

#: A line of a message: its label and its text.
Line = tuple[str, str]

#: Why a probe that found nothing did not say *ok*: its question could not be answered, does not
#: arise for this model and batch, or was answered for some places only.
Gap = Literal["unjudged", "inapplicable", "partial"]


class Drawn(NamedTuple):
    """A map that was measured.

    Attributes:
        unit: what an index of it is.
        map: which output depends on which input.
        rule: what a probe forbids in it; None if nothing.
    """

    unit: Literal["sample", "step"]
    map: DependencyMap
    rule: Rule | None


@runtime_checkable  # jaxtyping's hook asks isinstance of every annotation
class Doubtful(Protocol):
    """A run of the model that is compared with another.

    Attributes:
        doubt: why a difference could not be judged; empty if it could, or if there was none.
    """

    doubt: str


AnswerT = TypeVar("AnswerT", bound="Answer")  # beartype reads Self on classes only


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What any answer of a probe may say besides.

    Attributes:
        notes: lines of the report beside those of the probes.
        drawn: a map that was measured.
    """

    notes: Sequence[str] = ()
    drawn: Drawn | None = None

    def noting(self: AnswerT, notes: Sequence[str]) -> AnswerT:  # noqa: PYI019 - as said above
        """Return the same with further notes."""
        return replace(self, notes=[*self.notes, *notes])


@dataclass(frozen=True)
class Skipped(Answer):
    """The answer of a probe that could not judge its law.

    Attributes:
        reason: why.
        gap: what kind of a reason: see :data:`Gap`.
    """

    reason: str
    gap: Gap = "unjudged"


@dataclass(frozen=True)
class Passed(Answer):
    """The answer of a probe that found nothing.

    Its law holds, if no run that it rests on is in doubt.

    Attributes:
        text: says that it holds.
        rests_on: the runs that were compared; none, if no difference had to be judged.
        but: what the first line of the report says all the same.
    """

    text: str
    rests_on: Sequence[Doubtful]
    but: str = ""

    def settled(self) -> "Passed | Skipped":
        """Return the same without its runs; if one of them is in doubt, that it is skipped.

        The answer keeps no run, and so no copy of a model.
        """
        for run in self.rests_on:
            if run.doubt:
                return Skipped(run.doubt, notes=self.notes, drawn=self.drawn)
        return replace(self, rests_on=())


@dataclass(frozen=True)
class Finding(Answer):
    """The answer of a probe that found its law broken.

    Attributes:
        what: the sentence that says what depends on what.
        rows: what explains it, as pairs of a label and a text: ``("cause", "...")``.
        module: the qualified name of the module where it is.
        fix: how to end it, if no row says so; empty: as the probe's own fix says.
    """

    what: str
    rows: Sequence[Line] = ()
    module: str = ""
    fix: str = ""


Outcome = Passed | Skipped | Finding
