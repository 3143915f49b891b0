"""What ``verify`` found."""

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["passed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One probe and how it went."""

    probe: str
    outcome: Outcome
    detail: str


@dataclass
class Report:
    """What was checked, what was skipped and why, and what it cost.

    Attributes:
        checks: one for each probe, in order.
        notes: what is no failure, but worth a look.
        passes: how many times the model was run.
        seconds: how long it took.
    """

    __module__ = "rnnkit"

    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passes: int = 0
    seconds: float = 0.0

    def passed(self, probe: str, detail: str) -> None:
        """Note that a probe found nothing."""
        self.checks.append(Check(probe, "passed", detail))

    def skipped(self, probe: str, detail: str) -> None:
        """Note that a probe could not be tried."""
        self.checks.append(Check(probe, "skipped", detail))

    @property
    def checked(self) -> list[str]:
        """The probes that were tried and found nothing."""
        return [check.probe for check in self.checks if check.outcome == "passed"]

    def __str__(self) -> str:
        """Write a line for each probe, then notes and cost."""
        marks = {"passed": "ok", "skipped": "--"}
        lines = [f"  {marks[c.outcome]}  {c.probe:<10}  {c.detail}" for c in self.checks]
        lines += [f"  note  {note}" for note in self.notes]
        cost = f"{self.passes} forward passes, {self.seconds:.2f} s"
        return "\n".join([f"rnnkit.verify: no leak found ({cost})", *lines])

    __repr__ = __str__
