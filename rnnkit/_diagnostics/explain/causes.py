"""Why a leak is there: what is suspected, how a copy runs without it, and how to end it."""

import re
from operator import methodcaller
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.run.events import Event
from rnnkit._diagnostics.run.module_calls import (
    arguments_by_name,
    hooks_on,
    is_recurrent,
    with_changed_parts,
    with_state,
)
from rnnkit._diagnostics.run.outputs import Watch, is_backward
from rnnkit._diagnostics.tell.outcome import Line


class Cause(NamedTuple):
    """What is suspected of a leak: an output that depends on an input that it must not depend on.

    Attributes:
        what: what a message says of it.
        fix: what a message says how to end it.
        undo: a watch: it puts hooks on a copy of the model that undo the mistake in a run.
    """

    what: str
    fix: str
    undo: Watch


#: What may be wrong with modules, by their names.
Suspects = dict[str, Cause | None]

#: The rows of a message about a module, and its name.
Location = tuple[list[Line], str]

MASK = "mask what is beyond each length before it is pooled (rnnkit.masked), or pack it"
MASK_IS = "with mask = rnnkit.masked.mask(lengths, steps)"
CARRY = "y, state = layer(x, state), and return that state"
REMEMBER = "give the layer whole sequences, or pass the state on: y, state = layer(x, state)"
VIEW = "transpose or permute to swap axes; view and reshape only split or join neighbouring axes"
PACK = (
    "pack_padded_sequence(x, lengths of x, enforce_sorted=False), with batch_first=True if x is "
    "(batch, seq, ...), or rnnkit's lengths="
)

#: How to end a mistake, by the probe and by the function, or module, that shows it first.
FIXES_BY_NAME: dict[str, dict[str, str]] = {
    "batch": {
        "view|reshape|flatten": VIEW,
        "batchnorm|batch_norm": "LayerNorm, or statistics that are tracked in training",
        "index|gather|select": "read each sample's own row, y[torch.arange(len(y)), i], or, "
        "if y is flat, i + sample * steps sample by sample, i * samples + sample step by step; "
        "y[order.argsort()] undoes a sort; h_n is (layers, batch, hidden): h_n[-1]",
        "cell|where": "give each sample its own row: torch.where(flag[:, None], 0.0, state)",
        "^mul$|max|min|any|all": "keep a value for each sample, flag[:, None]; "
        "reduce over steps only",
        "packed": "batch_first=True of pack_padded_sequence, or x.transpose(0, 1) before it",
        "rnn|lstm|gru|multi_?head": "batch_first=True if its input is (batch, seq, feature), "
        "else False; a state is (layers, batch, hidden) in both",
        "loop": "loop over the steps: x.transpose(0, 1) before it, or torch.stack(outputs, 1) of "
        "the loop before",
        "": "do not reduce, normalize or join over the batch axis",
    },
    "causal": {
        "conv|unfold": "padding=0, and F.pad(x, (dilation * (kernel_size - 1), 0)) on the steps",
        "^(?!adaptive).*pool|pad": "pad in front only, by the size of the window less 1, "
        "and pad nowhere else",
        "scaled_dot": "is_causal=True instead of attn_mask=; or attn_mask=torch.ones(n, n).tril()"
        ".bool(), which is True at the keys to read",
        "softmax|attention|mm|matmul|einsum": "softmax(-1), over the keys, of scores.masked_fill("
        "later, -torch.inf) (attn_mask=later), where later = torch.ones(n, n).triu(1).bool(), "
        "instead of any mask that is there; then weights @ values, (query, key) @ (key, feature)",
        "view|reshape|flatten": f"{VIEW}; what is computed from several steps belongs to the last",
        "rnn|lstm|gru": "read its output step by step: h_n, c_n and the last output have read all",
        "fft": "a convolution by fft needs zeros, torch.fft.rfft(x, n=2 * steps), and keeps the "
        "first steps; any other fft mixes all steps",
        "index|roll|flip|diff|gather|select|cat|loop": "at step t read steps 0 to t only, such "
        "as x[:, : t + 1]; to shift, put zeros in front",
        "": "compute it over the steps so far, as cumsum and cummax do, or over the features",
    },
    "padding": {
        "packed": "pack_padded_sequence(y, lengths of y, batch_first=..., enforce_sorted=False), "
        "with the lengths in the order of the batch",
        "softmax": "rnnkit.masked.softmax(scores, lengths, dim=...), over the axis of the keys",
        "scaled_dot": "attn_mask=mask[:, None, :], or mask[:, None, None, :] with heads, "
        f"{MASK_IS}, which is True at the keys to read",
        "attention": f"key_padding_mask=~mask, {MASK_IS}; or that as attn_mask, over the keys",
        "index|gather|select|narrow|clamp": "read step lengths - 1 per sample; or h_n, if packed",
        "max": "rnnkit.masked.max(y, lengths, dim=1), or dim=0 of (seq, batch, ...)",
        "min|sort|topk": f"y.masked_fill(~mask[..., None], ...) before it, {MASK_IS}",
        "conv|pool|unfold|fft|interpolate": "x * mask[:, None] before it, so that it reads zeros "
        f"there, or mask[:, None, :, None] of (batch, channels, seq, width), {MASK_IS}",
        "norm|std|var": "compute it over the features of each step, or over the valid steps only",
        "roll|flip": "flip each sample within its length, or pack it for a bidirectional layer",
        "div": "divide each sample by its own length",
        "logsumexp": "alpha = torch.where(valid_t, new, alpha), if a loop carries it; else "
        f"y.masked_fill(~mask, -torch.inf) before it, {MASK_IS}",
        "arange|full|linspace": "count by the length of each sample there, not by the steps of the "
        "batch",
        "mean": "rnnkit.masked.mean(y, lengths, dim=1), or dim=0 of (seq, batch, ...)",
        "sum|mm|einsum": f"y * mask, or mask[..., None] of features, before it, {MASK_IS}; "
        "divide a sum by the lengths",
        "loop": "h = torch.where(valid_t, cell(x_t, h), h), with valid_t of (batch, 1)",
        "rnn|lstm|gru": PACK,
        "": f"{MASK}; in a loop, h = torch.where(valid_t, cell(x_t, h), h)",
    },
    "streaming": {
        "conv|pool|unfold|pad|cat": "return its last inputs in the state, "
        "and put them before the next chunk",
        "rnn|lstm|gru|loop": CARRY,
        "norm|mean|softmax|std|var": "compute it over one step only, or return it in the state",
        "": "return all that it needs of earlier steps in the state, such as h or a position, and "
        "start from that as it is",
    },
    "alone": {
        "index|gather|select": "index each sample's own rows: i + sample * steps, if flat",
        "": "use each sample's own length and values, not the size, order or largest of the batch",
    },
}


