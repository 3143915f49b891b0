"""Run ``verify`` over the corpus."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.diagnostics.corpus import agents, padded, signals, words  # noqa: F401 - they register cases
from tests.diagnostics.corpus.case import CASES, Case, Subject

DTYPES = ("float32", "bfloat16", "autocast")


class Autocast(nn.Module):
    """A model that is called under autocast."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap it."""
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        """Call it."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(*inputs)


def in_dtype(subject: Subject, dtype: str) -> Subject:
    """Return a subject that computes in another dtype."""
    if dtype == "float32":
        return subject
    if dtype == "autocast":
        return Subject(Autocast(subject.model), subject.inputs, subject.options)
    inputs = pytree.tree_map_only(
        Tensor, lambda x: x.bfloat16() if x.is_floating_point() else x, subject.inputs
    )
    return Subject(subject.model.bfloat16(), inputs, subject.options)


@dataclass(frozen=True)
class Said:
    """What ``verify`` said of a model.

    Attributes:
        probes: those that found something.
        text: the report, or what was raised.
        is_judged: whether anything was.
        error: the class of what the model or ``verify`` raised.
    """

    probes: frozenset[str]
    text: str
    is_judged: bool = True
    error: str = ""


def ask(case: Case, *, right: bool, seed: int, dtype: str, asked: Sequence[str] = ()) -> Said:
    """Make a model and verify it."""
    torch.manual_seed(seed)
    subject = in_dtype(case.make(nn, right), dtype)  # type: ignore[arg-type]
    options = {**subject.options, **dict.fromkeys(asked, True)}
    with torch.random.fork_rng():
        try:
            with torch.no_grad():
                subject.model(*subject.inputs)
            report = rnnkit.verify(subject.model, *subject.inputs, raises=False, **options)
        except Exception as error:  # noqa: BLE001 - whatever a model of the corpus raises
            kind = type(error).__name__
            return Said(frozenset(), f"{kind}: {error}", error=kind)
    found = frozenset(finding.probe for finding in report.findings)
    texts = [str(report), *map(str, report.findings)]
    return Said(found, "\n".join(texts), report.judged)


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        case: the case.
        right: what was said of the right model, without asked probes.
        wrong: what was said of the wrong one, with them; None if there is none.
        found: the probes that find the mistake and say nothing of the right twin.
        faults: what is wrong with ``verify`` here: an alarm on a right model, one that is not
            judged, an error.
    """

    case: Case
    right: Said
    wrong: Said | None = None
    found: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def judge(
    case: Case, *, seed: int = 0, dtype: str = "float32", asked: Sequence[str] = ()
) -> Outcome:
    """Run a case: the right model as it is, and both with the probes that are asked for."""
    how = {"seed": seed, "dtype": dtype}
    outcome = Outcome(case, ask(case, right=True, **how))  # type: ignore[arg-type]
    twin = ask(case, right=True, asked=asked, **how) if asked else outcome.right  # type: ignore[arg-type]
    for said in {id(said): said for said in (outcome.right, twin)}.values():
        outcome.faults += [f"alarm: {probe}" for probe in sorted(said.probes)]
        outcome.faults += [said.error] if said.error else []
    if not outcome.right.is_judged:
        outcome.faults.append("not judged")
    if case.is_pair:
        outcome.wrong = ask(case, right=False, asked=asked, **how)  # type: ignore[arg-type]
        outcome.found = set(outcome.wrong.probes - twin.probes)
    return outcome


def cases(names: Sequence[str] = ()) -> Iterator[Case]:
    """Yield the cases whose names have one of some texts in them; all if there are none."""
    return (case for case in CASES if not names or any(name in case.name for name in names))
