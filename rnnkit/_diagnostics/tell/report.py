"""What ``verify`` found: a report, or what it raises."""

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rnnkit._base.errors import LeakError
from rnnkit._base.message import aligned, count, more
from rnnkit._diagnostics.tell.outcome import Drawn, Finding, Gap
from rnnkit._diagnostics.tell.picture import as_html, verdict

if TYPE_CHECKING:
    import matplotlib.figure

#: So many inputs and outputs are shown with their axes, and names of what a model keeps.
SHOWN = 8
NAMES = 3
#: The mark of a probe's line by its outcome, in the order of the report: mistakes come first.
MARKS = {"failed": "!!", "passed": "ok", "skipped": "--"}
#: What the line of a skipped probe begins with.
BEGINNINGS: dict[Gap | None, str] = {
    "unjudged": "not checked: ",
    "inapplicable": "does not apply: ",
}

#: How many samples are changed, layouts (or states) tried, and samples run alone.
SAMPLES = 4
TRIES = 12
ALONE = 3


@dataclass(frozen=True)
class Check:
    """The result of one of the checks of ``verify``, which are called probes.

    Attributes:
        probe: the name of the probe, such as ``"batch"``.
        outcome: ``"passed"``, ``"skipped"`` or ``"failed"``.
        detail: what the probe confirmed, why it was skipped, or the mistake that it found.
        gap: for a skipped probe: ``"unjudged"`` if it could not decide; ``"inapplicable"`` if there
            was nothing to check, such as *padding* without lengths; ``"partial"`` if it could check
            only a part, such as some of the steps.
        is_judging: True if the probe tests which outputs depend on which inputs.
        but: for a passed probe: what limits its result, as the first line of the report also says;
            empty if nothing does.

    >>> model = torch.nn.GRU(3, 4, batch_first=True)
    >>> report = rnnkit.verify(model, torch.randn(5, 7, 3))
    >>> check = report.checks[1]
    >>> check.probe, check.outcome, check.detail
    ('batch', 'passed', "no sample's output depends on another sample (4 of 5 tried)")
    """

    __module__ = "rnnkit"

    probe: str
    outcome: Literal["passed", "skipped", "failed"]
    detail: str
    gap: Gap | None = None
    is_judging: bool = True
    but: str = ""


