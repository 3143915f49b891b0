"""Hold two more type checkers to what ours are held to: ``python .ci/checkers.py``.

ty and pyrefly accept all of ``tests/project/typing/accept*.py``, and refuse each line of
``reject.py`` that mypy and basedpyright refuse, but for the few that stand in ``MISSED``.
"""

import pathlib
import re
import subprocess
import sys

FOLDER = pathlib.Path("tests/project/typing")
REJECT = FOLDER / "reject.py"
BIN = pathlib.Path(sys.executable).parent
# pyrefly takes mypy's comments for its own, and knows lambdas less well.
COMMANDS = {
    "ty": ["check", "--output-format", "concise", "--python", sys.executable],
    "pyrefly": [
        *("check", "--output-format", "min-text", "--python-interpreter-path", sys.executable),
        *("--enabled-ignores", "pyrefly", "--ignore", "implicit-any-lambda"),
    ],
}
#: What a checker lets pass: ty takes a layer for a cell, and any name for an option of a TypedDict;
#: pyrefly takes text for a list of texts.
MISSED = {
    "ty": ("unroll(gru, x)", "unroll(lstm, x)", "Recurrent(gru)", "Recurrent(lstm)", "x, state=h)"),
    "pyrefly": ('skip="batch"',),
}


def complaints(tool: str, *files: pathlib.Path) -> set[tuple[str, int]]:
    """Return the files and lines that a checker complains of."""
    command = [str(BIN / tool), *COMMANDS[tool], *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in (0, 1):
        sys.exit(f"{tool} failed:\n{done.stdout}{done.stderr}")
    found = re.findall(r"([\w/.-]+\.py):(\d+)", done.stdout)
    return {(name, int(line)) for name, line in found if pathlib.Path(name) in files}


def main() -> None:
    """Ask each checker, and fail with the lines where it is of another opinion."""
    lines = REJECT.read_text("utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "# type: ignore" in line}
    failed = []
    for tool, missed in MISSED.items():
        accepted = sorted(FOLDER.glob("accept*.py"))
        failed += [f"{tool} refuses {name}:{line}" for name, line in complaints(tool, *accepted)]
        refused = {line for _, line in complaints(tool, REJECT)}
        known = {number for number in wrong if any(text in lines[number - 1] for text in missed)}
        failed += [f"{tool} accepts {REJECT}:{line}" for line in sorted(wrong - refused - known)]
        failed += [f"{tool} refuses {REJECT}:{line} now" for line in sorted(refused & known)]
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
