"""Reports, traces and maps in a notebook: the same text, and in red what is wrong."""

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnkit
from tests.diagnostics.models_of_users import numbers
from tests.diagnostics.small import gru

X = numbers(4, 7, 3)


class Page(HTMLParser):
    """What a browser shows: the text, the text in red, and what is styled."""

    def __init__(self, html: str) -> None:
        """Read it."""
        super().__init__()
        self.text, self.red, self.styles, self._open = "", list[str](), list[str](), list[str]()
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Begin an element."""
        self._open.append(tag)
        self.styles += [value for _, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """End the last one."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.text += data
        self.red += [data] if "span" in self._open else []


def looping(x: Tensor) -> Any:
    """Run a cell that starts each step from the first state."""
    cell, h = torch.nn.GRUCell(3, 6), torch.ones(4, 6)
    return [cell(x_t, h) for x_t in x.unbind(1)]


#: What is shown, and how its lines that are wrong begin.
SHOWN: dict[str, tuple[Callable[[], Any], str]] = {
    "a finding": (lambda: rnnkit.verify(gru(batch_first=False), X, raises=False), "!!"),
    "a report": (lambda: rnnkit.verify(gru(), X), ""),
    "a trace": (lambda: rnnkit.trace(looping, X), "^"),
    "a map": (lambda: rnnkit.dependency_map(gru(), X, dim=1, out_dim=1), ""),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_the_text(name: str) -> None:
    """The page has the text, in its own colors but for what is wrong: white and dark ones do."""
    make, sign = SHOWN[name]
    shown = make()
    page = Page(shown._repr_html_())

    assert page.text == str(shown)
    assert bool(page.red) == bool(sign)
    assert all(line.strip().startswith(sign) for line in page.red)
    assert not any("background" in style for style in page.styles)
