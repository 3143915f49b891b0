"""Every block of code in README, docs and docstrings does what the page says."""

import doctest
import importlib
import inspect
import pathlib
import random
import re

import numpy as np
import pytest
import torch
from sybil import Document, Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.myst import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

import rnnkit
from tests.places import FILES, PACKAGE, ROOT
from tests.strategies import CELLS, LAYERS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: The modules that have an example.
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
    if ">>> " in path.read_text()
]
#: The hook's checks do not compile, and each has a scope of its own between layer and caller. They
#: draw what they look at of a list, so that verify makes a run more than these pages say.
NOT_HOOKED = (
    "compile-export.md", "types.md", "quickstart.md",
    "leaks.md", "leaks-calls.md", "leaks-streaming.md", "leaks-map.md",
)  # fmt: skip
#: What torch itself says or takes there is that of the torch that CI runs.
OF_THIS_TORCH = ("compile-export.md", "numbers.md")
#: What users make, or read; errors they only catch.
CLASSES = [
    kind
    for kind in (getattr(rnnkit, name) for name in rnnkit.__all__)
    if isinstance(kind, type) and not issubclass(kind, Exception)
]
PICTURE = re.compile(r"!\[[^\]]*\]\(([^):]+)\)")  # of our own, not a badge's address
FENCE = re.compile(r"^ *(?:`{3,}|:{3,})\{?python", re.MULTILINE)

pages = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS)], path=str(ROOT))
docstrings = Sybil(
    parsers=[DocTestParser(optionflags=doctest.ELLIPSIS)],
    path=str(ROOT),
    document_types={".py": PythonDocStringDocument},
)


@pytest.fixture(autouse=True)
def _as_the_reader_runs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path):
    """Seed everything, and write files nowhere that matters; pytest restores the warnings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries draw from it
    torch.manual_seed(0)


def run(document: Document) -> int:
    """Run the examples of a document, and count them."""
    examples = list(document.examples())
    for example in examples:
        example.evaluate()
    return len(examples)


# matplotlib asks a tensor for an array in a way that NumPy 2 is leaving behind.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page, request):
    """A page's blocks run from top to bottom, in one namespace, with the output that is shown."""
    if page.name in NOT_HOOKED and request.config.getoption("--jaxtyping-packages"):
        pytest.skip("the page is about calls without jaxtyping's hook")
    if page.name in OF_THIS_TORCH and torch.__version__ < "2.13":
        pytest.skip("the page shows what torch 2.13 does")
    # A newer one says some of it in other words.
    if page.parent.name == "gallery" and torch.__version__ >= "2.14":
        pytest.skip("the page quotes torch 2.13")
    count = run(pages.parse(page))

    assert count >= len(FENCE.findall(page.read_text()))


def test_pictures():
    """Every picture that a page names is there, and every picture is named by a page."""
    named = {
        (page.parent / picture).resolve()
        for page in PAGES
        for picture in PICTURE.findall(page.read_text())
    }

    assert named == set((ROOT / "docs" / "pictures").iterdir())


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, request):
    """The examples of a module's docstrings give what they show."""
    # beartype draws what it looks at of a list, and the message says that numbers are drawn.
    if name == "rnnkit.testing" and request.config.getoption("--jaxtyping-packages"):
        pytest.skip("the hook draws random numbers")
    module = importlib.import_module(name)
    document = docstrings.parse(pathlib.Path(module.__file__))
    document.namespace.update(vars(module), rnnkit=rnnkit, torch=torch)
    document.namespace["__name__"] = "__main__"

    run(document)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_lists_its_arguments(kind):
    """A class's own docstring has a line for each argument of its constructor."""
    arguments = [name for name in inspect.signature(kind).parameters if name[0] != "_"]
    listed = re.findall(r"^ +(\w+): ", kind.__doc__, re.MULTILINE)

    assert [name for name in arguments if name not in listed] == []


@pytest.mark.parametrize("name", [*LAYERS, *CELLS, "ProjectedLSTMCell", "Recurrent"])
def test_each_module_is_described_by_itself(name):
    """A module's docstring names the arguments of a call, and links to torch's page.

    Over a call of the class, an editor shows the docstring of ``__init__`` alone.
    """
    kind = getattr(rnnkit, name)
    made = inspect.getdoc(kind.__init__)
    for word in ("input", "hx", "lengths", "reset"):
        assert f"``{word}``" in kind.__doc__
        assert f"``{word}``" in made
    assert "https://docs.pytorch.org/docs/stable/" in kind.__doc__


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what Lightning itself does
def test_lightning_training(tmp_path):
    """A Trainer runs the typed pipeline as a LightningModule; the callback verifies its first batch alone."""
    lightning = pytest.importorskip("lightning", reason="lightning comes with the group docs")
    verify_once = importlib.import_module("docs.examples.verify_once")
    pipeline = importlib.import_module("docs.examples.typed_pipeline")
    batches_looked_at = []

    def inputs_of(batch):
        batches_looked_at.append(batch)
        return batch[:2]

    once = verify_once.VerifyOnce(inputs_of, skip=["repeatable"])
    model = type("Module", (pipeline.Classifier, lightning.LightningModule), {})()
    samples = [pipeline.draw_sample() for _ in range(12)]
    batches = torch.utils.data.DataLoader(samples, 4, collate_fn=pipeline.collate)
    lightning.Trainer(max_epochs=1, default_root_dir=tmp_path, callbacks=[once]).fit(model, batches)

    assert len(batches_looked_at) == 1
    assert {"batch", "padding"} <= {*once.report.checked}
    assert "repeatable" not in once.report.checked
    assert model.global_step == 3
