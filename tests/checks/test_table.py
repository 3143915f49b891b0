"""What holds for every call of the table; ``python -m tests.checks.write`` writes its two files."""

import ast
import re

import pytest
import torch

from tests.checks.outcome import CATCHABLE, TORCHS_INSIDES, filled, kind, of_torch, said
from tests.checks.table import FURTHER, PAGE, RIGHT, ROWS, UNSAFE, Call, calls_in, sections
from tests.checks.typist import LEFT, typed
from tests.checks.write import MESSAGES, answer, asks_torch, messages_of

#: No message has more characters, or lines, whatever was given.
LONGEST = 2000
LINES = 9
#: The torch whose words and deeds the files have.
QUOTED = torch.__version__.startswith("2.13")

pytestmark = [
    pytest.mark.unhooked("the annotation refuses some of it first"),
    pytest.mark.filterwarnings("ignore"),  # of nested tensors, TorchScript and projections
]
MARKS = {"no-cause": [pytest.mark.disagrees]}
rows = pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.code, marks=MARKS.get(row.code, [])) for row in ROWS]
)


def plain(text):
    """Write code on lines of Python's own, as ruff lays it out; of another torch, leave out its deeds."""
    code = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    text = code.sub(lambda found: ast.unparse(ast.parse(found[1])), text)
    return text if QUOTED else re.sub(r"(?m), torch (?:says|mumbles|accepts|lacks)$", "", text)


@rows
def test_written(row):
    """messages.txt has each call with all that is said to it, and the page its first message."""
    if row.needs and not QUOTED:
        return
    messages, page = (sections(path.read_text("utf-8"), level) for path, level in FILES.items())

    assert plain(messages[row.code]) == plain(messages_of(row).partition("\n\n")[2].strip())
    assert f"```text\n{answer(row.calls[0])}\n```" in page[row.code]


#: The files that ``nox -s errors`` writes, and the headings of their codes.
FILES = {MESSAGES: "##", PAGE: "###"}


def test_nothing_else_is_written():
    """A code that is gone is gone from the files, and each further call is of a code."""
    codes = [row.code for row in ROWS]

    assert list(sections(MESSAGES.read_text("utf-8"), "##")) == codes
    assert {*sections(FURTHER.read_text("utf-8"), "##")} <= {*codes}


def test_a_call_of_the_files_is_read():
    """Words above a block, and in a section, say what is special about a call."""
    block = "```python\n{}\n```\n"
    text = f"Why.\n\n{block.format('a()')}\n{UNSAFE}\n\n{block.format('b()')}\n{RIGHT}\n\n{block.format('c()')}"

    assert calls_in(text) == [Call("a()", "", is_safe=True), Call("b()", "c()", is_safe=False)]


@rows
def test_message(row):
    """A message is short, of this code, and ends with a command."""
    for call in row.calls:
        ours = answer(call)
        *lines, last = str(ours).split("\n")
        assert ours.code == row.code
        assert re.fullmatch(rf"  more +python -m rnnkit explain {row.code}", last)
        assert len(str(ours)) < LONGEST
        assert len(lines) < LINES
        assert not any(inside in str(ours) for inside in TORCHS_INSIDES)


@rows
def test_no_number_of_a_tensor_is_printed(row):
    """With other numbers in its tensors a call gets the same message."""
    for call in row.calls:
        other = call.program.replace("torch.ones(", "filled(")
        assert other == call.program or str(said(other, filled=filled)) == str(answer(call))


@rows
def test_caught_as_torchs(row):
    """Code that catches torch's error at the same place catches ours."""
    for call in filter(asks_torch, row.calls):
        theirs = of_torch(call.program)
        kinds = [one for one in CATCHABLE if isinstance(theirs, one)]
        if kind(theirs, answer(call)) == "lacks":
            continue
        assert all(isinstance(answer(call), one) for one in kinds), call.program


def ends(program, code):
    """Return whether a program runs without this mistake; it may have made another one, too."""
    try:
        found = said(program, **LEFT)
    except Exception:  # noqa: BLE001 - it was typed where it does not belong
        return False
    return found is None or found.code != code


@rows
def test_fixes(row):
    """Whatever a message says to type, if it is code, ends the mistake."""
    for call in row.calls:
        ours = answer(call)
        for piece, programs in typed(call.program, str(ours), getattr(ours, "argument", "")):
            assert any(ends(program, row.code) for program in programs), (piece, call.program)


@rows
def test_right(row):
    """The right call beside a wrong one is right."""
    for call in row.calls:
        assert not call.right or said(call.right) is None


@pytest.mark.disagrees
def test_many_fixes_are_typed():
    """The typist reads most of what messages say."""
    calls = [call for row in ROWS if not row.needs for call in row.calls]
    found = [dict(typed(call.program, str(answer(call)), "hx")) for call in calls]

    assert sum(map(len, found)) > 200
