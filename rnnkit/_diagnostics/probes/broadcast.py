"""Find a loss of torch's that compares each prediction with every target, by their shapes."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.tell.outcome import Finding

#: The losses of torch.nn.functional that broadcast their targets; torch warns of some of them.
LOSSES = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
    "poisson_nll_loss",
    "soft_margin_loss",
    "hinge_embedding_loss",
)


def broadcast_loss(baseline: Baseline) -> Finding | None:
    """Find a loss whose prediction and target together have more numbers than either."""
    recorder = Recorder(functions=True)
    baseline.session.attempt(baseline.batch.tree(), watch=recorder.watch)
    for event in recorder.events:
        shapes = _shapes(event)
        if shapes is None:
            continue
        prediction, target = shapes
        most = max(prediction.numel(), target.numel())
        both: torch.Size = torch.broadcast_shapes(prediction, target)  # type: ignore[no-untyped-call]
        if both.numel() > most:
            size = baseline.batch.size
            pair = f"{_in_words(prediction, size)} and target {_in_words(target, size)}"
            what = f"{event.name} compares each prediction with every target: {pair} broadcast"
            fix = "prediction.squeeze(-1), or target.unsqueeze(-1), so that both have one shape"
            return Finding(what, [("at", event.place), ("fix", fix)])
    return None


def _shapes(event: Event) -> tuple[torch.Size, torch.Size] | None:
    """Return the shapes of prediction and target, if an event is a call of such a loss."""
    if event.kind != "function" or event.name not in LOSSES:
        return None
    call = event.function
    named: dict[str, Any] = dict(zip(("input", "target"), call.args, strict=False)) | call.kwargs
    prediction = named.get("input")
    target = named.get("target")
    if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
        return None
    return prediction.shape, target.shape


def _in_words(shape: torch.Size, batch: int) -> str:
    """Write a shape, with a word for the samples, of which verify takes a few."""
    sizes = ["batch" if size == batch else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
