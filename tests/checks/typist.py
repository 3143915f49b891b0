"""Types what a message says to type into the program that was refused.

The private functions take a program as the list of its statements, and return programs.
"""

import ast
import builtins
import itertools
import re
from collections.abc import Iterator

from tests.checks.outcome import statements

FIX = re.compile(r"^  fix +(.+(?:\n {12}.+)*)", re.MULTILINE)
LABEL = re.compile(r"^(?:[a-z ]+: |.* such as )(?=for |[\w.]+[=(])")
#: Statements that stand for the last one, which calls a function of rnnkit.
WHOLE_CALL = re.compile(r"; rnnkit\.\w+\(.+\)$")
STATEMENT = re.compile(r"for .+?: .+?\)|\w+, \w+ = [^.].+?\)(?=$|,)|layer\.\w+ = \S+")
#: What stands for a whole call, and not for a value.
WHOLE = ("layer(", "cell(", "rnnkit.unroll(", "rnnkit.Recurrent(")
#: A name that a fix leaves to the user, and its value.
LEFT = {"vocabulary": 10}
KNOWN = {*dir(builtins), "rnnkit", "torch", "nn", *LEFT}


def pieces(message: str) -> list[str]:
    """Return the alternatives of a message's fix, each with the words behind it."""
    lines = [line.strip() for text in FIX.findall(message) for line in text.split("\n")]
    return [piece for line in lines for piece in line.removeprefix("or ").split(", or ") if piece]


def typed(program: str, message: str, argument: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each piece that is code with the programs that it may make; one of them is right."""
    for piece in pieces(message):
        programs = [statements(program)]
        for part in re.split(r",? (?:and|then pass) (?=[\w.]+[=(])", LABEL.sub("", piece)):
            programs = [each for one in programs for each in _edits(one, part, argument)]
        if programs:
            yield piece, ["\n".join(one) for one in programs]


def _edits(program, part, argument):
    """Return the programs that one part of a fix may make of a program."""
    if "; " in part and WHOLE_CALL.search(part):
        is_known = _read(part) - _bound(program) <= KNOWN
        return [[*program[:-1], *part.split("; ")]] if is_known else []
    if found := re.match(r"leave (\w+) out", part):
        return [_call(program, argument if found[1] == "it" else found[1])]
    if found := STATEMENT.match(part):
        text = found[0]
        if not _read(text) - _bound([*program, text]) <= KNOWN:
            return []
        first = [] if "hx" in _bound(program) else ["hx = None"]
        return [[*program[:-1], *([*first, text] if part[:3] == "for" else [text, program[-1]])]]
    for end in [*ends(part, ", |: |; |$"), *ends(part, " ")]:
        text = part[:end]
        rest = part[end:]
        node = parsed(text)
        call = parsed(f"_({text})")
        if isinstance(call, ast.Call) and call.keywords:
            keyword = call.keywords[0]
            value = ast.unparse(keyword.value)
            is_code = "..." not in text
            return _keyword(program, str(keyword.arg), value, argument) if is_code else []
        if node is not None and not isinstance(node, ast.Name):
            return _expression(program, text, rest, argument)
    return []


def ends(part: str, boundary: str) -> list[int]:
    """Return where code may end and words begin."""
    return [found.start() for found in re.finditer(boundary, part)]


def parsed(text: str) -> ast.expr | None:
    """Return a text as an expression; None if it is words."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def _names(text, use):
    """Return the names of a text in one use: stored, or loaded."""
    nodes = ast.walk(ast.parse(text))
    return {one.id for one in nodes if isinstance(one, ast.Name) and type(one.ctx) is use}


def _bound(program):
    """Return the names that a program gives a value."""
    return {name for line in program for name in _names(line, ast.Store)}


def _read(text):
    """Return the names that a text uses and does not make."""
    return _names(text, ast.Load) - _names(text, ast.Store)


def _keyword(program, name, value, argument):
    """Give the last call an argument by name, in the place of what was wrong."""
    if not _read(value) - _bound(program) <= KNOWN:
        return []
    return [_call(program, argument, f"{name}={value}", drop) for drop in (0, 1, 2)]


def _call(program, without, given="", drop=0):
    """Change the call of the last line: one keyword less, one more, fewer by position."""
    tree = ast.parse(program[-1])
    if isinstance(tree.body[0], ast.Expr):
        call = tree.body[0].value
        new = ast.parse(f"_({given})", mode="eval").body.keywords
        gone = {without, *(one.arg for one in new)}
        call.keywords = [*(one for one in call.keywords if one.arg not in gone), *new]
        call.args = call.args[: len(call.args) - drop]
    return [*program[:-1], ast.unparse(tree)]


def _expression(program, text, rest, argument):
    """Put an expression where it belongs: a constructor, a whole call, or the value of a name."""
    bound = _bound(program)
    module = next((name for name in ("layer", "cell") if name in bound), "layer")
    if "model" not in bound:
        text = re.sub(r"\bmodel\b", module, text)
    if "..." in text:
        return _constructors(program, text)
    if not _read(text) - bound <= KNOWN:
        return []
    if text.startswith((*WHOLE, program[-1].partition("(")[0] + "(")):
        return [[*program[:-1], text]]
    read = _read(text) & bound
    target = re.match(r",? as (\w+)", rest)
    if target or (argument in bound and (argument in read or text.startswith("("))):
        name = target[1] if target else argument
    else:
        name = min(read, key=text.index, default="")
    if name not in bound:
        return []
    lines = [*program[:-1], f"{name} = {text}", program[-1]]
    if target:
        return [lines, _call(lines, argument), _call(lines, "", drop=1)]
    return [lines]


def _constructors(program, text):
    """Write a constructor's own arguments for the dots of a fix."""
    node = parsed(text)
    made = []
    if not isinstance(node, ast.Call) or not _name(node)[:1].isupper():
        return []
    if not _read(text) - {_name(node)} - _bound(program) <= KNOWN:
        return []
    for (place, line), drop in itertools.product(enumerate(program), (0, 1)):
        tree = ast.parse(line)
        calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call)]
        alike = [one for one in calls if _name(one) == _name(node)]
        if alike:
            _merge(alike[0], node, drop)
            made.append([*program[:place], ast.unparse(tree), *program[place + 1 :]])
    return made


def _name(call):
    return ast.unparse(call.func).rpartition(".")[2]


def _merge(old, new, drop):
    """Put what a fix names into a call, leaving the rest as it is."""
    old.args = old.args[: len(old.args) - drop]
    named = {one.arg for one in new.keywords}
    old.keywords = [*(one for one in old.keywords if one.arg not in named), *new.keywords]
