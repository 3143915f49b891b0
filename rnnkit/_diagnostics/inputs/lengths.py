"""What inputs tell about lengths: by their values, by their names, by an Embedding's padding."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, SupportsIndex

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnnkit._diagnostics.run.outputs import in_float64, is_dense

#: Names of lengths and of masks, as ``lengths``, ``x_len``, ``n_steps``, ``pad_mask``.
LENGTHS = re.compile(r"len(gth)?s?$|^len(gth)?s?_|^(n|num)_(steps|frames|tokens|words)$")
MASKS = re.compile("mask|pad")
EITHER = re.compile(r"_?(len(gth)?s?|(padding_|pad_)?mask|pad(ding)?)_?")

#: Rows of the inputs that have steps, and lengths of inputs; both by the input's index.
Rows = dict[int, Tensor]
Lengths = dict[int, list[int]]


class Named(NamedTuple):
    """An input of a model.

    Attributes:
        leaf: the tensor, or whatever else it is.
        name: what it is called as an argument of ``forward``.
        rows: the tensor as ``(batch, seq, ...)``; None if it has no steps.
    """

    leaf: Any
    name: str
    rows: Tensor | None


def guess_lengths(
    model: nn.Module, inputs: Sequence[Named], size: int
) -> tuple[Lengths, bool, list[str]]:
    """Find the valid steps of each sample, if the inputs tell them.

    An input that is named like lengths or a mask tells those of an input that is padded beyond
    them; if there is none, the padding index of the model's Embedding tells them. ``size`` is the
    number of samples. Returns the lengths by the index of the padded input, whether the padding is
    after a sample, and a line for each input that is named so and fits none, unless its lengths are
    those that were found.
    """
    ways = [[*_possible_lengths(one, size)] for one in inputs]
    told = [(one.name, each) for one, each in zip(inputs, ways, strict=True) if each]
    rows = {k: one.rows for k, one in enumerate(inputs) if one.rows is not None and not ways[k]}
    lines: list[str] = []
    told = told or _told_by_padding_index(model, rows)
    found, sides = _matched_by_padding(told, inputs, rows, lines)
    if len(sides) != 1:
        return {}, True, lines
    return found, sides == {"post"}, lines


def _matched_by_padding(
    told: Sequence[tuple[str, list[list[int]]]],
    inputs: Sequence[Named],
    rows: Rows,
    lines: list[str],
) -> tuple[Lengths, set[str]]:
    """Find the inputs that are padded beyond lengths which other inputs tell.

    ``told`` has the name of each of these, or "", and the lengths that it may tell; ``rows`` are
    the ``inputs`` with steps, as ``(batch, seq, ...)``. Lengths are of an input whose name they
    share; of any if none does, and if all that are told are the same. Returns the lengths by the
    index of the padded input, and on which sides padding is: ``"pre"``, ``"post"``. A line is added
    to ``lines`` for each name whose lengths fit none.
    """
    found: Lengths = {}
    sides = set[str]()
    # Lengths that share the name of an input, such as target_lengths, say nothing of others.
    of_any = [each for name, each in told if not _inputs_of_like_name(name, inputs, rows)]
    for name, ways in told:
        own = _inputs_of_like_name(name, inputs, rows)
        free = {k: x for k, x in (own or rows).items() if k not in found}
        fits = next(_padded_beyond(free, ways, [] if own else of_any), None)
        if fits is not None:
            index, counts, side = fits
            found[index] = counts
            sides.add(side)
            continue
        counts = ways[0]
        if name and rows and min(counts) < max(counts) and counts not in found.values():
            lines.append(f"{name} was not taken for lengths: no input ends there")
    return found, sides


def _inputs_of_like_name(name: str, inputs: Sequence[Named], rows: Rows) -> Rows:
    """Return those of ``rows`` whose names share the stem of one for lengths: text of text_len."""
    stem = EITHER.sub("", name.lower())
    names = {k: inputs[k].name.lower() for k in rows}
    like = [k for k, other in names.items() if stem and other and (other in stem or stem in other)]
    return {k: rows[k] for k in like}


def _padded_beyond(
    rows: Rows, ways: Sequence[list[int]], told: Sequence[Sequence[list[int]]]
) -> Iterator[tuple[int, list[int], str]]:
    """Yield the index of each input that is padded beyond some lengths, these, and on which side.

    ``rows`` are the inputs to look at. A mask can be read in several ways (true on valid steps or
    on padding, at either end), which ``ways`` has; each of ``told`` has the lengths that another
    input may tell, which have to be among them.
    """
    for counts, (index, x) in product(ways, rows.items()):
        side = padded_side(x, counts)
        if side and all(counts in each for each in told):
            yield index, counts, side


def _told_by_padding_index(model: nn.Module, rows: Rows) -> list[tuple[str, list[list[int]]]]:
    """Return how many tokens each sample has that are not the padding index of an Embedding.

    ``rows`` are the inputs with steps, by index: the first one's count, under no name. Nothing if
    there is no such index, or not one only, or if that input holds no tokens.
    """
    embeddings = [one for one in nn.Module.modules(model) if isinstance(one, nn.Embedding)]
    values = {one.padding_idx for one in embeddings if one.padding_idx is not None}
    tokens = next(iter(rows.values()), None)
    if tokens is None or len(values) != 1:
        return []
    is_table = tokens.dim() == 2 and tokens.dtype in (torch.int64, torch.int32)
    return [("", [tokens.ne(values.pop()).sum(1).tolist()])] if is_table else []


def lengths_of_other_names(
    inputs: Sequence[Named], places: Sequence[str], found: Mapping[int, list[int]]
) -> list[str]:
    """Return a line for each input that seems to hold lengths, although its name does not say so.

    ``places`` is what a report calls each input; ``found`` are the lengths that are known.
    """
    return [
        f"{place} looks like lengths: pass lengths={one.name if one.name.isidentifier() else place}"
        for place, one in zip(places, inputs, strict=False)
        if _looks_like_lengths(one, inputs, found)
    ]


def _looks_like_lengths(
    one: Named, inputs: Sequence[Named], found: Mapping[int, list[int]]
) -> bool:
    """Return whether an input holds lengths that its name does not tell and nobody has given.

    Another of ``inputs`` has to be padded beyond them; ``found`` are the lengths that are known, by
    index. An input with steps (``rows``), or named like lengths, was judged before.
    """
    if one.rows is not None or LENGTHS.search(one.name.lower()):
        return False
    counts = counts_of(one.leaf)
    if not counts or counts in found.values():
        return False
    rows = [x for _, _, x in inputs if x is not None and len(x) == len(counts)]
    return any(padded_side(x, counts) for x in rows)


def _possible_lengths(one: Named, size: int) -> Iterator[list[int]]:
    """Yield what may be the lengths of ``size`` samples in an input named like lengths or a mask.

    Of any other input nothing; a mask may be read in several ways.
    """
    name = one.name.lower()
    rows = one.rows
    is_mask = rows is not None and rows[0].numel() == rows.shape[1] and is_binary(rows)
    if rows is not None and is_mask and MASKS.search(name):
        yield from _lengths_of_mask(rows.flatten(1).long())
    if LENGTHS.search(name):
        counts = counts_of(one.leaf)
        if len(counts) == size:
            yield counts


def _lengths_of_mask(valid: Tensor) -> Iterator[list[int]]:
    """Yield the lengths that a mask ``(batch, seq)`` of ones and zeros may tell.

    Its ones may be the valid steps or the padding, which may be at either end.
    """
    padding = 1 - valid
    for mask in (valid, padding, valid.flip(1), padding.flip(1)):
        only_falls = (mask.diff(dim=1) <= 0).all()
        if mask[:, 0].all() and only_falls and not mask.all():
            yield mask.sum(1).tolist()


def padded_side(rows: Tensor, counts: list[int]) -> str:
    """Return on which side an input ``(batch, seq, ...)`` is padded: ``"post"`` or ``"pre"``.

    All padding of the batch has one value, or is not finite, and the valid step next to it has
    another one. Empty if neither side has such padding, or if all ``counts``, the lengths, are
    equal or some do not fit.
    """
    if not 1 <= min(counts) < max(counts) <= rows.shape[1]:
        return ""
    if _is_padded_after(rows, counts):
        return "post"
    return "pre" if _is_padded_after(rows.flip(1), counts) else ""


def _is_padded_after(rows: Tensor, counts: list[int]) -> bool:
    """Return whether all steps beyond each length, and no step just within, are padding.

    ``rows`` is an input ``(batch, seq, ...)`` and ``counts`` are its lengths. Padding is the first
    step there that is finite, or else NaN.
    """
    pairs = list(zip(rows, counts, strict=True))
    beyond = torch.cat([row[n:] for row, n in pairs])
    finite = beyond.isfinite().reshape(len(beyond), -1).all(1)
    padding = beyond[finite.int().argmax()]
    is_padding = (beyond == padding) | ~beyond.isfinite()
    if not is_padding.all():
        return False
    last = [row[n - 1] for row, n in pairs if n < len(row)]
    return not any((step == padding).all() for step in last)


def counts_of(lengths: Any) -> list[int]:
    """Return lengths (a tensor, an array, a list), or those of packed rows, as integers.

    If they are no lengths, the list is empty.
    """
    if isinstance(lengths, PackedSequence):
        lengths = pad_packed_sequence(lengths)[1]
    if isinstance(lengths, Tensor) and not is_dense(lengths):
        return []
    each = lengths.flatten().tolist() if hasattr(lengths, "flatten") else lengths
    if not isinstance(each, list | tuple):
        return []
    are_whole = all(isinstance(n, SupportsIndex) for n in each)
    return [int(n) for n in each] if are_whole else []


def is_binary(leaf: Any) -> bool:
    """Return whether all numbers of a tensor are zeros and ones."""
    return is_dense(leaf) and bool(((leaf == 0) | (leaf == 1)).all())


def rises_or_falls(x: Tensor, axis: int) -> bool:
    """Return whether numbers nowhere fall along an axis, or nowhere rise."""
    change = x.diff(dim=axis)
    return bool((change >= 0).all() or (change <= 0).all())


def is_content(leaf: Any, seq_axis: int) -> bool:
    """Return whether a leaf holds data that is computed with, not lengths, labels or a mask.

    A mask is boolean, or zeros and ones that nowhere rise or nowhere fall along the steps, or zeros
    and numbers below -1000 that are added to scores.
    """
    if not is_dense(leaf) or leaf.numel() == 0 or leaf.dtype is torch.bool:
        return False
    is_fraction = leaf.is_floating_point()
    if is_fraction and ((leaf == 0) | (leaf < -1000)).all() and leaf.any():
        return False
    while leaf.dim() > 2 and leaf.shape[-1] == 1:  # a mask that multiplies features
        leaf = leaf.squeeze(-1)
    if leaf.dim() == 2 and is_binary(leaf):
        return not any(rises_or_falls(leaf.int(), axis) for axis in {1, min(seq_axis, 1)})
    if is_fraction and leaf.dim() < 3 and leaf.shape[1:].numel() == 1:
        finite = leaf[leaf.isfinite()]
        # Lengths relative to the longest are up to 1, which occurs.
        are_parts = ((finite > 0) & (finite <= 1)).all() and (finite == 1).any()
        return not are_parts
    return is_fraction or leaf.is_complex() or leaf.dim() > 1


def states_lengths(leaf: Any, axis: int | None, counts: list[int], steps: int) -> bool:
    """Return whether a leaf holds the lengths ``counts``, relative ones or a mask of them.

    ``axis`` has the samples, ``steps`` is the size of the seq axis.
    """
    if not isinstance(leaf, Tensor):
        return counts_of(leaf) == counts
    if axis is None or not is_dense(leaf):
        return False
    if leaf.numel() == len(counts):
        told = in_float64(leaf.flatten())
        if leaf.is_floating_point() and len(counts) > 1:
            told = told * (max(counts) / told.max())
        elif leaf.is_floating_point() and told.max() <= 1:  # one number is a part of all steps
            told = told * steps
        off = told - told.new_tensor(counts)
        return bool((off.abs() < 0.5).all())
    return _masks_lengths(leaf, axis, counts, steps)


def _masks_lengths(leaf: Tensor, axis: int, counts: list[int], steps: int) -> bool:
    """Return whether a tensor is a mask of some lengths; it may be laid out for attention.

    ``axis`` has the samples. A mask is zero at the valid steps, or at all others.
    """
    if leaf.is_complex() or len(leaf.unique()) != 2:  # type: ignore[no-untyped-call]
        return False
    zeros = (leaf == 0).movedim(axis, 0).flatten(1).sum(1).tolist()
    times, rest = divmod(leaf.numel(), len(counts) * steps)
    valid = [n * times for n in counts]
    others = [(steps - n) * times for n in counts]
    return rest == 0 and zeros in (valid, others)


def shortened_lengths(leaf: Any, counts: list[int], steps: int) -> Any:
    """Return a leaf that holds lengths, none longer than ``steps``; a mask stays as it is.

    ``counts`` are those lengths as integers; relative lengths are divided by the new longest.
    """
    fewer = [min(n, steps) for n in counts]
    if not isinstance(leaf, Tensor):
        return type(leaf)(fewer) if isinstance(leaf, list | tuple) else leaf * 0 + fewer
    if leaf.numel() != len(counts):
        return leaf
    told = leaf.new_tensor(fewer).view(leaf.shape)
    is_part = leaf.is_floating_point() and bool((leaf <= 1).all())
    return told / max(fewer) if is_part else told
