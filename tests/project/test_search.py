"""A search of the manual shows the page that a phrase asks for among its first three results."""

import subprocess
import sys

import pytest

from tests.places import ROOT

search_of = pytest.importorskip("docs.search", reason="Sphinx is in the group docs")

PHRASES = {
    "verify": "leaks",
    "not learning": "not-learning",
    "loss does not go down": "not-learning",
    "overfit": "not-learning",
    "vanishing gradient": "not-learning",
    "padded batches": "lengths",
    "lengths": "lengths",
    "GRU policy": "policies",
    "reset on done": "policies",
    "gymnasium": "policies",
    "teacher forcing": "decoder",
    "attention decoder": "decoder",
    "pytorch lightning": "testing",
    "check model in CI": "testing",
    "github actions": "testing",
    "tbptt": "windows",
    "onnx": "compile-export",
    "multi gpu": "faq",
    "mps": "faq",
    "shape cheat sheet": "shapes",
    "peephole": "cells",
    "get_mkldnn_dtype": "which-error",
    "notebook": "notebook",
    "jupyter": "notebook",
    "jaxtyping": "types",
    "own cell": "cells",
    "reproducibility": "versions",
}


@pytest.mark.slow
def test_a_search_shows_the_page_among_the_first_three(tmp_path):
    """Whoever types the phrase finds the page, and finds each of the words there; no page has a zebra.

    The pages are built without their frame, which Sphinx would make of each anew.
    """
    (tmp_path / "page.html").write_text('<article role="main">{{ body }}</article>')
    command = [sys.executable, "-m", "sphinx", "-q", "-D", "nb_execution_mode=off"]
    command += ["-D", "html_theme=basic", "-D", f"templates_path={tmp_path}"]
    command += [str(ROOT / "docs"), str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603 - the command is our own
    search = search_of.Search(tmp_path)
    for phrase, page in PHRASES.items():
        text = search.text(page).lower()

        assert page in search.pages(phrase)[:3], phrase
        assert [word for word in search_of.words_of(phrase) if word not in text] == [], phrase
    assert search.pages("zebra crossing") == []
