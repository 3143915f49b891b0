"""What is said in several places is the same in each: version, requirements, sessions, files, CI."""

import ast
import importlib.metadata
import pathlib
import re
import tomllib
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.version import Version

import rnnkit
from tests.places import PACKAGE, README, ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / ".ci" / "run", WORKFLOW]
EVENTS, TEXT = WORKFLOW.read_text().split("\njobs:\n")
_, *PARTS = re.split(r"^  (\w+):\n", TEXT, flags=re.MULTILINE)
#: The jobs of CI by name, each as its text.
JOBS = dict(zip(PARTS[::2], PARTS[1::2], strict=True))
#: ``python-version: "3.11"`` and ``python: "3.11"``
PYTHON = re.compile(r"python(?:-version)?: \"(3\.\d+)\"")
#: ``## 0.1.0 - 2026-11-24``
RELEASE = re.compile(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", re.MULTILINE)


def oldest(specifiers: str) -> Version:
    """The version that a requirement begins with."""
    (first,) = re.findall(r">=([\d.]+)", specifiers)
    return Version(first)


def claims(baseline: str) -> list[Version]:
    """The versions from which on something will do, as the README says."""
    return [Version(text) for text in re.findall(baseline + r" (\d+\.\d+) or newer", README)]


def sessions() -> set[str]:
    """The names of the functions in noxfile.py that nox runs."""
    session = re.compile(r"^@nox\.session.*?^def (\w+)", re.MULTILINE | re.DOTALL)
    return set(session.findall((ROOT / "noxfile.py").read_text()))


def matches(pattern: str) -> list[pathlib.Path]:
    """The files that a path with or without stars names, in the checkout or the package."""
    home = PACKAGE.parent if pattern.startswith("rnnkit/") else ROOT
    return list(home.glob(pattern.rstrip("/")))


def paths_in_backticks(text: str) -> Iterator[str]:
    """The paths from the root on that a page names, but for what nox makes."""
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"[\w.*/-]+", code) and "/" in code and not code.startswith(".nox"):
            yield code


def test_changelog():
    """Its first entry is of the installed version; each has a date, and a later version than the next."""
    entries = [(Version(version), date) for version, date in RELEASE.findall(CHANGELOG)]

    installed = importlib.metadata.version("rnnkit")
    assert str(entries[0][0]) == installed == PROJECT["version"] == rnnkit.__version__
    assert len(entries) == len(re.findall(r"^## ", CHANGELOG, re.MULTILINE))
    assert entries == sorted(entries, reverse=True)
    assert len({version for version, _ in entries}) == len(entries)


def test_the_oldest_versions():
    """Each dependency has one; the README asks for the package's Python and torch, as ruff does."""
    each = {Requirement(one).name: oldest(one) for one in PROJECT["dependencies"]}
    python = oldest(PROJECT["requires-python"])

    assert set(claims("Python(?: of)?")) == {python}
    assert set(claims("torch")) == {each["torch"]}
    major, minor = python.release
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{major}{minor}"


def test_pages_name_sessions_and_extras_that_there_are():
    """Each session of nox that a page or CI runs is in noxfile.py, and each extra is the package's."""
    known = sessions(), set(PROJECT["optional-dependencies"])
    for page in PAGES:
        run = re.findall(r"nox -s ((?:[a-z]+ ?)+)", page.read_text())
        installed = re.findall(r"(?:\.|rnnkit)\[([a-z,]+)\]", page.read_text())

        assert {name for names in run for name in names.split()} <= known[0], page
        assert {extra for extras in installed for extra in extras.split(",")} <= known[1], page


def test_ci_runs_every_gate():
    """What a bare ``nox`` runs, CI runs."""
    line = re.search(r"nox\.options\.sessions = (\[.*\])", (ROOT / "noxfile.py").read_text())
    run = re.findall(r"nox -s (.*)", (ROOT / ".ci" / "run").read_text())

    assert set(ast.literal_eval(line[1])) <= {name for names in run for name in names.split()}


def test_paths_exist():
    """What CONTRIBUTING.md names, and what pyproject.toml packs."""
    sdist = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    named = [*paths_in_backticks((ROOT / "CONTRIBUTING.md").read_text())]
    assert len(named) > 5
    named += [path.lstrip("/") for path in sdist if path != "/rnnkit"]

    assert [path for path in named if not path.startswith("-") and not matches(path)] == []


def test_each_file_is_short():
    """No file of Python has 300 lines with text in them: who opens one reads all of it."""
    folders = [PACKAGE, *(ROOT / name for name in ("tests", "benchmarks", "docs"))]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    texts = {str(path): path.read_text().splitlines() for path in files}
    lines = {path: len([line for line in text if line.strip()]) for path, text in texts.items()}

    assert len(lines) > 100
    assert {path: count for path, count in lines.items() if count >= 300} == {}


def test_actions_are_pinned():
    """Each action is a commit, beside the version that it had."""
    for workflow in WORKFLOW.parent.glob("*.yml"):
        uses = re.findall(r"uses: (.*)", workflow.read_text())

        assert uses, workflow
        wrong = [one for one in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", one)]
        assert wrong == [], workflow


def test_each_claimed_python_has_a_job():
    """The classifiers name the Pythons that CI runs, and the oldest is that of the gate."""
    name = "Programming Language :: Python :: 3."
    claimed = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith(name)}

    assert {one for text in JOBS.values() for one in PYTHON.findall(text)} == claimed
    assert PROJECT["requires-python"] == f">={PYTHON.findall(JOBS['gate'])[0]}"


def test_what_runs_when():
    """A push, and a pull request, run the gate, the newest torch and the oldest.

    A schedule runs what takes hours, as mutants and fuzz do, or may fail for no fault of rnnkit's.
    """
    for name in ("lint", "gate", "versions"):
        condition = "if: github.event_name == 'push' || github.event_name == 'pull_request'\n"
        assert condition in JOBS[name], name
    for name in ("others", "weekly"):
        assert "if: github.event_name == 'schedule' || " in JOBS[name], name
    assert re.search(r"schedule:\n +- cron: ", EVENTS)
    assert re.findall(r"session: (\w+), python", JOBS["versions"]) == ["newest", "minimums"]
    assert "session: [mutants, fuzz]" in JOBS["weekly"]
    assert "run: .ci/run" in JOBS["gate"]


def test_pages_name_the_torch_of_development():
    """The torch that the gate is held to is the one that the pages name."""
    constraints = (ROOT / ".github" / "constraints.txt").read_text()
    [version] = re.findall(r"torch==(\d+\.\d+)\.\*", constraints)

    for page in ("versions", "limits"):
        assert f"torch {version}" in (ROOT / "docs" / f"{page}.md").read_text()
