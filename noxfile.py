"""Everything that is checked: ``nox`` runs the gate, ``nox -s NAME`` one part of it.

torch is large, so all sessions but ``minimums`` share one environment, made at the first of them.
"""

import os
import pathlib
import shutil
import tarfile
import tempfile
from collections.abc import Sequence

import nox
from packaging.requirements import Requirement


def environment() -> pathlib.Path:
    """Return the ``.venv`` of the README if it is active, since it has torch; else one of nox's."""
    active, readmes = os.environ.get("VIRTUAL_ENV"), pathlib.Path(".venv").resolve()
    is_readmes = active is not None and pathlib.Path(active).resolve() == readmes
    return pathlib.Path(os.environ.get("RNNKIT_VENV", readmes if is_readmes else ".nox/rnnkit"))


ENVIRONMENT = environment().resolve()
PYTHON = str(ENVIRONMENT / "bin" / "python")
#: The sizes that the packages list of their files.
SIZE = "0.8 GB, and as much of torch (3 GB with CUDA) unless it is there. It takes minutes."
#: As measured with two workers on two idle cores with AVX2, which nobody else's work slowed down.
TIME = "All tests: six minutes on two idle cores. With -- -m 'not slow': two minutes."
HOOK = "--jaxtyping-packages=rnnkit,beartype.beartype"
#: A process for each core, which takes over tests of the other when it has done its own.
#: ``-- -n 0`` after a session is one process.
PARALLEL = ("-n", "auto", "--dist", "worksteal")
#: A large CPU made small; no small one can be made large.
CPUS: dict[str, dict[str, str]] = {
    "native": {},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
}
#: What finds mistakes in anyone's model, too; they are held to the gallery beside ``verify``.
PEERS = ("torchtest2", "pytest-torch")
#: Files for tools of others, by the schema that such a tool has; the schemas come with the checker.
SCHEMAS = {
    "github-workflows": (".github/workflows/ci.yml", ".github/workflows/release.yml"),
    "github-issue-forms": (
        ".github/ISSUE_TEMPLATE/message.yml",
        ".github/ISSUE_TEMPLATE/other.yml",
    ),
    "citation-file-format": ["CITATION.cff"],
}
#: Turns of phrase that plain English does without, and what is free of them.
ODD_WORDS = (
    "of which|in the place of|what is no|as yet|as of|Say whether|in silence|Hold"
    "|an int (from|of)|(fit|fits) on no|turns? the gradient|[0-9]+ of the (time|loop)"
    "|(is|are) [0-9]+ wide|(padding|steps?|states?) that (is|are) read|of such[.,;]"
    "|\\w*\\S, too([.,;:)]|$)"
)
PLAIN = ["rnnkit", "benchmarks", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
#: A page repeats the noun, and a heading begins with a subject or a verb.
ODD_IN_PAGES = "(that|those) of|^##+ (With|From|Of|By)"
#: What the environment of ``package`` checks of the rnnkit that it finds: each module is imported.
PROOF = """
import importlib.metadata, pathlib, pkgutil, sys
from packaging.metadata import Metadata
import rnnkit
home = pathlib.Path(rnnkit.__file__).parent
assert home.is_relative_to(sys.prefix), home
assert (home / "py.typed").is_file() and (home / "errors.md").is_file()
assert (home / "_demo" / "vowels.pt").is_file()
Metadata.from_email(importlib.metadata.distribution("rnnkit").read_text("METADATA"))
for module in pkgutil.walk_packages(rnnkit.__path__, "rnnkit."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
#: The tests that compile, export, start or measure nothing.
QUICK = ("-m", "not slow")
#: The tests that ``package`` runs: the public names, and the numbers beside torch's.
OF_PACKAGE = ("tests/project/test_public_names.py", "tests/torch/test_same_numbers.py")
#: The tests that ``hooked`` runs: those of the folders whose functions take users' arguments.
OF_HOOK = ("tests/checks", "tests/kernels", "tests/modules", *QUICK)

nox.options.sessions = ["tests", "lint", "types", "docs", "hooked", "package"]
nox.options.default_venv_backend = "none"
nox.options.error_on_external_run = False


def prepare(session: nox.Session) -> None:
    """Make the shared environment if pyproject.toml has changed since it was made."""
    stamp = ENVIRONMENT / "made-from-pyproject.toml"
    wanted = pathlib.Path("pyproject.toml").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.log(f"Installing tools into {ENVIRONMENT}: {SIZE}")
    if not ENVIRONMENT.exists():
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
    """Run the tests, a process for each core; arguments after ``--`` go to pytest.

    With COVERAGE in the environment, fail if they miss a line or a branch, and show which.
    """
    prepare(session)
    if not session.posargs:
        session.log(TIME)
    if "COVERAGE" not in os.environ:
        run(session, "pytest", *PARALLEL, *session.posargs)
        return
    run(session, "coverage", "erase")
    run(session, "coverage", "run", "-m", "pytest", *PARALLEL, *session.posargs)
    run(session, "coverage", "combine", "--quiet")
    run(session, "coverage", "report", "--skip-covered")


@nox.session
def hooked(session: nox.Session) -> None:
    """Run tests with every annotation of rnnkit checked at each call."""
    run(session, "pytest", HOOK, *PARALLEL, *(session.posargs or OF_HOOK))


@nox.session
@nox.parametrize("cpu", list(CPUS), ids=list(CPUS))
def cpus(session: nox.Session, cpu: str) -> None:
    """Run the tests on this CPU, and as on a smaller one: oneDNN and torch are told what to use."""
    prepare(session)
    # What torch's compiler keeps of one CPU it would load on another one, too.
    with tempfile.TemporaryDirectory() as cache:
        env = CPUS[cpu] | {"TORCHINDUCTOR_CACHE_DIR": cache}
        session.run(PYTHON, "-m", "pytest", *PARALLEL, *session.posargs, env=env)


@nox.session(venv_backend="venv")
def minimums(session: nox.Session) -> None:
    """Run the quick tests with the oldest torch, jaxtyping and beartype that are claimed."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    oldest = [
        f"{requirement.name}=={specifier.version}"
        for requirement in map(Requirement, project["dependencies"])
        for specifier in requirement.specifier
        if specifier.operator == ">="
    ]
    run_apart(session, oldest, session.posargs or QUICK)


