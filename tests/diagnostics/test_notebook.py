"""Reports, traces and maps in a notebook: the same text, and in red what is wrong."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnkit
from tests.diagnostics.models_of_users import gru, numbers

X = numbers(4, 7, 3)


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
    page = shown._repr_html_()
    red = [html.unescape(line) for line in re.findall("<span[^>]*>(.*?)</span>", page, re.DOTALL)]

    assert html.unescape(re.sub("<[^>]*>", "", page)) == str(shown)
    assert bool(red) == bool(sign)
    assert all(line.strip().startswith(sign) for line in red)
    assert "background" not in page