#: What differs if the padding is before a sample. The first kind that fits counts, so these lead.
IN_FRONT = {
    "pack": "move the padding behind each sample before it is packed, which keeps the first steps",
    "index|gather|select|narrow|clamp": "read the last step, y[:, -1]: the padding is in front",
    "rnn|lstm|gru": "pad after each sample instead, and pass lengths= or pack it",
    "roll|flip": "flip the whole batch, and read the padding as padding after each sample",
    "arange": "mask.cumsum(1) - 1, with mask true at the valid steps, which counts from the first",
}
FIXES_BY_NAME["padding in front"] = IN_FRONT | FIXES_BY_NAME["padding"] | IN_FRONT


def fix_of(probe: str, name: str) -> list[Line]:
    """Return the row with the fix of a probe's finding at a function or module of this name."""
    fixes = FIXES_BY_NAME[probe].items()
    return [("fix", next(fix for kind, fix in fixes if re.search(kind, name.lower())))]


def _exchanged(x: Tensor) -> Tensor:
    """Return a tensor with its first two axes exchanged, in a memory that a model may view."""
    return x.transpose(0, 1).contiguous()


def other_layout(given: Event, axes: list[int], loops: bool) -> Cause | None:
    """Suspect that a layer, or a loop over cells, reads the batch axis of its input as seq.

    ``given`` is the event in which the module is given its input, ``axes`` are the axes of that
    which have the samples, and ``loops`` says whether the model loops over it. None if it reads
    another axis. The cause is undone by exchanging the axes before and after the module.
    """
    first = getattr(given.module, "batch_first", None)
    is_layer = isinstance(given.module, RNNBase)
    seq = 1 if first else 0
    is_2d = is_layer and given.tensors[0].dim() == 2
    # What was packed has no axes of its own to be taken for each other.
    is_known = loops or isinstance(first, bool)
    if given.is_packed or not is_known or axes != [0 if is_2d else seq]:
        return None
    fix = f"{given.text}(..., batch_first={not first}), or input.transpose(0, 1)"
    if is_layer and given.tensors[1:]:
        fix += f"; make the state for the batch on axis {axes[0]}"
    if is_2d:
        series = f"{given.text}(1, ..., batch_first=True) on input.unsqueeze(-1), and y[:, -1]"
        fix = f"if it is a series, {series}; if it is single steps, input.unsqueeze({seq})"
    elif first is None:
        fix = "input.transpose(0, 1) before the loop, and the same of outputs stacked after it"

    what = f"{given.label} reads axis {axes[0]} of its input as seq, but the batch is there"
    return Cause(what, fix, _in_layout(given, seq if is_2d else None))


