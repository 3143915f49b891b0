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


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Build the pages once, and read their index."""
    html = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-q", "-D", "nb_execution_mode=off"]
    command += [str(ROOT / "docs"), str(html)]
    subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603 - the command is our own
    return search_of.Search(html)


@pytest.mark.slow
@pytest.mark.parametrize(("phrase", "page"), PHRASES.items(), ids=list(PHRASES))
def test_a_search_shows_the_page_among_the_first_three(phrase, page, search):
    """Whoever types the phrase finds the page, and finds each of the words there."""
    text = search.text(page).lower()

    assert page in search.pages(phrase)[:3]
    assert [word for word in search_of.words_of(phrase) if word not in text] == []


@pytest.mark.slow
def test_a_search_for_what_no_page_has_finds_nothing(search):
    """The results come from the index: other words find none."""
    assert search.pages("zebra crossing") == []
