"""The mistakes of the gallery, as its pages say how to make and fix them.

Below its heading, each section has a comment in TOML:

- ``model`` and ``inputs``: what is called, and with what, as Python of the section's namespace;
- ``fault``: a regex of what has to be changed, which a clear message names;
- ``fix``: texts of the section, and what has to stand in their place;
- ``verify``: options of ``rnnkit.verify``;
- ``trace``: what ``rnnkit.trace`` is called with, if not with model and inputs;
- ``lengths``: a batch-first layer, padded input and lengths, which do away with the mistake;
- ``on_gpu``: what torch's kernel says on a GPU, of a mistake that shows nowhere else.

The namespace has ``nn``, of whichever make, and what comes of the page's head and of the section's
own blocks and examples, but for examples that raise or mention rnnkit, and for what stands below
**Right**, which is the fixed code for people.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from docs.pages import ROOT, parse, seed

GALLERY = ROOT / "docs" / "gallery"
INDEX = GALLERY / "index.md"
RIGHT = "\n**Right**"
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
SECTION = re.compile(r"^## ([^\n]+)\n\n(?:<!-- detect\n(.*?)\n-->\n)?", re.MULTILINE | re.DOTALL)
PAGES = re.compile(r"^```\{toctree\}\n:hidden:\n\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Mistake:
    """A section of the gallery: its code, and how the mistake is made and fixed."""

    page: str
    title: str
    code: str
    how: dict[str, Any]

    @property
    def link(self) -> str:
        """The title as a link to the section."""
        anchor = re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")
        shown = re.sub(r"[\[\]_*|<>`]", lambda sign: f"&#{ord(sign[0])};", self.title)
        return f"[{shown}]({self.page}.md#{anchor})"

    @property
    def call(self) -> str:
        """The call that is wrong."""
        return f"({self.how['model']})({self.how['inputs']})"

    @property
    def verified(self) -> str:
        """The same call as one of ``verify``."""
        options = self.how.get("verify", "")
        return f"rnnkit.verify({self.how['model']}, {self.how['inputs']}, {options})"

    @property
    def traced(self) -> str:
        """The same call as one of ``trace``."""
        given = self.how.get("trace", f"{self.how['model']}, {self.how['inputs']}")
        return f"rnnkit.trace({given})"

    def fixed(self) -> "Mistake":
        """The same with the fix in place.

        Raises:
            ValueError: if what should be fixed is nowhere.
        """
        code = self.code
        how = {key: text for key, text in self.how.items() if key != "fix"}
        for wrong, right in self.how["fix"].items():
            if not any(wrong in text for text in (code, *how.values())):
                message = f"{self.page}.md, {self.title}: nothing there reads {wrong!r}"
                raise ValueError(message)
            code = code.replace(wrong, right)
            how = {key: text.replace(wrong, right) for key, text in how.items()}
        return Mistake(self.page, self.title, code, how)

    def ready(self, expression: str, nn: Any) -> Callable[[], Any]:
        """Run the section's code with one make's layers; return what evaluates an expression."""
        seed()
        namespace: dict[str, Any] = {"__name__": "__test__", "nn": nn}
        # The page's own import of nn would bind torch's.
        code = self.code.replace("from torch import nn\n", "")
        exec(compile(code, self.page, "exec"), namespace)  # noqa: S102
        wanted = compile(expression, self.title, "eval")
        return lambda: eval(wanted, namespace)  # noqa: S307


def mistakes() -> dict[str, list[Mistake]]:
    """Read the pages of the gallery, in their order, by title."""
    listed = PAGES.search(INDEX.read_text())
    return dict(_page(name) for name in listed[1].split()) if listed else {}


def _page(name: str) -> tuple[str, list[Mistake]]:
    document = parse(GALLERY / f"{name}.md")
    sections = list(SECTION.finditer(document.text))
    code = [""] * (len(sections) + 1)
    for example in document.examples():
        block = example.parsed
        if RIGHT in document.text[document.text.rfind("\n## ", 0, example.start) : example.start]:
            continue
        if not hasattr(block, "exc_msg"):
            source = str(block)
        elif block.exc_msg is None and "rnnkit." not in block.source:
            source = block.source
        else:
            continue
        code[sum(section.start() < example.start for section in sections)] += source + "\n"
    return TITLE.findall(document.text)[0], [
        Mistake(name, section[1], code[0] + own, _how(name, section))
        for section, own in zip(sections, code[1:], strict=True)
    ]


def _how(name: str, section: re.Match[str]) -> dict[str, Any]:
    if section[2] is None:
        message = f"{name}.md, {section[1]}: no comment says how the mistake is made"
        raise ValueError(message)
    return tomllib.loads(section[2])
