"""Lengths that nobody passed: by the names of the inputs, or by the padding of an Embedding."""

import inspect
import re
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.outputs import Given, is_whole

#: Names of lengths and of masks, as ``lengths``, ``x_len``, ``n_steps``, ``pad_mask``.
LENGTHS = re.compile(r"len(gth)?s?$|^len(gth)?s?_|^(n|num)_(steps|frames|tokens|words)$")
MASKS = re.compile("mask|pad")
EITHER = re.compile(r"_?(len(gth)?s?|(padding_|pad_)?mask|pad(ding)?)_?")


class Guess(NamedTuple):
    """Lengths by leaf, at which end the padding is, and lines about the inputs that gave none."""

    lengths: dict[int, list[int]]
    pad: str
    lines: list[str]


def guess_lengths(model: nn.Module, given: Given, batch: Batch, *, is_named: bool) -> Guess:
    """Return the lengths that inputs tell by their names (in ``forward``), if others end there."""
    arguments: list[str] = []
    with suppress(TypeError, ValueError):  # as of a builtin
        arguments = [*inspect.signature(model.forward).parameters] if is_named else []
    sequences, told = dict[int, tuple[str, Tensor]](), dict[int, tuple[str, list[int]]]()
    paths: Any = pytree.tree_flatten_with_path(given, is_whole)[0]
    for k, (path, x) in enumerate(paths):
        key = getattr(path[-1], "key", getattr(path[-1], "name", None))
        at = getattr(path[1], "idx", len(arguments)) if len(path) == 2 else len(arguments)
        name: str = key if isinstance(key, str) else next(iter(arguments[at:]), "")
        axis, seq = batch.axes[k], batch.seq_dims[k]
        if isinstance(x, Tensor) and axis not in (None, seq) and x.dim() > seq:
            sequences[k] = name.lower(), x.movedim((axis, seq), (0, 1))
        if counts := _counts(name, x, batch):
            told[k] = name, counts
    others = {key: named for key, named in sequences.items() if key not in told}
    found: dict[int, list[int]] = {}
    pads, lines = set[str](), list[str]()
    for name, counts in told.values():
        stem = EITHER.sub("", name.lower())
        own = [k for k, (n, _) in others.items() if stem and n and (n in stem or stem in n)]
        for other in own or ([*others] if all(n == counts for _, n in told.values()) else []):
            pad = _padded_at(others[other][1], counts)
            if pad and other not in found:
                found[other] = counts
                pads.add(pad)
                break
        else:
            if others and min(counts) < max(counts) and counts not in found.values():
                lines.append(f"{name} was not taken for lengths: no input ends there")
    if sequences and not told:
        first, (_, x) = next(iter(sequences.items()))
        embeddings = (one for one in model.modules() if isinstance(one, nn.Embedding))
        indices = {one.padding_idx for one in embeddings if one.padding_idx is not None}
        if x.dim() == 2 and x.dtype in (torch.int64, torch.int32) and len(indices) == 1:
            index = indices.pop()
            found = {first: x.ne(index).sum(1).tolist()}
            pads = {_padded_at(x, found[first], index)} - {""}
    return Guess(found, pads.pop(), lines) if len(pads) == 1 else Guess({}, "post", lines)


def _counts(name: str, x: Any, batch: Batch) -> list[int]:
    """Return what an input that is named like lengths, or like a mask of them, says."""
    if isinstance(x, list | tuple) and x and all(type(n) is int for n in x):
        x = torch.tensor(x, device="cpu")
    if not isinstance(x, Tensor) or not x.numel():
        return []
    batch_dim = batch.axes[batch.first] or 0
    if MASKS.search(name.lower()) and x.dim() == 2 > batch_dim and x.shape[batch_dim] == batch.size:
        mask = x.movedim(batch_dim, 0).long() if is_binary(x) else x.new_zeros(0, 0)
        for one in (mask, 1 - mask):  # ones, then zeros; or the reverse
            if one.numel() and bool((one.diff(dim=1) <= 0).all()) and bool(one[:, 0].all()):
                return [] if bool(one.all()) else one.sum(1).tolist()
        return []
    is_integer = not (x.is_floating_point() or x.is_complex() or x.dtype is torch.bool)
    named = LENGTHS.search(name.lower())
    return x.tolist() if named and is_integer and tuple(x.shape) == (batch.size,) else []


def _padded_at(x: Tensor, counts: list[int], value: int | None = None) -> str:
    """Return the end at which an input has one value beyond each length, and not just within."""
    steps = x.shape[1]
    if not 1 <= min(counts) < max(counts) <= steps:
        return ""
    for pad, rows in (("post", x), ("pre", x.flip(1))):
        rest = torch.cat([row[n:] for row, n in zip(rows, counts, strict=True)])
        last = [row[n - 1] for row, n in zip(rows, counts, strict=True) if n < steps]
        padding = rest[0] if value is None else value
        if bool((rest == padding).all()) and not any(bool((x == padding).all()) for x in last):
            return pad
    return ""
