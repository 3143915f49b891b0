"""Everything that is checked: ``nox`` runs the gate, ``nox -s NAME`` one part of it.

torch is large, so all sessions share one environment, made at the first of them.
"""

import os
import pathlib

import nox

ENVIRONMENT = pathlib.Path(os.environ.get("RNNKIT_VENV", ".nox/rnnkit")).resolve()
PYTHON = str(ENVIRONMENT / "bin" / "python")
HOOK = "--jaxtyping-packages=rnnkit,beartype.beartype"

nox.options.sessions = ["tests", "lint", "types", "docs", "hooked"]
nox.options.default_venv_backend = "none"
nox.options.error_on_external_run = False


def prepare(session: nox.Session) -> None:
    """Make the shared environment if pyproject.toml has changed since it was made."""
    stamp = ENVIRONMENT / "made-from-pyproject.toml"
    wanted = pathlib.Path("pyproject.toml").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.run("python", "-m", "venv", str(ENVIRONMENT))
    session.run(PYTHON, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    session.run(PYTHON, "-m", "pip", "install", "--quiet", "-e", ".", "--group", "dev")
    stamp.write_text(wanted)


def run(session: nox.Session, module: str, *args: str) -> None:
    """Run one of the environment's tools."""
    prepare(session)
    # basedpyright --verifytypes looks for the Python that is first on the path.
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}"
    session.run(PYTHON, "-m", module, *args, env={"PATH": path})


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, a process for each core; arguments after ``--`` go to pytest."""
    run(session, "pytest", *(session.posargs or ["-n", "auto"]))


@nox.session
def hooked(session: nox.Session) -> None:
    """Run the tests with every annotation of rnnkit checked at each call."""
    run(session, "pytest", HOOK, *(session.posargs or ["-n", "auto"]))


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests in one process and show which lines and branches they miss."""
    run(session, "coverage", "run", "-m", "pytest", *session.posargs)
    run(session, "coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the direction of imports."""
    run(session, "ruff", "check")
    run(session, "ruff", "format", "--check")
    session.run(str(ENVIRONMENT / "bin" / "lint-imports"))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package, and what its users see of them."""
    run(session, "mypy")
    run(session, "basedpyright")
    run(session, "basedpyright", "--verifytypes", "rnnkit", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages; a dead reference is an error."""
    run(session, "sphinx", "-n", "-W", "--keep-going", "-q", "docs", "docs/_build")


@nox.session
def bench(session: nox.Session) -> None:
    """Print the benchmark's tables; ``-- calls`` for one of them."""
    run(session, "benchmarks", *session.posargs)
