"""Draw mutants: change one small thing of rnnkit at a time, and list what no test notices.

``python .ci/mutants.py --draw 120`` takes the commit as its seed, runs the quick tests of the
folder that has the change, and ends with 1 if more than 7 of 100 survive. A survivor is a test
that is missing, a line that does nothing, or a change that makes no difference: look at each.
"""

import argparse
import ast
import copy
import os
import pathlib
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
#: The tests of each folder, the likeliest to notice first.
TESTS = {
    "_kernels": ("tests/kernels", "tests/torch/test_same_numbers.py", "tests/modules"),
    "_checks": ("tests/checks", "tests/modules", "tests/kernels", "tests/fuzz"),
    "_modules": ("tests/modules", "tests/torch", "tests/checks", "tests/kernels"),
    "_base": ("tests/checks", "tests/modules", "tests/torch", "tests/kernels", "tests/project"),
    "states": ("tests/modules", "tests/checks"),
    "_diagnostics": ("tests/diagnostics",),
}
#: At most so many of a hundred may survive, and a test may take so many seconds.
SURVIVORS = 7
PATIENCE = 420
OTHER_OPERATOR: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


class Mutant(NamedTuple):
    """A change of some bytes of a file."""

    path: pathlib.Path  # relative to the checkout
    line: int
    start: int
    end: int
    before: str
    after: str


def changed(node: ast.AST) -> ast.AST | None:
    """Return what stands for a node in a mutant; None if it is not changed."""
    other: Any = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER_OPERATOR:
        other.ops[0] = OTHER_OPERATOR[type(node.ops[0])]()
        return other
    if isinstance(node, ast.BoolOp):
        other.op = OTHER_OPERATOR[type(node.op)]()
        return other
    if isinstance(node, ast.BinOp) and type(node.op) in OTHER_OPERATOR:
        other.op = OTHER_OPERATOR[type(node.op)]()
        return other
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return ast.Constant(not node.value)
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return ast.Constant(node.value + 1)
    if isinstance(node, ast.IfExp):
        return ast.IfExp(node.test, node.orelse, node.body)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.Constant(None)
    if isinstance(node, ast.Return) and node.value is not None:
        is_none = isinstance(node.value, ast.Constant) and node.value.value is None
        return None if is_none else ast.Return(ast.Constant(None))
    return None


def is_left(node: ast.AST) -> bool:
    """Return whether nothing within a node is changed: annotations, texts, imports, types."""
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes_run(node: ast.AST, *, is_inside: bool = False) -> Iterator[ast.AST]:
    """Yield the nodes that a call of a function runs."""
    if is_left(node):
        return
    if is_inside:
        yield node
    is_function = isinstance(node, ast.FunctionDef | ast.Lambda)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from nodes_run(child, is_inside=is_inside or is_function)


def mutants_of(path: pathlib.Path) -> Iterator[Mutant]:
    """Yield the mutants of a file."""
    text = (ROOT / path).read_text("utf-8")
    lines = [len(line) for line in text.encode().splitlines(keepends=True)]
    for ran in nodes_run(ast.parse(text)):
        node: Any = ran
        new = changed(node)
        if isinstance(node, ast.If):
            node = node.test
            new = ast.UnaryOp(ast.Not(), node)
        if new is None:
            continue
        start = sum(lines[: node.lineno - 1]) + node.col_offset
        end = sum(lines[: node.end_lineno - 1]) + node.end_col_offset
        before = text.encode()[start:end].decode()
        after = ast.unparse(ast.fix_missing_locations(new))
        if isinstance(node, ast.expr):
            after = f"({after})"
        yield Mutant(path, node.lineno, start, end, before, after)


def is_noticed(mutant: Mutant, checkout: pathlib.Path) -> bool:
    """Return whether a test fails where the mutant stands in a checkout."""
    path = checkout / mutant.path
    original = path.read_bytes()
    path.write_bytes(original[: mutant.start] + mutant.after.encode() + original[mutant.end :])
    try:
        return any(fails(tests, checkout) for tests in TESTS[mutant.path.parts[1]])
    finally:
        path.write_bytes(original)


def fails(tests: str, checkout: pathlib.Path) -> bool:
    """Return whether a quick test of a folder fails in a checkout, or takes too long."""
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-m", "not slow", tests]
    env = os.environ | {"PYTHONPATH": str(checkout)}
    try:
        result = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "pytest", *options],
            cwd=checkout,
            env=env,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return result.returncode != 0


def check_unchanged(checkout: pathlib.Path) -> None:
    """End if a test fails without any mutant: it would seem to notice each of them."""
    for tests in sorted({tests for each in TESTS.values() for tests in each}):
        if fails(tests, checkout):
            sys.exit(f"{tests} fails without any mutant")


def draw(count: int, seed: str) -> list[Mutant]:
    """Draw some mutants from all folders."""
    files = [
        path.relative_to(ROOT)
        for folder in TESTS
        for path in sorted((ROOT / "rnnkit" / folder).rglob("*.py"))
    ]
    pool = [mutant for path in files for mutant in mutants_of(path)]
    random.Random(seed).shuffle(pool)  # noqa: S311
    print(f"{count} of {len(pool)} mutants, seed {seed}")
    return pool[:count]


def run_all(mutants: list[Mutant], checkouts: list[pathlib.Path]) -> list[Mutant]:
    """Run mutants, one in each checkout at a time; return those that no test notices."""
    free: queue.Queue[pathlib.Path] = queue.Queue()
    for checkout in checkouts:
        free.put(checkout)

    def run(mutant: Mutant) -> bool:
        checkout = free.get()
        begin = time.monotonic()
        noticed = is_noticed(mutant, checkout)
        free.put(checkout)
        word = "killed  " if noticed else "SURVIVED"
        before = " ".join(mutant.before.split())
        after = " ".join(mutant.after.split())
        seconds = time.monotonic() - begin
        print(
            f"{word} {mutant.path}:{mutant.line}: {before[:80]} -> {after[:80]} ({seconds:.0f} s)",
            flush=True,
        )
        return noticed

    with ThreadPoolExecutor(len(checkouts)) as pool:
        found = list(pool.map(run, mutants))
    return [mutant for mutant, noticed in zip(mutants, found, strict=True) if not noticed]


def main() -> None:
    """Draw mutants, run them, and say how many survived."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S603
    tracked = subprocess.run([*git, "ls-files"], capture_output=True, text=True, check=True)  # noqa: S603
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--draw", type=int, default=120)
    parser.add_argument("--seed", default=head.stdout.strip())
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        checkouts = [pathlib.Path(place) / str(number) for number in range(os.cpu_count() or 1)]
        for checkout in checkouts:
            for name in tracked.stdout.splitlines():
                (checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, checkout / name)
        check_unchanged(checkouts[0])
        survivors = run_all(draw(given.draw, given.seed), checkouts)
    print(f"{len(survivors)} of {given.draw} survived")
    sys.exit(int(len(survivors) * 100 > SURVIVORS * given.draw))


if __name__ == "__main__":
    main()
