"""The pages as they are read on a code host, and the reference held to what it refers to."""

import inspect
import pathlib
import re

import pytest
import torch

import rnnkit
from tests.places import README, ROOT
from tests.strategies import CELLS, LAYERS

DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
REFERENCE = "\n".join(page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
#: Pages that Sphinx alone can show: lists of what the code says, or of other pages.
MADE_BY_SPHINX = ("index.md", "changelog.md", "contributing.md", "concepts.md", "errors.md")


def prose(page: pathlib.Path) -> str:
    """A page without its blocks of code."""
    return BLOCK.sub("", page.read_text())


def test_links():
    """Each link leads to a file from where its page is, has a text, and is none that Sphinx alone reads."""
    for page in PAGES:
        targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose(page))
        missing = [target for target in targets if not (page.parent / target).exists()]

        # The page of these two is another file, and its links lead from where that is.
        assert missing == [] or page.name in ("changelog.md", "contributing.md"), page
        assert re.findall(r"\{[a-z:]+\}`[^`]+`|(?<!!)\[\]\(", prose(page)) == [], page


def test_the_readme_shows_a_mistake_before_anything_else():
    """Its hundred lines: a mistake and its fix, a picture, one's own model, the commands, links."""
    parts = [
        ">>> rnnkit.verify(torch.nn.LSTM(",
        "\n  fix        LSTM(..., batch_first=True)",
        "](docs/pictures/loss.svg)",
        "\nx, y = next(iter(loader))\nrnnkit.verify(model, x)\n",
        "\n$ pip install . && python -m rnnkit ",
        "\n## Where to go\n",
    ]
    places = [README.index(part) for part in parts]

    assert len(README.splitlines()) <= 100
    assert places == sorted(places)
    assert README[: places[1]].count("](docs/") == 0
    assert README[places[1] : places[-1]].count("](docs/") < 8
    assert README[places[-1] :].count("](docs/") > 20


def test_the_first_page_is_the_readme():
    """One text stands in two places; the first page adds the lists of pages."""
    index = (DOCS / "index.md").read_text()

    assert "```{include} ../README.md\n:relative-docs: docs/\n:relative-images:\n" in index
    assert re.findall(r"^#+ .*", index, re.MULTILINE) == []


def test_pages_of_the_readme_have_no_directives():
    """A page that the README links to is whole on a code host."""
    links = re.findall(r"\]\((docs/[^)#]+\.md)", README)
    for page in {ROOT / link for link in links}:
        found = re.findall(r"^```\{(?!note|tip|warning).*", page.read_text(), re.MULTILINE)

        assert found == [] or page.name in MADE_BY_SPHINX, page


def test_each_page_says_what_it_is_about_and_shows_version_and_icon():
    """A search engine shows a page's one description; the title and the icon come from conf.py."""
    shown = 'html_title = f"rnnkit {release}"\nhtml_favicon = "static/favicon.svg"\n'
    pattern = re.compile(r'^ +"?description"?: "?(\w.{29,159}\.)"?,?$', re.MULTILINE)
    pages = [*DOCS.rglob("*.md"), *DOCS.glob("*.ipynb")]

    assert [page for page in pages if len(pattern.findall(page.read_text())) != 1] == []
    assert shown in (DOCS / "conf.py").read_text()
    assert (DOCS / "static/favicon.svg").exists()


def test_reference_has_every_name():
    """Each public name is in the reference."""
    names = [*rnnkit.__all__, *(f"states.{name}" for name in rnnkit.states.__all__)]
    names += [f"testing.{name}" for name in rnnkit.testing.__all__]
    found = set(re.findall(r"rnnkit\.([\w.]*\w)", REFERENCE))
    missing = [name for name in names if name not in found and name != "states.LSTMState"]

    assert missing == []


