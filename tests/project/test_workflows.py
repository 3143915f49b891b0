"""What CI runs: every version that is claimed, by actions that cannot change under their names."""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEVELOPED = (ROOT / ".github" / "constraints.txt").read_text()
#: ``python-version: "3.11"`` and ``python: "3.11"``
PYTHON = re.compile(r"python(?:-version)?: \"(3\.\d+)\"")


def jobs() -> dict[str, str]:
    """Return the jobs of ci.yml by name, each as its text."""
    _, text = (WORKFLOWS / "ci.yml").read_text().split("\njobs:\n")
    parts = re.split(r"^  (\w+):\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_actions_are_pinned():
    """Each action is a commit, beside the version that it had."""
    for workflow in WORKFLOWS.glob("*.yml"):
        uses = re.findall(r"uses: (.*)", workflow.read_text())

        assert uses, workflow
        wrong = [one for one in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", one)]
        assert wrong == [], workflow


def test_each_claimed_python_has_a_job():
    """The classifiers name the Pythons that CI runs, and the oldest is that of the gate."""
    name = "Programming Language :: Python :: 3."
    claimed = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith(name)}

    assert {one for text in jobs().values() for one in PYTHON.findall(text)} == claimed
    assert PROJECT["requires-python"] == f">={PYTHON.findall(jobs()['gate'])[0]}"


def test_what_runs_when():
    """A push, and a pull request, run the gate, the newest torch and the oldest.

    A schedule runs what takes hours, as mutants and fuzz do, or may fail for no fault of rnnkit's.
    """
    for name in ("lint", "gate", "versions"):
        condition = "if: github.event_name == 'push' || github.event_name == 'pull_request'\n"
        assert condition in jobs()[name], name
    for name in ("others", "weekly"):
        assert "if: github.event_name == 'schedule' || " in jobs()[name], name
    events, _ = (WORKFLOWS / "ci.yml").read_text().split("\njobs:\n")
    assert re.search(r"schedule:\n +- cron: ", events)
    assert re.findall(r"session: (\w+), python", jobs()["versions"]) == ["newest", "minimums"]
    assert "session: [mutants, fuzz]" in jobs()["weekly"]
    assert "run: .ci/run" in jobs()["gate"]


def test_pages_name_the_torch_of_development():
    """The torch that the gate is held to is the one that the pages name."""
    [version] = re.findall(r"torch==(\d+\.\d+)\.\*", DEVELOPED)
    page = (ROOT / "docs" / "versions.md").read_text()

    assert f"torch {version}" in page
    assert f"torch {version}" in (ROOT / "docs" / "limits.md").read_text()
