"""Why a leak is there: each suspect is undone on copies, and named only if the leak is gone."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.events import Event
from rnnkit._diagnostics.module_calls import (
    each_call,
    from_state,
    is_backward,
    mapped,
    named_arguments,
)
from rnnkit._diagnostics.outputs import Watch
from rnnkit._diagnostics.report import FIXES, Line

#: How a cause ends that is another layout.
THERE = "as seq, but the batch is there"

#: What ``each_call`` does to the calls of a module.
Change = Mapping[str, Callable[..., Any]]


class Location(NamedTuple):
    """A module, by its qualified name, and the rows of a message about it."""

    module: str
    rows: list[Line]


class Cause(NamedTuple):
    """What is suspected: what a message says of it, and how a module runs without it."""

    what: str
    fix: str
    undo: Callable[[str, torch.nn.Module], Change]


VIEW = "move axes by transpose or permute; reshape may only split or join neighbours, in order"

_LOOP = "input.transpose(0, 1) before the loop, and the same of outputs stacked after it"

#: How to end a mistake, by the probe and by the function, or module, that shows it first.
KINDS: dict[str, dict[str, str]] = {
    "batch": {
        "view|reshape|flatten": VIEW,
        "batchnorm|batch_norm": "LayerNorm, or statistics that are tracked in training",
        "index|gather|select": "read each sample's own row, y[torch.arange(len(y)), i]; "
        "y[order.argsort()] undoes a sort",
        "rnn|lstm|gru": "batch_first=True of layer and packing; transpose(0, 1) of input or state",
        "": "keep the axis of the samples: reduce, norm or join the other axes only",
    },
    "causal": {
        "conv|pool|unfold|pad": "pad in front only: F.pad(x, (kernel_size - 1, 0)) on the steps",
        "softmax|attention|mm|matmul|einsum": "attn_mask=later, or masked_fill(later, -inf), where "
        "later = torch.ones(n, n).triu(1).bool()",
        "view|reshape|flatten": VIEW,
        "index|roll|flip|diff|gather|select|cat|fft|loop": "at step t read steps 0 to t only",
        "": "take it over the steps so far, as cumsum and cummax do, or over the features",
    },
    "padding": {
        "softmax|attention": "scores.masked_fill(~mask, -inf) before it, or key_padding_mask=~mask",
        "index|gather|select|narrow|clamp": "read step lengths - 1 of each, or h_n of packed input",
        "max|min|sort|topk": "y.masked_fill(~mask, -inf) before it",
        "conv|pool|unfold|fft|interpolate": "x * mask before it, so that it reads zeros there",
        "norm|std|var": "take it over the features of each step, or over the valid steps only",
        "roll|flip": "flip each sample within its length, or a bidirectional layer of packed input",
        "div": "divide by the lengths, in the order of the samples",
        "mean": "(y * mask).sum(1) / mask.sum(1), where mask has as many axes as y",
        "sum|mm|einsum": "y * mask before it; divide a sum by the lengths",
        "loop": "h = torch.where(valid_t, cell(x_t, h), h), with valid_t of (batch, 1)",
        "rnn|lstm|gru": "pack_padded_sequence(x, lengths, ..., enforce_sorted=False), or lengths=",
        "": FIXES["padding"],
    },
    "streaming": {
        "conv|pool|unfold|pad|cat": "return its last inputs in the state; put them before the next",
        "rnn|lstm|gru|loop": FIXES["streaming"],
        "norm|mean|softmax|std|var": "take it over what one step has, or return it in the state",
        "": "return what it reads of earlier steps in the state, as it is: h, or a position",
    },
    "alone": {
        "index|gather|select": "index each sample's own rows: i + sample * steps, if flat",
        "": "compute nothing from the batch as a whole: its size, its largest, its order",
    },
}


def fix_of(probe: str, name: str) -> list[Line]:
    """Return how to end a mistake at a function or module."""
    fixes = KINDS[probe].items()
    return [("fix", next(fix for kind, fix in fixes if re.search(kind, name.lower())))]


def confirmed(
    causes: Mapping[str, Cause], groups: Sequence[Sequence[str]], is_gone: Callable[[Watch], bool]
) -> list[Line]:
    """Return what a message says of the causes without which, all in a group, the leak is gone."""
    for names in filter(None, groups):
        if is_gone(partial(_undoing, causes, names)):
            first, *rest = names
            also = f"; and {', '.join(rest)}, too" if rest else ""
            return [("cause", f"{causes[first].what}{also}"), ("fix", causes[first].fix)]
    return []


def _undoing(
    causes: Mapping[str, Cause], names: Sequence[str], model: torch.nn.Module
) -> list[Any]:
    return [
        hook
        for name in names
        for hook in each_call(name, **causes[name].undo(name, model.get_submodule(name)))(model)
    ]


def other_layout(given: Event, axis: int | None, loops: bool) -> Cause | None:
    """Suspect that a layer, or a loop over cells, reads the batch axis of its input as seq."""
    first, is_2d = getattr(given.module, "batch_first", None), given.tensors[0].dim() == 2
    seq = 1 if first else 0
    # What was packed has no axes of its own to be taken for each other.
    if axis is None or given.is_packed or not (loops or isinstance(first, bool)):
        return None
    turn: Any = lambda x: x.transpose(0, 1).contiguous()  # noqa: E731 - it may be viewed
    back, what = turn, f"axis {axis} of its input"
    own = f"{given.class_name}(..., batch_first={not first}), or input.transpose(0, 1)"
    fix = own if isinstance(first, bool) else _LOOP
    if is_2d and isinstance(given.module, RNNBase):
        turn, back = (lambda x: x.unsqueeze(seq)), (lambda x: x.squeeze(seq))
        what = "axis 0 of its 2-D input"
        fix = f"input.unsqueeze({seq}) for one step, input.unsqueeze(-1) for a series"
    elif is_2d or axis != seq:
        return None

    def before(_: int, args: Any, kwargs: Any) -> Any:
        named = named_arguments(args, kwargs)
        shape, state = named["input"].shape, named.get("hx")
        parts = [part for part in pytree.tree_leaves(state) if isinstance(part, Tensor)]
        if all(part.shape[:2] == shape[:2] for part in parts):  # keys and values, too
            alike: Any = lambda x: turn(x) if x.shape[:2] == shape[:2] else x  # noqa: E731
            return pytree.tree_map_only(Tensor, alike, (args, kwargs))
        input = turn(named["input"])
        fits = all(part.shape[-2] == input.shape[1 - seq] for part in parts)
        return from_state((input,), {}, state if fits else None)

    change: Change = {"before": before, "after": lambda _, result: mapped(result, output=back)}
    what = f"{given.label} reads {what} {THERE}"
    return Cause(what, fix, lambda *_: change)


def later_steps(given: Event, *_: Any) -> Cause | None:
    """Suspect that a layer reads the later steps: backward, or in the state that it is given."""
    module, label = given.module, given.label
    if getattr(module, "bidirectional", False):
        text = f"{label} is bidirectional: its backward direction has read the later steps"
        return Cause(text, f"{given.class_name}(..., bidirectional=False)", forward_only)
    if isinstance(module, RNNBase) and len(given.tensors) > 1:
        start: Change = {"before": lambda _, args, kwargs: from_state(args, kwargs, None)}
        fix = "start from zeros, or from a state that has read earlier steps only"
        return Cause(f"the state given to {label} has read the later steps", fix, lambda *_: start)
    return None


def padding_first(given: Event, *_: Any) -> Cause | None:
    """Suspect that a backward direction starts in the padding."""
    if not getattr(given.module, "bidirectional", False) or given.is_packed:
        return None
    text = f"the backward direction of {given.label} starts in the padding"
    fix = "pack_padded_sequence(x, lengths, ..., enforce_sorted=False), or rnnkit's lengths="
    return Cause(text, fix, forward_only)


def forward_only(_: str, module: torch.nn.Module) -> Change:
    """Blank what a backward direction gave to each step, also for the layers above it."""
    is_layer = isinstance(module, RNNBase)
    for name, weight in [*module.named_parameters(recurse=False)] if is_layer else ():
        if name.startswith("weight_ih_l") and not name.startswith("weight_ih_l0"):
            data = weight.data.masked_fill(is_backward(weight), 0.0)
            setattr(module, name, torch.nn.Parameter(data, weight.requires_grad))
    half: Any = lambda data: data.masked_fill(is_backward(data), 0.0)  # noqa: E731
    return {"after": lambda _, result: mapped(result, output=half)}


def read_lengths(given: Event, alone: Event) -> list[Line]:
    """Return that a layer reads more, or fewer, packed steps of a sample than it does alone."""
    packed: list[Any] = [x.tree[0][0] if x.tree[0] else None for x in (given, alone)]
    if not all(isinstance(x, PackedSequence) for x in packed):
        return []
    (steps, counts), (own, (count, *_)) = (pad_packed_sequence(x) for x in packed)
    least = torch.minimum(counts, count)
    same = [k for k, n in enumerate(least) if steps[:n, k].equal(own[:n, 0])]
    if not same or any(counts[k] == count for k in same):
        return []
    text = (
        f"it reads {int(counts[same[0]])} steps of the sample in the batch, and {int(count)} alone"
    )
    fix = "the lengths of its own input: lengths // stride after a convolution"
    if len(counts) > 1:
        fix = "lengths in the order of the samples, which enforce_sorted=False takes"
    return [("cause", text), ("fix", fix)]


#: What may be the cause, by the probe: from what goes into a module, its axis, and if it loops.
SUSPECTS: dict[str, Callable[[Event, int | None, bool], Cause | None]] = {
    "batch": other_layout,
    "causal": later_steps,
    "padding": padding_first,
}
