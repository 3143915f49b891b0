"""List the tricks that save a line and cost a reader time; end with 1 if a folder has too many.

They are: unrelated values in one assignment, text or a list times a condition, a condition inside
another, a loop over ``(x if c else ())``, an index that is a condition, and ``:=`` in a
comprehension. A folder may have 4 in 1,000 lines that have code.
"""

import ast
import pathlib
import sys
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "rnnkit"
FOLDERS = [*sorted({path.parent for path in PACKAGE.glob("*/*.py")}), ROOT / "tests"]
MOST = 4 / 1000

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def is_condition(node: ast.AST | None) -> bool:
    """Return whether an expression is true or false by its form."""
    is_negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return is_negation or isinstance(node, ast.Compare | ast.BoolOp)


def is_text_or_list(node: ast.AST) -> bool:
    """Return whether an expression is written as text or as a list."""
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text or isinstance(node, ast.JoinedStr | ast.List)


def assigns_unrelated(node: ast.AST) -> bool:
    """Find ``a, b = x, y``, unless it exchanges or advances what it assigns."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    target = node.targets[0]
    if not isinstance(target, ast.Tuple) or len(target.elts) != len(node.value.elts):
        return False
    assigned = {one.id for one in target.elts if isinstance(one, ast.Name)}
    read = {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)}
    return assigned.isdisjoint(read)


def multiplies_by_condition(node: ast.AST) -> bool:
    """Find ``"text" * (x > 0)``."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    pairs = ((node.left, node.right), (node.right, node.left))
    return any(is_text_or_list(one) and is_condition(other) for one, other in pairs)


def nests_conditions(node: ast.AST) -> bool:
    """Find ``x if a else y if b else z``."""
    if not isinstance(node, ast.IfExp):
        return False
    return any(isinstance(one, ast.IfExp) for one in ast.walk(node) if one is not node)


def loops_over_choice(node: ast.AST) -> bool:
    """Find ``for x in (xs if c else ())``."""
    return isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.IfExp)


def indexes_by_condition(node: ast.AST) -> bool:
    """Find ``pair[x > 0]``."""
    if not isinstance(node, ast.Subscript):
        return False
    index = node.slice
    parts = [index.lower, index.upper, index.step] if isinstance(index, ast.Slice) else [index]
    return any(is_condition(part) or isinstance(part, ast.IfExp) for part in parts)


def assigns_in_comprehension(node: ast.AST) -> bool:
    """Find ``[y for x in xs if (y := f(x))]``."""
    if not isinstance(node, COMPREHENSIONS):
        return False
    return any(isinstance(one, ast.NamedExpr) for one in ast.walk(node))


TRICKS: dict[str, Callable[[ast.AST], bool]] = {
    "unrelated values in one assignment": assigns_unrelated,
    "text or a list times a condition": multiplies_by_condition,
    "a condition inside another": nests_conditions,
    "a loop over (x if c else ())": loops_over_choice,
    "an index that is a condition": indexes_by_condition,
    ":= in a comprehension": assigns_in_comprehension,
}


def tricks_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each trick."""
    for node in ast.walk(tree):
        for name, is_trick in TRICKS.items():
            if is_trick(node):
                # A comprehension's loop has no line of its own.
                line = getattr(node, "lineno", getattr(getattr(node, "iter", None), "lineno", 0))
                yield line, name


def main() -> None:
    """Print each trick, and how many a folder has in 1,000 lines."""
    exceeded = False
    for folder in FOLDERS:
        found = 0
        lines = 0
        for path in sorted(folder.rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            lines += len({node.lineno for node in ast.walk(tree) if hasattr(node, "lineno")})
            for line, name in tricks_in(tree):
                found += 1
                print(f"{path.relative_to(ROOT)}:{line}: {name}")
        print(f"{folder.relative_to(ROOT)!s:<20} {1000 * found / max(lines, 1):.1f} in 1,000 lines")
        exceeded = exceeded or found > MOST * lines
    sys.exit(int(exceeded))


if __name__ == "__main__":
    main()
