"""Run ``verify`` over the corpus."""

import importlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.diagnostics.corpus.case import CASES, Case, Subject
from tests.diagnostics.models_of_users import model

#: The files of the corpus, which register their cases.
FILES = """agents causal chance kinds layouts lengths loops losses memory named orders padded parameters
rounding signals sources streams use values notes
gaps beside results public"""
for name in FILES.split():
    importlib.import_module(f"tests.diagnostics.corpus.{name}")

DTYPES = ("float32", "float64", "bfloat16", "autocast")

#: The files whose models no probe was ever fitted to: what is found there says most.
UNSEEN = ("agents", "padded", "signals")


def under_autocast(m, *inputs):
    """Call a model under autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        return m.model(*inputs)


def subject(name, *, right=True, library=nn):
    """Make the model of a case; return it, its inputs, and its options."""
    (case,) = [case for case in CASES if case.name == name]
    made = case.make(library, right)
    return made.model, made.inputs, made.options


def in_dtype(subject, dtype):
    """Return a subject that computes in another dtype."""
    if dtype == "float32":
        return subject
    if dtype == "autocast":
        return Subject(model(under_autocast, model=subject.model), subject.inputs, subject.options)
    kind = getattr(torch, dtype)
    inputs = pytree.tree_map_only(
        Tensor, lambda x: x.to(kind) if x.is_floating_point() else x, subject.inputs
    )
    return Subject(subject.model.to(kind), inputs, subject.options)


@dataclass(frozen=True)
class Said:
    """What ``verify`` said of a model: its report and findings, or the class of what was raised."""

    text: str
    report: rnnkit.Report = field(default_factory=rnnkit.Report)
    error: str = ""

    @property
    def probes(self):
        """The probes that found something."""
        return {finding.probe for finding in self.report.findings}


def ask(case, *, right, seed=0, dtype="float32", library=nn):
    """Make a model and verify it."""
    torch.manual_seed(seed)
    subject = in_dtype(case.make(library, right), dtype)
    with torch.random.fork_rng():
        try:
            report = rnnkit.verify(subject.model, *subject.inputs, raises=False, **subject.options)
        except Exception as error:  # noqa: BLE001 - whatever a model of the corpus raises
            kind = type(error).__name__
            return Said(f"{kind}: {error}", error=kind)
    return Said("\n".join(map(str, [report, *report.findings])), report)


@dataclass
class Outcome:
    """What came of a case.

    ``found`` are the probes that find the mistake and say nothing of the correct twin; ``faults``
    what is wrong with ``verify`` here: an alarm on a right model, one that is not judged, an error.
    """

    case: Case
    right: Said
    wrong: Said | None = None
    found: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def judge(case, *, seed=0, dtype="float32"):
    """Run both models of a case."""
    right = ask(case, right=True, seed=seed, dtype=dtype)
    faults = [f"alarm: {probe}" for probe in sorted(right.probes)]
    outcome = Outcome(case, right, faults=faults + [right.error] * bool(right.error))
    if case.is_judged and not outcome.right.report.judged:
        outcome.faults.append("not judged")
    if case.is_pair:
        outcome.wrong = ask(case, right=False, seed=seed, dtype=dtype)
        outcome.found = set(outcome.wrong.probes - right.probes)
    return outcome


def cases(names=()):
    """Return the cases with a text in their names, or of a file; of no names, the unseen ones."""
    if not names:
        return [case for case in CASES if case.file in UNSEEN]
    return [case for case in CASES if any(n in case.name or n == case.file for n in names)]