def test_reference_has_every_argument():
    """The signatures that the reference writes out have the arguments that there are, in order."""

    def names(signature):
        parts = (part.partition("=")[0].partition(":")[0] for part in signature.split(", "))
        return [part.strip() for part in parts if re.fullmatch(r"\w+", part.strip())]

    for name in LAYERS:
        layer = getattr(rnnkit, name)
        (init,) = re.findall(rf"autoclass:: rnnkit\.{name}\((.*)\)$", REFERENCE, re.MULTILINE)
        given = REFERENCE.partition(f"autoclass:: rnnkit.{name}(")[2].partition(":: __call__(")[2]

        assert names(init) == [*inspect.signature(layer.__init__).parameters][1:]
        assert (
            names(given.partition(") ->")[0]) == [*inspect.signature(layer.forward).parameters][1:]
        )


def test_classes_shown_are_the_tested_ones():
    """A class that a page shows to be copied is the one that has tests, to the letter."""
    tested = {"cells": "tests/modules/cells_of_users.py", "testing": "docs/examples/verify_once.py"}
    for page, file in tested.items():
        shown = (DOCS / f"{page}.md").read_text()
        source = (ROOT / file).read_text().strip()
        classes = re.findall(r"^class .*?(?=\n\n\n|\Z)", source, re.MULTILINE | re.DOTALL)

        assert classes
        assert [one.partition("\n")[0] for one in classes if one not in shown] == []


#: The sizes of the page of shapes: no two are equal, nor is one twice another.
SIZES = {"T": 7, "B": 5, "I": 3, "H": 11, "L": 4, "P": 9}
SHAPES = re.findall(
    r"^\| `(\w+)\((I, H.*?)\)`.*?(\|.*)$", (DOCS / "shapes.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("row", SHAPES, ids=" ".join)
def test_each_row_of_the_shapes_is_what_a_module_returns(row):
    """The module of a row accepts its input and state, and returns the shapes that the row has."""
    name, options, cells = row
    x, *others = [eval(cell, SIZES.copy()) for cell in re.findall(r"`(.*?)`", cells)]  # noqa: S307
    module = eval(f"kind({options})", SIZES | {"kind": getattr(rnnkit, name)})  # noqa: S307
    outputs, states = (others[:1], others[1:]) if name in LAYERS else ([], others)
    given = tuple(torch.zeros(shape) for shape in states)
    returned = module(torch.zeros(x), given if name.startswith("LSTM") else given[0])
    *output, state = returned if name in LAYERS else (returned,)
    parts = state if name.startswith("LSTM") else [state]

    assert [part.shape for part in output] == outputs
    assert [part.shape for part in parts] == states


def test_the_shapes_have_a_row_of_each_module():
    """The two tables of the page name the three layers and the three cells."""
    assert {name for name, _, _ in SHAPES} == {*LAYERS, *CELLS}


def test_every_label_is_in_the_legend():
    """The first word of each row of the messages and reports that tests record is explained."""
    recorded = ("checks/messages.txt", "diagnostics/outcomes.txt")
    text = "\n".join((ROOT / "tests" / name).read_text() for name in recorded)
    # A row of an argument says what was expected; its label is the argument's name.
    used = set(re.findall(r"^  (\S+) {2,}(?!expected )\S", text, re.MULTILINE))
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "labels.md").read_text(), re.MULTILINE)
    explained = {label for row in rows for label in re.findall(r"`(.*?)`", row)}

    assert {"cause", "fix", "ok", "axes"} <= used
    assert used - explained == set()


@pytest.mark.slow
@pytest.mark.needs_torch("2.13", "an older torch can do less")
@pytest.mark.unhooked("the hook's checks do not compile")
def test_what_works():
    """The page on compilers has the table of what comes of everything that is tried."""
    from docs.examples import what_works  # noqa: PLC0415 - it imports torch's compilers

    page = (DOCS / "compile-export.md").read_text()
    [table] = re.findall(r"^```text\n( +torch\.nn\.LSTM [^`]+)\n```$", page, re.MULTILINE)
    if torch.__version__ >= "2.15":  # the page says so
        table = re.sub("(?<=the same, any number of steps     )no ", "yes", table)
    assert what_works.table() == table
