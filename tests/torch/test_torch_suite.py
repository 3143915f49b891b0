"""Torch's own database of module samples, run on the six classes.

It has how each module is constructed, what it is called with, must return, and which mistakes it
must name. That holds for ours, too, and a new torch brings its new samples along.
"""

import functools
import importlib
import sys

import pytest
import torch
from torch import nn

import rnnkit
from tests.torch.interop import six


@functools.cache
def torchs():
    """Import the database, when a test asks, since it takes seconds.

    It would load a hypothesis profile of ten examples, and freeze the flags of torch.backends.
    """
    with pytest.MonkeyPatch.context() as kept:
        kept.setitem(sys.modules, "hypothesis", None)
        kept.setattr(torch.backends, "disable_global_flags", lambda: None)
        return importlib.import_module("torch.testing._internal.common_modules")


# What jaxtyping's import hook leaves in a module.
HOOKED = hasattr(rnnkit, "jaxtyping")
# Torch gives this warning once in a process, to whichever test comes first.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:Fail to import hypothesis:ImportWarning"),
]


def info_of(name: str):
    """Return what the database has of a class."""
    (info,) = (info for info in torchs().module_db if info.module_cls is getattr(nn, name))
    return info


# Torch's list passes a cell's nonlinearity where bias stands, and we warn of that.
@pytest.mark.filterwarnings(r"ignore:.*is passed as bias:UserWarning")
@six
def test_mistakes_are_named_as_torch_names_them(name):
    """Each mistake in torch's list raises torch's type of exception with torch's sentence in it."""
    info = info_of(name)
    for dtype in (torch.float32, torch.float64):
        for mistake in info.module_error_inputs_func(
            info, "cpu", dtype, requires_grad=False, training=True
        ):
            sample = mistake.module_error_input
            made = sample.constructor_input
            make = functools.partial(getattr(rnnkit, name), *made.args, **made.kwargs)
            refused = pytest.raises(mistake.error_type, match=mistake.error_regex)

            if mistake.error_on is torchs().ModuleErrorEnum.CONSTRUCTION_ERROR:
                with refused:
                    make()
                continue

            if HOOKED and isinstance(made.args[-1], str):
                continue  # under jaxtyping's hook the annotation of bias refuses a string
            module = make()
            with refused:
                module(*sample.forward_input.args)