def other_state(given: Event) -> Cause | None:
    """Suspect that a state has the samples on axis 0, where a layer takes them for its layers.

    ``given`` is what goes into a layer. The state is suspected only if it also fits with its first
    two axes exchanged.
    """
    states = [x for x in given.tensors[1:] if isinstance(x, Tensor)]
    if not isinstance(given.module, RNNBase) or not states:
        return None
    if any(x.dim() != 3 or x.shape[0] != x.shape[1] for x in states):
        return None

    def before(_: int, args: Any, kwargs: Any) -> Any:
        state = arguments_by_name(args, kwargs)["hx"]
        return with_state(args, kwargs, pytree.tree_map_only(Tensor, _exchanged, state))

    what = f"the state given to {given.label} has the samples on axis 0, for its layers"
    fix = "h.transpose(0, 1).contiguous(), for (layers, batch, hidden)"
    return Cause(what, fix, hooks_on(given.name, before))


def _in_layout(given: Event, seq: int | None) -> Watch:
    """Return a watch that runs a module with the first two axes of its input and output exchanged.

    Of an input without a batch axis, an axis for one step is put in at ``seq`` instead. A cell, or
    a loop, gets its state and other tensors of the same layout exchanged as well.
    """
    turn = _exchanged if seq is None else methodcaller("unsqueeze", seq)
    back = _exchanged if seq is None else methodcaller("squeeze", seq)

    def before(_: int, args: Any, kwargs: Any) -> Any:
        """Return the arguments of the module's call in the other layout."""
        input = arguments_by_name(args, kwargs)["input"]
        if isinstance(given.module, RNNBase):  # its state fits the other layout
            return with_state((turn(input),), {}, None)
        alike: Any = lambda x: turn(x) if x.shape[:2] == input.shape[:2] else x  # noqa: E731
        return pytree.tree_map_only(Tensor, alike, (args, kwargs))

    return hooks_on(given.name, before, lambda _, result: with_changed_parts(result, output=back))


def later_steps(given: Event, probe: str) -> Cause | None:
    """Suspect that a layer reads later steps, or padding: backward, or in the state it is given.

    ``given`` is the event in which the layer is given its input; ``probe`` is ``"causal"``,
    ``"padding"`` or another probe that found the leak. None if the layer can do neither.
    """
    label = given.label
    is_both = is_recurrent(given.module) and getattr(given.module, "bidirectional", False)
    has_state = isinstance(given.module, RNNBase) and bool(given.tensors[1:])
    if probe == "causal" and has_state and not is_both:
        zeros = hooks_on(given.name, lambda _, args, kwargs: with_state(args, kwargs, None))
        fix = "start from zeros, or from a state that has read earlier steps only"
        return Cause(f"the state given to {label} has read the later steps", fix, zeros)
    if not is_both or (probe == "padding" and given.is_packed):
        return None
    forward_only = _without_backward(given.name)
    if probe == "padding":
        what = f"the backward direction of {label} starts in the padding"
        return Cause(what, PACK, forward_only)
    one_way = f"{given.text}(..., bidirectional=False)"
    halves = "its output then has half the features and its state half the rows"
    fix = f'{one_way}: {halves}; rnnkit.states.bridge(state, "sum") for a state of two directions'
    what = f"{label} is bidirectional: its backward direction has read the later steps"
    return Cause(what, fix, forward_only)


def _without_backward(name: str) -> Watch:
    """Return a watch that blanks what the backward direction of a layer, by its name, returns.

    The layers above it get nothing of that direction either, by zeros in their weights.
    """
    half: Any = lambda x: x.masked_fill(is_backward(x), 0.0)  # noqa: E731

    def watch(model: torch.nn.Module) -> list[Any]:
        """Blank the backward half of the output and of the weights that read it."""
        layer = model.get_submodule(name)
        for key, weight in [*layer.named_parameters(recurse=False)]:
            if key.startswith("weight_ih_l") and not key.startswith("weight_ih_l0"):
                setattr(layer, key, torch.nn.Parameter(half(weight.data)))
        return hooks_on(name, after=lambda _, x: with_changed_parts(x, output=half))(model)

    return watch
