"""Where the files lie that tests read."""

import pathlib

import rnnkit

ROOT = pathlib.Path(__file__).parents[1]
#: Not below the root if the tests run against an installed package.
PACKAGE = pathlib.Path(rnnkit.__file__).parent
README = (ROOT / "README.md").read_text("utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))
