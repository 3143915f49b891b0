"""Ways to copy what is a user's: each gives back the same."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch


def by_file(one, save=torch.save, load=torch.load, **options):
    """Write and read."""
    file = io.BytesIO()
    save(one, file)
    file.seek(0)
    return load(file, **options)


COPIES: list[Callable[[Any], Any]] = [
    copy.deepcopy,
    lambda one: pickle.loads(pickle.dumps(one)),
    lambda one: by_file(one, weights_only=False),
]
