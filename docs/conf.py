"""How Sphinx builds these pages: ``sphinx-build -n -W docs docs/_build``."""

import importlib
import inspect
import os
import pathlib
import re
import sys
import typing
from importlib import metadata
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.typing import stringify_annotation

# The figures and the examples are read from the checkout, and so is the package.
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

project = "rnnkit"
author = "the authors of rnnkit"
project_copyright = "2026, the authors of rnnkit"
release = metadata.version("rnnkit")
version = release

extensions = [
    "myst_nb",  # myst_parser, and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "jupyter_execute"]
templates_path = ["templates"]

html_theme = "furo"
html_title = f"rnnkit {release}"
html_favicon = "static/favicon.svg"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_js_files = ["pages.js"]
html_copy_source = False
# What is copied is what can be run: no prompts, no outputs.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_copy_empty_lines = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The notebook is stored without outputs, and runs each time the pages are built. Its net is small:
# more threads would only wait for each other.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
os.environ.setdefault("OMP_NUM_THREADS", "1")

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# A forward without a docstring would show nn.Module's, which refers to pages that are not here.
autodoc_inherit_docstrings = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 80

nitpicky = True
# Nothing is fetched while the pages are built, so other projects' names have nowhere to lead.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|jaxtyping|collections|typing|matplotlib)(\..*)?|Tensor"),
    # Variables of types: a state's, a cell's.
    ("py:class", r"rnnkit\..*\b(State|StateT|StateT_co|GivenT|GivenT_contra|CellT|Steps)"),
]


def where_it_is_written(_: Any, module: str, attribute: str) -> str | None:
    """Return the module in which a public name is written; its own ``__module__`` is rnnkit."""
    importlib.import_module(module)
    name = attribute.partition(".")[0]
    for place in sorted(place for place in sys.modules if f"{place}.".startswith(f"{module}.")):
        source = inspect.getsource(sys.modules[place])
        if re.search(rf"^((    )?class|def) {name}\b", source, re.MULTILINE):
            return place
    return None


def type_attributes(_: Any, what: str, __: str, shown: Any, ___: Any, lines: list[str]) -> None:
    """Add its type to each attribute that a docstring lists: the annotation says it already."""
    if what != "class":
        return
    types = typing.get_type_hints(shown)
    for place in reversed(range(len(lines))):
        found = re.match(r":ivar (\w+):", lines[place])
        if found and found[1] in types:
            text = stringify_annotation(types[found[1]], "smart").replace("~", "")
            lines.insert(place, f":vartype {found[1]}: {text}")


def shown_in_the_gallery() -> dict[str, list[tuple[str, str]]]:
    """Find the sections of the gallery whose messages end with each code: title and address."""
    found: dict[str, list[tuple[str, str]]] = {}
    for page in sorted((HERE / "gallery").glob("*.md")):
        for section in page.read_text().split("\n## ")[1:]:
            title = section.partition("\n")[0]
            anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            for code in set(re.findall(r"^  more +.* explain ([a-z-]+)$", section, re.MULTILINE)):
                found.setdefault(code, []).append((title, f"gallery/{page.stem}.html#{anchor}"))
    return found


def find_by_words(_: Any, doctree: nodes.document) -> None:
    """Put what a comment ``<!-- search: words, words -->`` lists into the index of its section.

    A search shows the index first, and leads to the section and not only to its page.
    """
    for comment in list(doctree.findall(nodes.raw)):
        found = re.fullmatch(r"<!-- search: (.+) -->", comment.astext().strip(), re.DOTALL)
        if found and isinstance(comment.parent, nodes.section):
            (name, *_) = comment.parent["ids"]
            words = [word.strip() for word in found[1].split(",")]
            entries = [("single", word, name, "main", None) for word in words]
            comment.replace_self(addnodes.index(entries=entries))


def offer_notebook(app: Any, doctree: nodes.document) -> None:
    """Put a link to the notebook's file below its title: the page is not the file."""
    path = pathlib.Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    name = nodes.literal("", path.name)
    link = addnodes.download_reference("", "", name, reftarget=path.name, refdoc=app.env.docname)
    title = next(doctree.findall(nodes.title))
    title.parent.insert(1, nodes.paragraph("", "Download the notebook: ", link))


def groups_of_codes() -> dict[str, str]:
    """Return what rnnkit/errors.md says of each group of codes, by the group's title."""
    text = (HERE.parent / "rnnkit" / "errors.md").read_text()
    groups = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(groups[::2], groups[1::2], strict=True))


def pages_of_codes() -> dict[str, str]:
    """Return the name of each group's page, by its title."""
    pages = sorted((HERE / "errors").glob("*.md"))
    titles = [re.findall(r"^# (.+)$", page.read_text(), re.MULTILINE) for page in pages]
    return {title: f"errors/{page.stem}" for (title,), page in zip(titles, pages, strict=True)}


def list_of_codes() -> str:
    """Return all codes by their groups, a line for each, which leads to its section."""
    pages = pages_of_codes()
    lines = []
    for title, group in groups_of_codes().items():
        page = f"{pages[title]}.md"
        entries = re.findall(r"^### (\S+)\n\n(.+)$", group, re.MULTILINE)
        lines += ["", f"## [{title}]({page})", ""]
        lines += [f"- [{code}]({page}#{code}): {sentence}" for code, sentence in entries]
    return "\n".join(lines)


def fill_pages_of_codes(_: Any, name: str, source: list[str]) -> None:
    """Write the list of all codes into the page of errors, and each group into its own page."""
    if name == "errors":
        source[0] = source[0].replace("<!-- all codes -->", list_of_codes())
    for title, page in pages_of_codes().items():
        if page == name:
            group = groups_of_codes()[title].replace("\n### ", "\n## ")
            source[0] = source[0].replace("<!-- its codes -->", group)


def keep_old_addresses(_: Any, doctree: nodes.document, name: str) -> None:
    """Let ``errors.html#CODE`` lead to the code's line: each section was on that page once."""
    if name == "errors":
        for item in doctree.findall(nodes.list_item):
            item["ids"].append(item.astext().partition(":")[0])


def explain_codes(app: Any, doctree: nodes.document) -> None:
    """Put each error's code into the index, which a search shows first, and link to examples."""
    if not app.env.docname.startswith("errors/"):
        return
    examples = shown_in_the_gallery()
    for section in doctree.findall(nodes.section):
        (code,) = section["ids"][:1]
        if code != section[0].astext():
            continue
        section.insert(1, addnodes.index(entries=[("single", code, code, "main", None)]))
        links = nodes.paragraph("", "For example: ")
        for title, address in examples.get(code, []):
            links += [nodes.reference("", title, refuri=f"../{address}"), nodes.Text(", ")]
        if len(links) > 1:
            links[-1] = nodes.Text(".")
            section.append(links)


def setup(app: Any) -> None:
    """Have the links to the source lead to where it is, attributes their types, codes an index."""
    app.connect("source-read", fill_pages_of_codes)
    app.connect("doctree-resolved", keep_old_addresses)
    app.connect("doctree-read", explain_codes)
    app.connect("doctree-read", find_by_words)
    # Before Sphinx collects the files that pages offer.
    app.connect("doctree-read", offer_notebook, priority=400)
    app.connect("viewcode-follow-imported", where_it_is_written)
    # After napoleon, which makes fields of a section of attributes.
    app.connect("autodoc-process-docstring", type_attributes, priority=600)
