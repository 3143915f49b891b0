"""What inputs tell about lengths: by their values, by their names, by an Embedding's padding."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnnkit._diagnostics.inputs.dense import is_dense
from rnnkit._diagnostics.run.outputs import in_float64

#: Names of lengths and of masks, as ``lengths``, ``x_len``, ``n_steps``, ``pad_mask``.
LENGTHS = re.compile(r"len(gth)?s?$|^len(gth)?s?_|^(n|num)_(steps|frames|tokens|words)$")
MASKS = re.compile("mask|pad")
EITHER = re.compile(r"_?(len(gth)?s?|(padding_|pad_)?mask|pad(ding)?)_?")

#: An input, its name in ``forward``, and its rows ``(batch, seq, ...)`` if it has steps.
Named = tuple[Any, str, Tensor | None]


#: Rows of the inputs that have steps, and lengths of inputs; both by the input's index.
Rows = dict[int, Tensor]
Lengths = dict[int, list[int]]


def guess_lengths(
    model: nn.Module, inputs: Sequence[Named], size: int
) -> tuple[Lengths, bool, list[str]]:
    """Return lengths by input, whether padding is after a sample, and a line for each misfit."""
    told = _lengths_by_names(inputs, size)
    rows = {k: x for k, (_, _, x) in enumerate(inputs) if x is not None and k not in told}
    lines: list[str] = []
    if told:
        found, ends = _matched_by_padding(told, inputs, rows, lines)
    else:
        found, ends = _lengths_by_padding_index(model, rows)
    if len(ends) != 1:
        return {}, True, lines
    return found, ends == {"post"}, lines


def _matched_by_padding(
    told: Lengths, inputs: Sequence[Named], rows: Rows, lines: list[str]
) -> tuple[Lengths, set[str]]:
    """Return which inputs are padded beyond lengths that are told, and where; add misfits."""
    found: Lengths = {}
    ends: set[str] = set()
    for index, counts in told.items():
        name = inputs[index][1]
        candidates = _inputs_of_like_name(name, inputs, rows)
        if not candidates and all(other == counts for other in told.values()):
            candidates = list(rows)
        free = [k for k in candidates if k not in found]
        first, end = _first_padded(rows, free, counts)
        if first is not None:
            found[first] = counts
            ends.add(end)
        elif rows and min(counts) < max(counts) and counts not in found.values():
            lines.append(f"{name} was not taken for lengths: no input ends there")
    return found, ends


def _lengths_by_names(inputs: Sequence[Named], size: int) -> Lengths:
    """Return what inputs that are named like lengths or a mask tell.

    Of the ways to read a mask, the first one counts by which another input is padded.
    """
    told: Lengths = {}
    for index, one in enumerate(inputs):
        others = [x for k, (_, _, x) in enumerate(inputs) if k != index and x is not None]
        ways = list(_possible_lengths(*one, size))
        fitting = [counts for counts in ways if any(padded_side(x, counts) for x in others)]
        if ways:
            told[index] = [*fitting, *ways][0]
    return told


def _inputs_of_like_name(name: str, inputs: Sequence[Named], rows: Rows) -> list[int]:
    """Return the inputs whose name shares the stem of one for lengths, as text and text_len do."""
    stem = EITHER.sub("", name.lower())
    names = {k: inputs[k][1].lower() for k in rows}
    return [k for k, other in names.items() if stem and other and (other in stem or stem in other)]


def _first_padded(rows: Rows, places: Sequence[int], counts: list[int]) -> tuple[int | None, str]:
    """Return the first of some inputs that is padded beyond some lengths, and at which end."""
    for place in places:
        end = padded_side(rows[place], counts)
        if end:
            return place, end
    return None, ""


def _lengths_by_padding_index(model: nn.Module, rows: Rows) -> tuple[Lengths, set[str]]:
    """Return the lengths of tokens that end in the padding of the model's Embedding, and where."""
    embeddings = [one for one in model.modules() if isinstance(one, nn.Embedding)]
    values = {one.padding_idx for one in embeddings if one.padding_idx is not None}
    if not rows or len(values) != 1:
        return {}, set()
    [value] = values
    first, tokens = next(iter(rows.items()))
    if tokens.dim() != 2 or tokens.dtype not in (torch.int64, torch.int32):
        return {}, set()
    counts = tokens.ne(value).sum(1).tolist()
    end = padded_side(tokens, counts, value)
    return {first: counts}, {end} - {""}


