"""``lengths``: checked, and brought to packed input and back."""

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnnkit._errors import LengthsError
from rnnkit._message import brief, compose, wanted
from rnnkit._reading import Reading, spell


class Lengths(NamedTuple):
    """Valid steps of each sample, checked."""

    #: ``(batch,)``, int64, on the device of the input.
    each: Tensor
    #: The same as numbers; None while a compiler traces, which knows no values.
    values: list[int] | None
    #: Steps of the input.
    seq: int

    @property
    def longest(self) -> int:
        """The most steps that any sample has."""
        return self.seq if self.values is None else max(self.values, default=0)

    @property
    def empty(self) -> Tensor | None:
        """``(batch,)``, true of samples without a step; None if there are surely none."""
        return None if self.values is not None and 0 not in self.values else self.each == 0

    @property
    def is_full(self) -> bool:
        """Whether every sample is as long as the input, so that lengths change nothing."""
        return self.values is not None and min(self.values, default=self.seq) == self.seq

    def between(self, start: int, stop: int) -> "Lengths":
        """Return what is left of each sample in the steps from ``start`` up to ``stop``."""
        steps = stop - start
        values = (
            None if self.values is None else [min(max(n - start, 0), steps) for n in self.values]
        )
        return Lengths((self.each - start).clamp(0, steps), values, steps)

    def valid(self, steps: int) -> Tensor:
        """Return the mask ``(seq, batch)`` that is true up to each sample's length."""
        return torch.arange(steps, device=self.each.device).unsqueeze(1) < self.each

    def beyond(self, steps: int) -> Tensor:
        """Return the mask ``(seq, batch, 1)`` that is true beyond each sample's length."""
        return ~self.valid(steps).unsqueeze(-1)


def check_lengths(reading: Reading, lengths: Any, input: Any) -> Lengths:
    """Hold lengths to one count from 0 to seq for each sample.

    Args:
        reading: the call they belong to.
        lengths: what the caller gave: a list of ints, or an integer tensor ``(batch,)``.
        input: what the lengths belong to.

    Raises:
        LengthsError: if they are anything else, or the input has no batch or is packed already.
    """
    if reading.kind == "packed":
        _refuse(
            reading,
            lengths,
            "the input is packed and brings its lengths along",
            "leave lengths out",
        )
    if reading.batch is None or reading.seq is None:
        fix = f"input.unsqueeze({0 if reading.batch_first else 1}), a batch of one"
        _refuse(reading, lengths, "the input has no batch axis", fix)
    each = _as_integers(reading, lengths)
    if each.dim() != 1:
        fix = _mend_axes(reading, each)
        _refuse(reading, lengths, f"lengths have {each.dim()} axes, one is wanted", fix)
    if each.shape[0] != reading.batch:
        _refuse_count(reading, lengths, each)
    values: list[int] | None = None if is_compiling() else each.tolist()
    for place, value in enumerate(values or ()):
        if not 0 <= value <= reading.seq:
            side = "negative" if value < 0 else "more steps than the input has"
            bound = "min=0" if value < 0 else f"max={reading.seq}"
            fix = f"look how they were counted; to cut them: clamp({bound})"
            _refuse(reading, lengths, f"lengths[{place}] is {value}: {side}", fix)
    return Lengths(each.to(input.device), values, reading.seq)


def _mend_axes(reading: Reading, each: Tensor) -> str:
    if each.dim() == 0:
        return f"[{each.item()}] * {reading.batch}"
    if each.numel() == reading.batch:
        return "torch.as_tensor(lengths).flatten()"
    return f"of a mask: mask.sum({1 if reading.batch_first else 0})"


