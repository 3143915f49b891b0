"""Print how many tokens each folder of rnnkit has, and how many it may have; end with 1 if more.

A token is what a reader reads, however lines are broken: comments, docstrings and blank lines are
free. A limit may only fall, unless a change says why it adds to it.
"""

import ast
import io
import pathlib
import sys
import tokenize

ROOT = pathlib.Path(__file__).parents[1]
LIMITS = {
    "rnnkit/_base": 3_825,
    "rnnkit/_kernels": 14_700,
    "rnnkit/_checks": 18_120,
    "rnnkit/_modules": 14_530,
    "rnnkit/states": 2_300,
    "rnnkit/_diagnostics": 86_850,
    "tests": 167_100,
}
FREE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines that docstrings take."""
    lines = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False):
            docstring = node.body[0]
            lines.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return lines


def tokens_of(path: pathlib.Path) -> int:
    """Count the tokens of a file."""
    text = path.read_text("utf-8")
    free_lines = docstring_lines(ast.parse(text))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(one.type not in FREE and one.start[0] not in free_lines for one in tokens)


def main() -> None:
    """Print both numbers of each folder."""
    exceeded = False
    for folder, limit in LIMITS.items():
        count = sum(map(tokens_of, (ROOT / folder).rglob("*.py")))
        print(f"{folder:<20} {count:>8,} of {limit:>8,} tokens")
        exceeded = exceeded or count > limit
    sys.exit(int(exceeded))


if __name__ == "__main__":
    main()
