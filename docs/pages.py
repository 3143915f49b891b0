"""What of a page is code, and how to run it."""

import pathlib
import random

import torch
from sybil import Document, Sybil
from sybil.parsers.myst import PythonCodeBlockParser

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse(page: pathlib.Path) -> Document:
    """Find a page's examples: those with a prompt, and blocks without."""
    return Sybil(parsers=[PythonCodeBlockParser()], path=str(ROOT)).parse(page)


def seed() -> None:
    """Start random numbers again, and let sums have one order."""
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
