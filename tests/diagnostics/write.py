"""Writes ``outcomes.txt``, what ``verify`` says of each model: ``python -m tests.diagnostics.write``."""

import pathlib
import re
import warnings

import torch

from tests.diagnostics.corpus.case import CASES
from tests.diagnostics.corpus.runner import judge

OUTCOMES = pathlib.Path(__file__).parent / "outcomes.txt"

#: What changes from run to run, or with a line elsewhere, or stands in every message.
VARYING = {
    r" \(\d+ forward pass.*\)$": "",
    r"\.py:\d+": ".py:...",
    r"(difference) [\d.e+-]+": r"\1 ...",
    r"\n  (?:intended\?|more) .*": "",
}

#: What most reports say of a probe, which is then left out.
USUAL = re.compile(
    r"the same input twice returns the same output|does not apply: no lengths were given"
    r"|no sample's output depends on another sample \(4 tried\)"
    r"|a sample by itself(?:, cut to its length,)? returns what it returns in the batch"
    r"|no output depends on the padding|none of the 7 steps depends on a later one"
    r"|the last output depends on earlier steps|every valid step \(7 of 7\) reaches an output"
    r"|the (?:outputs and states of [12] layer|inputs and states of 7 cell) calls? are not mixed up"
    r"|each parameter that the call reads gets a gradient"
    r"|steps of output(?:\[0\])? depend on (?:the same and earlier|all) steps of the input"
)


def plain(text):
    """Return a text without what varies, and the usual lines of a report."""
    for pattern, put in VARYING.items():
        text = re.sub(pattern, put, text, flags=re.MULTILINE)
    lines = text.removeprefix("rnnkit.verify: no leak found\n").splitlines()
    return "\n".join(line for line in lines if not USUAL.fullmatch(line[18:]))


def entry(outcome):
    """Return what is said of a case, as ``outcomes.txt`` has it."""
    right = outcome.right.report.checked
    parts = [f"## {outcome.case.name}", f"right: {' '.join(right)}\n{plain(outcome.right.text)}"]
    if outcome.wrong is not None:
        found = " ".join(sorted(outcome.wrong.probes)) or "missed"
        message = "\n".join(map(str, outcome.wrong.report.findings)) or outcome.wrong.text
        parts.append(f"wrong: {found}\n{plain(message)}")
    return "\n\n".join(parts) + "\n"


def written(case):
    """Return what ``outcomes.txt`` has of a case."""
    text = OUTCOMES.read_text("utf-8") if OUTCOMES.exists() else ""
    found = re.search(
        rf"^## {re.escape(case.name)}\n.*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    return found[0].rstrip("\n") + "\n" if found else ""


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    OUTCOMES.write_text("\n".join(entry(judge(case)) for case in CASES), "utf-8")