def lengths_of_other_names(
    inputs: Sequence[Named], places: Sequence[str], found: Mapping[int, list[int]]
) -> list[str]:
    """Return a line for each input that holds the ends of another one, whatever its name is."""
    lines = list[str]()
    for place, (leaf, name, rows) in zip(places, inputs, strict=False):
        if rows is not None or LENGTHS.search(name.lower()):
            continue
        counts = counts_of(leaf)
        if not counts or counts in found.values():
            continue
        others = [x for _, _, x in inputs if x is not None and len(x) == len(counts)]
        if any(padded_side(x, counts) for x in others):
            lines.append(f"{place} looks like lengths: pass lengths={name_to_type(place, name)}")
    return lines


def name_to_type(place: str, name: str) -> str:
    """Return what a caller may type for an input: its own name, or its place."""
    return name if name.isidentifier() else place


def _possible_lengths(leaf: Any, name: str, rows: Tensor | None, size: int) -> Iterator[list[int]]:
    """Yield what may be the lengths in an input that is named like lengths or a mask."""
    name = name.lower()
    is_mask = rows is not None and rows[0].numel() == rows.shape[1] and is_binary(rows)
    if MASKS.search(name) and is_mask:
        valid = rows.flatten(1).long()
        padding = 1 - valid
        for mask in (valid, padding, valid.flip(1), padding.flip(1)):  # of either end
            only_falls = (mask.diff(dim=1) <= 0).all()
            if mask[:, 0].all() and only_falls and not mask.all():
                yield mask.sum(1).tolist()
    if LENGTHS.search(name):
        counts = counts_of(leaf)
        if len(counts) == size:
            yield counts


def padded_side(rows: Tensor, counts: list[int], value: int | None = None) -> str:
    """Return the end at which an input has one value beyond each length, and not just within.

    Beyond it, a number that is not finite counts as padding.
    """
    if not 1 <= min(counts) < max(counts) <= rows.shape[1]:
        return ""
    if _is_padded_after(rows, counts, value):
        return "post"
    return "pre" if _is_padded_after(rows.flip(1), counts, value) else ""


def _is_padded_after(rows: Tensor, counts: list[int], value: int | None) -> bool:
    pairs = list(zip(rows, counts, strict=True))
    beyond = torch.cat([row[n:] for row, n in pairs])
    padding = _padding_of(beyond) if value is None else value
    is_padding = (beyond == padding) | ~beyond.isfinite()
    if not is_padding.all():
        return False
    last = [row[n - 1] for row, n in pairs if n < len(row)]
    return not any((step == padding).all() for step in last)


def _padding_of(beyond: Tensor) -> Tensor:
    """Return the first step of a padding that is finite; if there is none, a NaN."""
    finite = beyond.isfinite().reshape(len(beyond), -1).all(1)
    return beyond[int(finite.int().argmax())]


def counts_of(lengths: Any) -> list[int]:
    """Return lengths, or those of packed rows, as a list; an empty one of anything else."""
    if isinstance(lengths, PackedSequence):
        lengths = pad_packed_sequence(lengths)[1]
    if isinstance(lengths, Tensor) and not is_dense(lengths):
        return []
    each = lengths.flatten().tolist() if hasattr(lengths, "flatten") else lengths
    if not isinstance(each, list | tuple):
        return []
    are_whole = all(isinstance(n, SupportsIndex) for n in each)
    return [int(n) for n in each] if are_whole else []