@dataclass
class Report:
    """The result of :func:`rnnkit.verify`; prints a line for each of its checks, called probes.

    ``report.checked`` names the probes that ran and found nothing.

    Attributes:
        checks: the result of each probe, in the order in which they ran.
        findings: the mistakes that were found, as the errors that ``raises=True`` raises.
        asked: the probes that an argument of the call asked for, such as ``causal=True``.
        notes: remarks that are worth a look, but are not mistakes.
        axes: how ``verify`` read each input and output: for each axis ``"batch"``, ``"seq"`` or its
            size.
        passes: the number of forward passes.
        seconds: the time that they took.

    >>> report = rnnkit.verify(torch.nn.GRU(3, 4), torch.randn(5, 7, 3), raises=False)
    >>> report.found("batch"), "use" in report.checked
    (True, True)
    >>> report
    rnnkit.verify: 1 mistake found (... forward passes, ... s)
      !!  batch       output[0] of sample 1 depends on the input of sample 0
            where      output of the model (GRU), call 0
            cause      the model reads axis 0 of its input as seq, but the batch is there
            fix        GRU(..., batch_first=True), or input.transpose(0, 1)
    ...
    """

    __module__ = "rnnkit"

    checks: list[Check] = field(default_factory=list)
    findings: list[LeakError] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    axes: dict[str, tuple[str | int, ...]] = field(default_factory=dict)
    passes: int = 0
    seconds: float = 0.0

    _maps: list[Drawn] = field(default_factory=list)

    def found(self, probe: str) -> bool:
        """Return whether the probe of this name, such as ``"batch"``, found a mistake."""
        return any(error.probe == probe for error in self.findings)

    @property
    def checked(self) -> list[str]:
        """The names of the probes that ran and found no mistake."""
        return [check.probe for check in self.checks if check.outcome == "passed"]

    @property
    def unjudged(self) -> list[Check]:
        """The checks that you asked for, such as with ``causal=True``, but that were skipped."""
        return [c for c in self.checks if c.probe in self.asked and c.outcome == "skipped"]

    @property
    def judged(self) -> bool:
        """Whether any probe passed that tests which outputs depend on which inputs.

        *repeatable*, *coverage*, *use* and *gradient* do not count.
        """
        return any(check.is_judging for check in self.checks if check.outcome == "passed")

    @property
    def headline(self) -> str:
        """The first line of the report, with what was found and which probes could not decide."""
        if self.findings:
            return count(len(self.findings), "mistake found", "mistakes found")
        if not self.judged:
            reasons = [check.detail for check in self.checks if check.is_judging]
            return ": ".join(["no dependency could be checked", *reasons[:1]])
        gaps = [check.but for check in self.checks if check.but]
        gaps += [check.detail for check in self.checks if check.gap == "partial"]
        unchecked = [check.probe for check in self.checks if check.gap == "unjudged"]
        if unchecked:
            was = "was" if len(unchecked) == 1 else "were"
            gaps.append(f"{joined_by_and(unchecked)} {was} not checked")
        return f"no leak found, but {'; '.join(gaps)}" if gaps else "no leak found"

    def _rows_of(self, check: Check) -> list[str]:
        """Return the rows of a probe's finding: where it is, its cause, and what to type.

        They are those of its error, without the two that all errors of the probe have.
        """
        if check.outcome != "failed":
            return []
        found = [str(one) for one in self.findings if one.probe == check.probe]
        rows = [line for text in found for line in text.splitlines()[1:]]
        usual = (_skip_of(check.probe), more(check.probe)[1])
        return [f"      {row}" for row in rows if not row.endswith(usual)]

    def __str__(self) -> str:
        """Write what was found and the cost, a line for each probe, mistakes first, notes, axes."""
        cost = f"{count(self.passes, 'forward pass', 'forward passes')}, {self.seconds:.2f} s"
        axes = [f"{name} ({', '.join(map(str, parts))})" for name, parts in self.axes.items()]
        if len(axes) > SHOWN:
            axes[SHOWN:] = [f"and {len(axes) - SHOWN} more"]
        lines = [f"rnnkit.verify: {self.headline} ({cost})"]
        for outcome, mark in MARKS.items():
            for check in self.checks:
                if check.outcome == outcome:
                    detail = f"{BEGINNINGS.get(check.gap, '')}{check.detail}"
                    lines.append(f"  {mark}  {check.probe:<10}  {detail}")
                    lines += self._rows_of(check)
        lines += [f"  note  {note}" for note in self.notes]
        if axes:
            lines.append(f"  axes  {', '.join(axes)}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return as_html(self, lambda line: line.startswith("  !!"))

    def plot(self) -> "matplotlib.figure.Figure":
        """Draw with matplotlib which outputs depend on which inputs, for samples and for steps.

        Each map has a row for each output and a column for each input. Dependencies on other
        samples and, with ``causal=True``, on later steps are red and hatched: they are mistakes.

        Returns:
            The matplotlib figure, with the maps that this call of ``verify`` measured.

        Raises:
            ModuleNotFoundError: if matplotlib is not installed (``pip install "rnnkit[plot]"``).

        >>> x = torch.randn(5, 7, 3)
        >>> figure = rnnkit.verify(torch.nn.GRU(3, 4, batch_first=True), x).plot()
        """
        import matplotlib.pyplot as plt  # noqa: PLC0415 - an optional extra

        count = len(self._maps)
        figure = plt.figure(figsize=(6 * max(count, 1), 5.8), layout="constrained")
        for k, drawn in enumerate(self._maps):
            axes = figure.add_subplot(1, count, k + 1)
            drawn.map.plot(drawn.rule, f"{drawn.unit}s: {verdict(drawn.map, drawn.rule)}", axes)
            axes.set_xlabel(f"input, {drawn.unit}")
            axes.set_ylabel(f"output, {drawn.unit}")
        found = [str(error).splitlines()[0] for error in self.findings]
        figure.suptitle("\n".join([self.headline, *found]), wrap=True)
        return figure


def joined_by_and(names: list[str]) -> str:
    """Write names as a sentence has them: ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def in_short(error: Exception) -> str:
    """Write an error in one line of a report: its class and the begin of its message."""
    line = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
    return textwrap.shorten(line, 100, placeholder=" ...").rstrip(": ")


def without_frames(error: Exception) -> Exception:
    """Return an error without traceback and causes: they would keep a copy of the model alive."""
    error.__context__ = None
    error.__cause__ = None
    return error.with_traceback(None)


def leak_error(probe: str, finding: Finding, fix: str) -> LeakError:
    """Return the error that a probe's finding is raised as.

    ``fix`` is the probe's own, for a finding that has none.
    """
    lines = list(finding.rows)
    usual = {"fix": finding.fix or fix, "intended?": _skip_of(probe)}
    lines += [row for row in usual.items() if row[0] not in dict(lines)]
    lines.sort(key=lambda row: row[0] == "intended?")  # it comes last
    text = "\n".join([finding.what, *aligned([*lines, more(probe)])])
    return LeakError(text, probe, finding.module)


def _skip_of(probe: str) -> str:
    """Return how to leave a probe out."""
    return f"rnnkit.verify(..., skip=[{probe!r}])"


def joined(findings: list[LeakError]) -> LeakError:
    """Return the first finding as the error to raise, with a line for the others."""
    first, *others = findings
    *head, last = str(first).splitlines()
    texts = [f"the probe {error.probe} found: {str(error).splitlines()[0]}" for error in others]
    also = aligned([("also", "; ".join(texts))] if texts else [], len("intended?") + 2)
    return LeakError("\n".join([*head, *also, last]), first.probe, first.module)
