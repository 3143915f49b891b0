"""Write the outputs of the examples again: ``python -m docs.refresh [PAGE ...]``.

For whoever changes a message: run it, then read the diff. An output that still matches, by
doctest's ellipsis too, stays as it is written; blocks without a prompt are run as they stand. An
ellipsis stands for a part of one line, or at the end of an output for the rest of it.
"""

import contextlib
import doctest
import io
import itertools
import pathlib
import re
import sys
import traceback
from typing import Any

from sybil.evaluators.doctest import OutputChecker

from docs.pages import ROOT, parse, seed

#: An example ends before a blank line, the next prompt, or the end of the block.
END = re.compile(r"\n(?=\n|>>> |```)")
#: What differs from run to run, and stands as an ellipsis.
LOOSE = re.compile(
    r"(?<=\.md:)\d+|<page>:\d+|(?<=passes, )[\d.]+(?= s)|(?<=off by |erence )[\d.e+-]+(?= of|\))"
)
HEAD = "Traceback (most recent call last):\n"


def output_of(example: doctest.Example, namespace: dict[str, Any]) -> str:
    """Run an example and return what doctest would have to find."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, "<page>", "single"), namespace)  # noqa: S102
    except Exception as error:  # noqa: BLE001 - whatever comes is what is shown
        return HEAD + traceback.format_exception_only(error)[-1]
    return printed.getvalue()


def own_text(rest: str) -> str:
    """Return the example that a text begins with: sybil's own end is short by the fence."""
    end = END.search(rest)
    return rest if end is None else rest[: end.end()]


def rewritten(text: str, got: str) -> str:
    """Return an example with another output."""
    first, *others = text.splitlines(keepends=True)
    prompts = [first, *itertools.takewhile(lambda line: line.startswith("..."), others)]
    got = LOOSE.sub("...", got)
    body = "".join(line if line.strip() else "<BLANKLINE>\n" for line in got.splitlines(True))
    return "".join(prompts) + body


def fits(want: str, got: str) -> bool:
    """Return whether an output is still as it is written."""
    wanted = want.splitlines()
    found = got.splitlines()
    if want.rstrip().endswith("..."):
        found[len(wanted) - 1 :] = [" ".join(found[len(wanted) - 1 :])]
    check = OutputChecker().check_output
    return len(wanted) == len(found) and all(
        check(f"{one}\n", f"{other or '<BLANKLINE>'}\n", doctest.ELLIPSIS)
        for one, other in zip(wanted, found, strict=True)
    )


def refresh(page: pathlib.Path) -> int:
    """Rewrite a page where its outputs have changed; return how many have."""
    seed()
    document = parse(page)
    document.namespace["__name__"] = "__test__"
    changes = []
    for example in document.examples():
        if not isinstance(example.parsed, doctest.Example):
            example.evaluate()
            continue
        got = output_of(example.parsed, document.namespace)
        want = HEAD * bool(example.parsed.exc_msg) + (example.parsed.exc_msg or example.parsed.want)
        if not fits(want, got):
            old = own_text(document.text[example.start :])
            end = example.start + len(old)
            changes.append((example.start, end, rewritten(old, got)))
    text = document.text
    for start, end, new in reversed(changes):
        text = text[:start] + new + text[end:]
    if changes:
        page.write_text(text)
    return len(changes)


if __name__ == "__main__":
    chosen = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    for page in chosen or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        sys.stdout.write(f"{refresh(page)} outputs changed in {page.relative_to(ROOT)}\n")
