"""What functions do in a run that is worth a line: they cut graphs, or broadcast a target."""

from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.run.watched_functions import FunctionCall, user_place

#: Functions whose result has no graph, whatever they are given.
CUTTING = ("detach", "detach_", "data", "numpy", "item", "tolist")
#: The losses of torch.nn.functional that broadcast their targets; torch warns of some of them.
LOSSES = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
    "poisson_nll_loss",
    "hinge_embedding_loss",
)


class Broadcast(NamedTuple):
    """A call of a loss that compares each prediction with every target.

    Attributes:
        name: the loss, such as ``mse_loss``.
        place: file and line of the call.
        prediction, target: their shapes; one broadcasts to the other.
    """

    name: str
    place: str
    prediction: torch.Size
    target: torch.Size


class Noticed:
    """Notes the calls of functions that cut a graph, and of losses that broadcast their target.

    Attributes:
        cut_tensors: by cut, as a message says it, the first tensor with a graph that was given to
            it.
        broadcasts: the losses.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._cuts = Counter[str]()
        #: By cut, the first tensor with a graph that was given to it.
        self.cut_tensors: dict[str, Tensor] = {}
        self.broadcasts: list[Broadcast] = []

    def note(self, call: FunctionCall) -> None:
        """Note a call, before it runs, that cuts a tensor off its graph or is such a loss."""
        cutting = _cutting(call)
        leaves = pytree.tree_leaves((call.args, call.kwargs)) if cutting else []
        with_graph = [x for x in leaves if isinstance(x, Tensor) and x.grad_fn is not None]
        if with_graph:
            cut = f"cut at {user_place()} by {cutting}"
            self._cuts[cut] += 1
            first = with_graph[0]
            # It is taken off its graph in place.
            self.cut_tensors.setdefault(cut, first.clone() if cutting == "detach_" else first)
        if call.name in LOSSES:
            self._note_loss(call)

    @property
    def cut(self) -> str:
        """The cut that ran most often, in words: ``cut at model.py:12 by detach``.

        Empty if none did.
        """
        return max(self._cuts, key=self._cuts.__getitem__, default="")

    def _note_loss(self, call: FunctionCall) -> None:
        """Note a loss of a prediction and a target that together have more numbers than either."""
        named: dict[str, Any] = dict(zip(("input", "target"), call.args, strict=False))
        named |= call.kwargs
        prediction = named.get("input")
        target = named.get("target")
        if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
            return
        pair = (prediction.shape, target.shape)
        both: torch.Size = torch.broadcast_shapes(*pair)  # type: ignore[no-untyped-call]
        if both.numel() > max(prediction.numel(), target.numel()):
            self.broadcasts.append(Broadcast(call.name, user_place(), *pair))


def _cutting(call: FunctionCall) -> str:
    """Return what cuts a tensor off its graph in a call, such as ``detach`` or ``no_grad``.

    If nothing does, it is empty.
    """
    name = call.name
    if name == "__get__":  # of an attribute, whose name its getter has
        getter = getattr(call.func, "__self__", None)
        name = getattr(getter, "__name__", "")
    if name in CUTTING:
        return name
    return "" if torch.is_grad_enabled() else "no_grad"