def counts_by_sample(leaf: Any, axis: int, size: int) -> list[int]:
    """Return what a leaf counts of each sample: its integers, or the ones of a mask."""
    if is_dense(leaf) and leaf.numel() > size:
        if not is_binary(leaf):
            return []
        leaf = leaf.movedim(axis, 0).reshape(size, -1).sum(1).long()
    counts = counts_of(leaf)
    return counts if len(counts) == size and min(counts) >= 0 else []


def is_binary(leaf: Any) -> bool:
    """Return whether all numbers of a tensor are zeros and ones."""
    return is_dense(leaf) and bool(((leaf == 0) | (leaf == 1)).all())


def rises_or_falls(x: Tensor, axis: int) -> bool:
    """Return whether numbers nowhere fall along an axis, or nowhere rise."""
    change = x.diff(dim=axis)
    return bool((change >= 0).all() or (change <= 0).all())


def is_content(leaf: Any, seq_axis: int) -> bool:
    """Return whether a leaf holds what a model reads, and not lengths, labels or a mask."""
    if not is_dense(leaf) or leaf.numel() == 0 or leaf.dtype is torch.bool:
        return False
    is_fraction = leaf.is_floating_point()
    if is_fraction and _is_added_mask(leaf):
        return False
    while leaf.dim() > 2 and leaf.shape[-1] == 1:  # a mask that multiplies features
        leaf = leaf.squeeze(-1)
    if leaf.dim() == 2 and is_binary(leaf):
        numbers = leaf.int()
        return not any(rises_or_falls(numbers, axis) for axis in {1, seq_axis} if axis < 2)
    if is_fraction and leaf.dim() < 3 and leaf.shape[1:].numel() == 1:
        return not _are_fractions_of_longest(leaf[leaf.isfinite()])
    return is_fraction or leaf.is_complex() or leaf.dim() > 1


def _is_added_mask(leaf: Tensor) -> bool:
    """Return whether numbers are zeros, and what hides a score that they are added to."""
    return bool(((leaf == 0) | (leaf < -1000)).all() and leaf.any())


def _are_fractions_of_longest(lengths: Tensor) -> bool:
    """Return whether numbers may be lengths, as parts of the longest."""
    return bool(((lengths > 0) & (lengths <= 1)).all() and (lengths == 1).any())


def states_lengths(leaf: Any, axis: int | None, counts: list[int], steps: int) -> bool:
    """Return whether a leaf holds lengths as counts or parts of the longest, or masks them."""
    if not isinstance(leaf, Tensor):
        return counts_of(leaf) == counts
    if axis is None or not is_dense(leaf):
        return False
    if leaf.numel() == len(counts):
        told = in_float64(leaf.flatten())
        if leaf.is_floating_point():
            told = told * (max(counts) / told.max())
        off = told - told.new_tensor(counts)
        return bool((off.abs() < 0.5).all())
    if len(leaf.unique()) != 2:  # type: ignore[no-untyped-call]
        return False
    # A mask is zero at the valid steps, or at all others; it may be laid out for attention.
    zeros = (leaf == 0).movedim(axis, 0).flatten(1).sum(1).tolist()
    times, rest = divmod(leaf.numel(), len(counts) * steps)
    valid = [n * times for n in counts]
    others = [(steps - n) * times for n in counts]
    return rest == 0 and zeros in (valid, others)


def shortened_lengths(leaf: Any, counts: list[int], steps: int) -> Any:
    """Return lengths that are not longer than some steps; a mask stays."""
    fewer = [min(n, steps) for n in counts]
    if not isinstance(leaf, Tensor):
        return type(leaf)(fewer) if isinstance(leaf, list | tuple) else leaf * 0 + fewer
    if leaf.numel() != len(counts):
        return leaf
    told = leaf.new_tensor(fewer).view(leaf.shape)
    is_part = leaf.is_floating_point() and bool((leaf <= 1).all())
    return told / max(fewer) if is_part else told