@nox.session(venv_backend="venv", python=os.environ.get("RNNKIT_PYTHON", "3.13"))
def newest(session: nox.Session) -> None:
    """Run all tests with the newest torch; ``RNNKIT_TORCH=2.15.0`` takes another one.

    ``RNNKIT_PYTHON=3.14`` takes another Python than 3.13.
    """
    version = os.environ.get("RNNKIT_TORCH")
    torch = ["--upgrade", "torch"] if version is None else [f"torch=={version}"]
    run_apart(session, torch, session.posargs)


def run_apart(session: nox.Session, packages: list[str], tests: Sequence[str]) -> None:
    """Run tests in an environment of their own.

    It takes gigabytes: a torch for the CPU alone is hard to come by in any other version.
    """
    # A configured constraint would hold pip to one version.
    env = {"PIP_CONFIG_FILE": os.devnull}
    session.install("--upgrade", "pip>=25.1", env=env)
    session.install("-e", ".", "--group", "tests", *packages, env=env)
    session.run("python", "-m", "pytest", *PARALLEL, *tests)


@nox.session
def package(session: nox.Session) -> None:
    """Compare the sdist to git, import each module of the wheel, and run some tests with it."""
    prepare(session)
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        run(session, "build", "--outdir", name)
        (sdist,), (wheel,) = place.glob("*.tar.gz"), place.glob("*.whl")
        with tarfile.open(sdist) as archive:
            archive.extractall(place, filter="data")
        unpacked = place / sdist.name.removesuffix(".tar.gz")
        compare(session, unpacked)
        shutil.rmtree(unpacked / "rnnkit")
        python = beside(session, place / "environment", wheel)
        with session.chdir(unpacked):
            session.run(python, "-c", PROOF)
            session.run(python, "-m", "pytest", *PARALLEL, *(session.posargs or OF_PACKAGE))


def beside(session: nox.Session, place: pathlib.Path, wheel: pathlib.Path) -> str:
    """Make an environment of a wheel and what the shared one has, less the checkout itself."""
    session.run(PYTHON, "-m", "venv", "--without-pip", str(place))
    (site,) = place.glob("lib/python*/site-packages")
    (shared,) = ENVIRONMENT.glob("lib/python*/site-packages")
    # Python follows no .pth file, as that of an editable install, in a folder named by another.
    (site / "shared.pth").write_text(str(shared))
    session.run(
        PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)
    )
    return str(place / "bin" / "python")


