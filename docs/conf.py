"""How Sphinx builds these pages: ``sphinx-build -n -W docs docs/_build``."""

import pathlib
import sys
from importlib import metadata

# The figures and the examples are read from the checkout, and so is the package.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

project = "rnnkit"
author = "the authors of rnnkit"
project_copyright = "2026, the authors of rnnkit"
release = metadata.version("rnnkit")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path: list[str] = []

html_theme = "furo"
html_title = "rnnkit"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
# A forward without a docstring would show nn.Module's, which refers to pages that are not here.
autodoc_inherit_docstrings = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 80

nitpicky = True
# Nothing is fetched while the pages are built, so other projects' names have nowhere to lead.
nitpick_ignore_regex = [("py:.*", r"(torch|jaxtyping|collections|typing|matplotlib)(\..*)?")]
