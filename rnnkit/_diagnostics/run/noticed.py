"""What functions do in a run that is worth a line: they cut graphs, or losses read a wrong axis."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.run.watched_functions import FunctionCall, user_place

#: Functions whose result has no graph, whatever they are given.
CUTTING = ("detach", "detach_", "data", "numpy", "item", "tolist")
#: Functions that take a tensor for its shape, dtype or device: as the second argument, or any.
LIKE = ("to", "type_as", "expand_as", "view_as", "reshape_as")
OF_SHAPES = ("__get__", "requires_grad_", "size", "dim", "type", "zeros_like", "ones_like")
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


class WrongLoss(NamedTuple):
    """A call of a loss of torch's that reads a wrong axis: what is wrong there, and a fix."""

    what: str
    place: str
    fix: str


class Noticed:
    """Notes the calls of functions that cut a graph, and of losses that read a wrong axis.

    Attributes:
        cut_tensors: by cut, as a message says it, the first tensor with a graph that was given to
            it.
        wrong_losses: the losses.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        """Begin with none; ``inputs`` are the dense tensors that the model is given."""
        self._inputs = inputs
        #: By id, what was taken off its graph (kept, or its id may be used again), and the cut.
        self._taken_off: dict[int, tuple[Any, str]] = {}
        #: Ids of it, where a function takes its numbers, or takes it at all.
        self._read = set[int]()
        self._looked_at = set[int]()
        #: By cut, the first tensor with a graph that was given to it.
        self.cut_tensors: dict[str, Tensor] = {}
        self.wrong_losses: list[WrongLoss] = []

    def run(self, call: FunctionCall) -> Any:
        """Run a call, and note if it cuts a tensor off its graph or is such a loss."""
        self._note_loss(call)
        self._looked_at |= self._taken_off.keys() & map(id, call.given)
        self.note_use(_read_by(call))
        cutting = _cutting(call)
        given = call.given if cutting else []
        with_graph = [x for x in given if isinstance(x, Tensor) and x.grad_fn is not None]
        if cutting == "data" and isinstance(given[0], Parameter):  # detach() may be meant
            self.cut_tensors.setdefault(f"cut at {user_place()} by data", given[0])
        if not with_graph:
            return call.run()
        cut = f"cut at {user_place()} by {cutting}"
        first = with_graph[0]
        # It is taken off its graph in place.
        self.cut_tensors.setdefault(cut, first.clone() if cutting == "detach_" else first)
        result = call.run()
        key = -len(self._taken_off)  # of a number: equal ones may be one object
        if isinstance(result, Tensor):
            key = id(result)
        self._taken_off[key] = (result, cut)
        return result

    def note_use(self, values: Any) -> None:
        """Note that the numbers of some values are read."""
        self._read |= self._taken_off.keys() & map(id, pytree.tree_leaves(values))

    def _note_loss(self, call: FunctionCall) -> None:
        """Note a call, before it runs, of a loss that reads a wrong axis."""
        if call.name in LOSSES:
            self._note_broadcast(call.name, call.argument(0, "input"), call.argument(1, "target"))
        if call.name == "sub":
            self._note_difference(call)
        if call.name == "nll_loss" and _is_over_another_axis(call.argument(0, "input")):
            what = "nll_loss reads classes on axis 1, along which log_softmax did not run"
            fix = "scores.log_softmax(-1) where classes are last; then transpose or flatten"
            self.wrong_losses.append(WrongLoss(what, user_place(), fix))

    @property
    def cut(self) -> str:
        """The cut that ran most often, in words: ``cut at model.py:12 by detach``.

        Empty if none did. What is only looked at, for its dtype, is not cut.
        """
        unread = self._looked_at - self._read
        cuts = Counter(cut for key, (_, cut) in self._taken_off.items() if key not in unread)
        return max(cuts, key=cuts.__getitem__, default="")

    def _note_difference(self, call: FunctionCall) -> None:
        """Note a difference, in any order, of what is ``(batch, 1)`` and a target ``(batch,)``.

        The target is computed from inputs alone, and what is ``(batch, 1)`` is not: two inputs may
        be compared on purpose.
        """
        pair = sorted((x for x in call.args if isinstance(x, Tensor)), key=Tensor.dim)
        if [x.dim() for x in pair] == [1, 2]:
            target, prediction = pair
            is_one_each = len(target) == len(prediction)
            if is_one_each and self._is_of_inputs(target) and not self._is_of_inputs(prediction):
                self._note_broadcast(call.name, prediction, target)

    def _is_of_inputs(self, x: Tensor) -> bool:
        """Return whether a tensor has the numbers of an input, or is computed from inputs alone."""
        as_large = [one for one in self._inputs if one.numel() == x.numel()]
        if any(torch.equal(one.flatten().to(x), x.flatten()) for one in as_large):
            return True
        return x.grad_fn is not None and not any(isinstance(y, Parameter) for y in _sources(x))

    def _note_broadcast(self, name: str, prediction: Tensor, target: Tensor) -> None:
        """Note a function of a prediction and a target that broadcast to pairs of their numbers.

        ``name`` is that of the function.
        """
        shapes = (tuple(prediction.shape), tuple(target.shape))
        both: torch.Size = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        size = prediction.numel()
        # The target may already be the result of such a broadcast, (batch, batch).
        are_pairs = shapes[1] == (size, size) != shapes[0]
        if are_pairs or both.numel() > max(size, target.numel()):
            what = f"{name} compares each prediction with every target"
            what += f": {shapes[0]} and target {shapes[1]} broadcast"
            fix = "prediction.squeeze(-1), or target.unsqueeze(-1), so that both have one shape"
            if prediction.dim() < target.dim():
                fix = "target.squeeze(-1), or prediction.unsqueeze(-1), so that both have one shape"
            self.wrong_losses.append(WrongLoss(what, user_place(), fix))


def _sources(x: Tensor) -> Iterator[Tensor]:
    """Yield the tensors with which the graph of a tensor begins: weights, and inputs."""
    seen = set[Any]()
    waiting: list[Any] = [x.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [edge for edge, _ in node.next_functions]


def _is_over_another_axis(scores: Tensor) -> bool:
    """Return whether scores ``(rows, classes, ...)`` are a ``log_softmax`` over another axis.

    They do not add up to 1 over the classes, and all are numbers of one result of it, moved or
    flattened. What is computed of that, such as the weights of a focal loss times it, may add up to
    anything.
    """
    total = scores.exp().sum(min(1, scores.dim() - 1))
    if torch.allclose(total, torch.ones_like(total), atol=0.1):
        return False
    node: Any = scores.grad_fn
    while node is not None and node.name() != "LogSoftmaxBackward0":
        node = next((edge for edge, _ in node.next_functions), None)
    result = getattr(node, "_saved_result", None)
    return result is not None and bool(torch.isin(scores, result).all())


def _read_by(call: FunctionCall) -> Any:
    """Return the arguments of a call whose numbers it reads, and not their shape or dtype alone."""
    if _cutting(call):  # also of ``data``, which is an attribute
        return call.args
    if call.name in OF_SHAPES or call.name.startswith("new"):
        return ()
    if call.name == "__setitem__" or re.search("[^_]_$", call.name):  # in place
        return (call.args[1:], call.kwargs)
    return call.args[:1] if call.name in LIKE else (call.args, call.kwargs)


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
    reads_numbers = not name.endswith("_like")  # randn_like reads a shape
    return "no_grad" if reads_numbers and not torch.is_grad_enabled() else ""