def compare(session: nox.Session, unpacked: pathlib.Path) -> None:
    """Check that the sdist has every file that git tracks, and none that it ignores."""
    packed = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    listed = [
        set(session.run("git", "ls-files", *args, silent=True, log=False).splitlines())
        for args in [(), ("--others", "--exclude-standard")]
    ]
    tracked = {path for path in listed[0] if pathlib.Path(path).exists()}
    if missing := tracked - packed:
        session.error(f"not in the sdist: {sorted(missing)}")
    if extra := packed - tracked - listed[1] - {"PKG-INFO"}:
        session.error(f"in the sdist, and not in git: {sorted(extra)}")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, spelling, words, the direction of imports, and how code reads."""
    run(session, "ruff", "check")
    run(session, "ruff", "format", "--check")
    run(session, "codespell_lib")
    # It prints what it finds with file and line, and ends with 1 if that is nothing.
    pages_only = ("--include=*.md", "--include=*.ipynb", "--exclude-dir=_build")
    python_too = ("--include=*.py", *pages_only)
    session.run("grep", "-rnwE", *python_too, ODD_WORDS, *PLAIN, success_codes=[1])
    session.run("grep", "-rnwE", *pages_only, ODD_IN_PAGES, *PLAIN, success_codes=[1])
    session.run(str(ENVIRONMENT / "bin" / "lint-imports"))
    session.run(str(ENVIRONMENT / "bin" / "complexipy"), "--failed")
    session.run(PYTHON, ".ci/tokens.py")
    session.run(PYTHON, ".ci/tricks.py")
    for schema, files in SCHEMAS.items():
        run(session, "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


@nox.session
def tool(session: nox.Session) -> None:
    """Run a tool of the shared environment: ``nox -s tool -- pytest tests/modules``."""
    name, *args = session.posargs
    prepare(session)
    session.run(str(ENVIRONMENT / "bin" / name), *args)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package, and what its users see of them."""
    run(session, "mypy")
    run(session, "basedpyright")
    run(session, "basedpyright", "--verifytypes", "rnnkit", "--ignoreexternal")
    session.run(PYTHON, ".ci/checkers.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages; a dead reference is an error."""
    build(session)


def build(session: nox.Session) -> None:
    """Build the pages from nothing, so that none stays of a page that is gone."""
    shutil.rmtree("docs/_build", ignore_errors=True)
    run(session, "sphinx", "-n", "-W", "--keep-going", "-q", "docs", "docs/_build")


@nox.session(venv_backend="venv")
def pages(session: nox.Session) -> None:
    """Look at the pages in Chromium, wide and narrow, light and dark; ``-- --shots FOLDER`` saves.

    It needs a Chromium of the system's (Debian: ``apt-get install chromium``).
    """
    build(session)
    session.install("--quiet", "--upgrade", "pip>=25.1")
    session.install("--quiet", "--group", "pages")
    session.run("python", "docs/browser.py", "docs/_build", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything and write the page of figures; ``-- calls`` prints one table."""
    run(session, "benchmarks", *(session.posargs or ["--write", "docs/benchmarks.md"]))
    if not session.posargs:
        run(session, "docs.charts")


@nox.session
def gpu(session: nox.Session) -> None:
    """Hold the laws of devices on this machine's GPU, and write the page of its figures."""
    prepare(session)
    asked = "import torch; print(torch.cuda.is_available())"
    if "True" not in str(session.run(PYTHON, "-c", asked, silent=True)):
        session.error("torch.cuda.is_available() is False: this needs a GPU, and a torch for it")
    # pytest ends with 1 where a law fails; the figures are measured all the same.
    laws = ("tests/device/laws.py", "tests/device/laws_of_gpu.py", "-n", "0", "-rf")
    told = session.run(PYTHON, "-m", "pytest", *laws, silent=True, success_codes=[0, 1])
    session.log(told)
    run(session, "benchmarks.gpu", "docs/gpu.md")
    if "\nFAILED" in str(told):
        session.error("the laws above fail on this GPU")


@nox.session
def detection(session: nox.Session) -> None:
    """Make each mistake of the gallery, and write into its tables who notices."""
    run(session, "docs.detect", *session.posargs)


@nox.session
def errors(session: nox.Session) -> None:
    """Write all that quotes a message: the page of errors, golden files, snapshots, the pages."""
    run(session, "tests.checks.write")
    run(session, "tests.diagnostics.write")
    run(session, "docs.refresh")
    run(session, "ruff", "format", "rnnkit/errors.md", "tests/checks/calls.md")
    # pytest ends with 1 where it has written a snapshot.
    prepare(session)
    snapshots = ("-n", "0", "--inline-snapshot=fix", "tests/diagnostics", "-m", "not slow")
    session.run(PYTHON, "-m", "pytest", *snapshots, success_codes=[0, 1])


@nox.session
def peers(session: nox.Session) -> None:
    """Run verify and its peers on the gallery, and write who finds what into ``docs/peers.md``.

    ``-- FOLDER...`` runs them on the cases in folders instead, and prints the tables.
    """
    folders = [str(pathlib.Path(name).resolve()) for name in session.posargs]
    prepare(session)
    with tempfile.TemporaryDirectory() as place:
        # Beside the shared environment, whose torch they find: a plugin of pytest's stays out.
        session.run(
            PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place, *PEERS
        )
        session.run(PYTHON, "-m", "docs.peers", *folders, env={"PYTHONPATH": place})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Compare random calls, right ones and wrong ones, with torch's; ``-- 1000`` says how many."""
    prepare(session)
    (draws,), files = (
        session.posargs or ["1000"],
        ("tests/fuzz", "tests/device", "tests/torch/test_same_numbers.py"),
    )
    session.run(PYTHON, "-m", "pytest", *PARALLEL, *files, env={"DRAWS": draws})


@nox.session
def mutants(session: nox.Session) -> None:
    """Change one small thing at a time, and list what no test notices; ``-- --draw 40`` is fewer.

    120 of all, drawn by the commit, took 50 minutes on two cores that had other work, too.
    """
    prepare(session)
    session.run(PYTHON, ".ci/mutants.py", *session.posargs)
