"""The guard of ``convert`` and of the diagnostics: whether a model is a module."""

from typing import Any

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse


def check_model(caller: str, model: Any) -> None:
    """Raise unless a model is a module; ``caller`` is the public function that was called.

    The fix says how to call it: with an object of the class that was given, or with ``call=``.
    """
    if isinstance(model, torch.nn.Module):
        return
    rest = "" if caller in ("convert", "revert") else ", ..."
    fix = f"rnnkit.{caller}(model{rest})"
    if isinstance(model, type):
        fix = f"rnnkit.{caller}({model.__name__}(...){rest})"
    elif callable(model) and caller == "verify":
        fix = "rnnkit.verify(model, ..., call=lambda model, *inputs: ...), if it wraps a model"
    sentence = f"{caller} requires a model (a torch.nn.Module), got {brief(model)}"
    refuse(ArgumentError, "model", sentence, fix=fix, code="model-type")