def _as_integers(reading: Reading, lengths: Any) -> Tensor:
    if isinstance(lengths, Tensor):
        if lengths.is_meta or lengths.layout is not torch.strided:
            _refuse(reading, lengths, "lengths hold no values to look at", "a list of ints")
        each = lengths
    elif isinstance(lengths, str) or not (
        isinstance(lengths, Sequence) or hasattr(lengths, "__array__")
    ):
        fix = f"[{lengths}] * {reading.batch}" if isinstance(lengths, int) else "a list of ints"
        _refuse(reading, lengths, "lengths are neither list nor tensor", fix)
    else:
        odd = next((k for k, n in enumerate(lengths) if n is None or isinstance(n, bool)), None)
        if odd is not None:
            _refuse(reading, lengths, f"lengths[{odd}] is {lengths[odd]}", "a list of ints")
        if any(isinstance(length, str) for length in lengths):
            _refuse(reading, lengths, "lengths hold strings", "[int(n) for n in lengths]")
        try:
            each = torch.as_tensor(lengths, dtype=None if len(lengths) else torch.int64)
        except (TypeError, ValueError, RuntimeError):
            _refuse(reading, lengths, "lengths are no plain list of ints", "a list of ints")
    if each.dtype is torch.bool:
        fix = f"of a mask: mask.sum({1 if reading.batch_first else 0})"
        _refuse(reading, lengths, "lengths are booleans, as a mask is", fix)
    if each.is_floating_point() or each.is_complex():
        fix = "[int(n) for n in lengths]"
        if isinstance(lengths, Tensor):
            fix = "lengths.long(); of fractions of the input (lengths * seq).round().long()"
        _refuse(reading, lengths, f"lengths are {each.dtype}, no counts", fix)
    return each.to(torch.int64)


def _refuse_count(reading: Reading, lengths: Any, each: Tensor) -> NoReturn:
    sentence = (
        f"Expected `len(lengths)` to be equal to batch_size, but got {len(each)} "
        f"(batch_size={reading.batch})"
    )
    rows: list[tuple[str, str]] = [("fix", f"one length for each of the {reading.batch} samples")]
    headline = f"there are {len(each)} lengths for {reading.batch} samples"
    if each.shape[0] == reading.seq:
        evidence = f"there are {len(each)} lengths, and axis {{axis}} of the input is as long"
        headline, rows = reading.other_layout(evidence)
    _raise(reading, lengths, sentence, headline, rows)


def _refuse(reading: Reading, lengths: Any, headline: str, fix: str) -> NoReturn:
    seq = "seq" if reading.seq is None else reading.seq
    sentence = f"lengths must be integers from 0 to {seq}, one for each sample"
    _raise(reading, lengths, sentence, headline, [("fix", fix)])


def _raise(
    reading: Reading, lengths: Any, sentence: str, headline: str, rows: list[tuple[str, str]]
) -> NoReturn:
    shape = tuple(lengths.shape) if isinstance(lengths, Tensor) else ()
    came = f"{lengths.dtype} {shape}" if isinstance(lengths, Tensor) else brief(lengths)
    if isinstance(lengths, list | tuple) and lengths:
        came += f" of {len(lengths)}"
    expected = "(batch,)" if reading.batch is None else f"(batch={reading.batch},)"
    raise LengthsError(
        compose(
            sentence,
            f"{reading.described}: {headline}",
            [
                ("input", wanted(spell(reading.input_axes), f"{reading.actual}")),
                ("lengths", wanted(f"{expected}, integers", came)),
                *rows,
            ],
        ),
        "lengths",
        (reading.batch,),
        shape,
    )


def pack(input: Tensor, lengths: Lengths, *, batch_first: bool) -> PackedSequence:
    """Pack a padded input; a sample without steps is packed with one step of zeros."""
    counts, empty = lengths.each, lengths.empty
    if empty is not None:
        input = input.masked_fill(empty.view((-1, 1, 1) if batch_first else (1, -1, 1)), 0)
        counts = counts.clamp(min=1)
    return pack_padded_sequence(input, counts.cpu(), batch_first, enforce_sorted=False)
