"""A batch that looks like the recordings, and where the recordings are needed."""

import importlib.metadata
import importlib.util

import pytest
import torch

import rnnkit
from rnnkit._demo.mistakes import BATCH, FEATURES, MISTAKES, Scene

ANSWERS = ("RnnkitWarning", "StateError", "StateError", "LayoutError", "StateError", "DtypeError")

needs_recordings = pytest.mark.skipif(
    importlib.util.find_spec("sktime") is None,
    reason="the recordings come with sktime, which is not installed",
)
each_mistake = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
each_namespace = pytest.mark.parametrize(
    "nn", [torch.nn, rnnkit.nn], ids=lambda namespace: namespace.__name__
)


def try_out(model: torch.nn.Module) -> float:
    """Call a classifier in training and in use, without learning anything."""
    scene = make_scene()
    for mode in (True, False):
        model.train(mode)(scene.input, scene.lengths)
    return 0.5


def make_scene() -> Scene:
    """Make a batch that looks like the recordings and has their sizes."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(7, 24, (BATCH,), generator=generator)
    lengths[3] = 23
    return Scene(torch.randn(BATCH, 23, FEATURES, generator=generator), lengths, try_out, seed=0)
