"""The codes of refusals, each with its sentence, as the page "Errors" lists them."""

import pathlib
import re

PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "errors.md").read_text("utf-8")
ENTRY = re.compile(r"^### (\S+)\n\n(.+)$", re.MULTILINE)

REFUSALS, LEAKS = (ENTRY.findall(part) for part in PAGE.split("## Leaks\n"))
CODES: dict[str, str] = dict(REFUSALS)
