"""The codes of refusals and warnings, each with its sentence, as errors.md lists them."""

import re

from tests.places import PACKAGE

PAGE = (PACKAGE / "errors.md").read_text("utf-8")
ENTRY = re.compile(r"^### (\S+)\n\n(.+)$", re.MULTILINE)

REFUSALS, LEAKS = (ENTRY.findall(part) for part in PAGE.split("## Leaks\n"))
CODES: dict[str, str] = dict(REFUSALS)
