"""Padded inputs: what tells a model the lengths, and outputs that have other steps."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    LENGTHS,
    SEQ,
    Model,
    mask,
    numbers,
    padded,
    reason,
    tokens,
)
from tests.diagnostics.small import gru

PADDED, COUNTS = padded()
VALID = mask(COUNTS)


def pooled_by_value(m: Any, x: Tensor, *_: Any) -> Tensor:
    """Take the mean over what is not zero."""
    valid = (x != 0).any(2, keepdim=True)
    mean: Tensor = (m.gru(x)[0] * valid).sum(1) / valid.sum(1)
    return mean


BESIDE = {
    "labels of samples": torch.tensor([0, 1, 2, 3]),
    "labels of steps": tokens(BATCH, SEQ),
    "a mask that is true everywhere": torch.ones(BATCH, SEQ, dtype=torch.bool),
    "a mask of fewer steps": VALID[:, :5],
    "a mask over features": torch.ones(BATCH, FEATURE, dtype=torch.bool),
    "other lengths": torch.tensor([7, 7, 7, 7]),
    "other lengths in a list": [7, 7, 7, 7],
    "a number": 3,
    "a mask over steps alone": torch.ones(SEQ, SEQ).tril(),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_tells_no_lengths(name: str) -> None:
    """Labels, and masks of something else, are no lengths: the model may know them by value."""
    report = rnnkit.verify(Model(pooled_by_value, gru=gru()), PADDED, BESIDE[name], lengths=LENGTHS)

    assert "gets no lengths" in reason(report, "padding")
    assert "alone" in report.checked


TELLING = {
    "lengths": COUNTS,
    "lengths in a list": list(LENGTHS),
    "a mask": VALID,
    "a mask of padding": ~VALID,
    "a mask of floats": VALID.float(),
    "an additive mask": torch.zeros(BATCH, SEQ).masked_fill(~VALID, -torch.inf),
    "a mask for attention": VALID[:, None, None, :],
    "a mask for each step": VALID.unsqueeze(2).expand(-1, -1, SEQ),
}


@pytest.mark.parametrize("name", TELLING)
def test_what_tells_lengths(name: str) -> None:
    """Lengths, and masks of them in any layout, tell a model what padding is."""
    told = TELLING[name]
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(
            Model(pooled_by_value, gru=gru()), PADDED, told, lengths=LENGTHS, skip=["alone"]
        )

    assert error.value.probe == "padding"


def pyramid(m: Any, x: Tensor, lengths: Tensor) -> Any:
    """Join two steps into one, and run a second layer."""
    y = m.lower(x)[0]
    y = y[:, : y.shape[1] // 2 * 2]
    return m.upper(y.reshape(len(y), -1, 12))[0], lengths // 2


def strided(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """Halve the steps by a convolution, and run a layer over packed samples."""
    y = m.conv(x.transpose(1, 2)).transpose(1, 2)
    given = pack_padded_sequence(y, (lengths + 1) // 2, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(m.upper(given)[0], batch_first=True)[0].transpose(0, 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("compute", [pyramid, strided])
def test_fewer_steps_in_the_output(compute: Any, seed: int) -> None:
    """An output of fewer steps than the input is not cut: which steps are valid is not known."""
    torch.manual_seed(seed)
    lengths = torch.tensor([8, 6, 4, 7]).roll(seed)
    parts = {"lower": gru(), "conv": nn.Conv1d(FEATURE, 12, 3, 2, 1), "upper": gru(12)}
    x = numbers(BATCH, 8, FEATURE) * mask(lengths, 8).unsqueeze(2)
    report = rnnkit.verify(Model(compute, **parts), x, lengths, lengths=lengths)

    assert reason(report, "padding") == snapshot(
        "the output has other steps than the input: which are valid is not known"
    )
    assert {"batch", "memory"} <= set(report.checked)


def test_no_sample_alone_to_compare() -> None:
    """If no sample alone has as many steps as in the batch, nothing was compared, which is said."""
    lengths = torch.tensor([6, 4, 2, 4])
    parts = {"lower": gru(), "upper": gru(12)}
    report = rnnkit.verify(
        Model(pyramid, **parts), numbers(BATCH, 8, FEATURE), lengths, lengths=lengths
    )

    assert reason(report, "alone") == reason(report, "padding")


def one_size(m: Any, x: Tensor, lengths: Tensor, *_: Any) -> Tensor:
    """Start from a state of one batch size, and halve the steps."""
    y = m.gru(x, torch.zeros(1, BATCH, 6))[0] * mask(lengths).unsqueeze(2)
    return y[:, ::2]


def test_padding_of_one_batch_size() -> None:
    """Where no sample runs alone, an output with a further axis may have steps of its own."""
    report = rnnkit.verify(Model(one_size, gru=gru()), PADDED, COUNTS, lengths=LENGTHS)
    assert reason(report, "padding") == snapshot("no output follows the batch")

    model = Model(lambda m, *given: one_size(m, *given).sum((1, 2)), gru=gru())
    report = rnnkit.verify(model, PADDED, COUNTS, lengths=LENGTHS)
    assert "padding" in report.checked


def trimmed(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """Pack, and pad to the longest."""
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(m.gru(given)[0], batch_first=True)[0]


SHORT = torch.tensor([3, 5, 2, 4, 9])
LONG = numbers(5, 9, FEATURE)


def test_trimmed_output() -> None:
    """An output as long as the longest sample has the input's steps, up to there."""
    model = Model(trimmed, gru=gru())
    report = rnnkit.verify(model, LONG, SHORT, lengths=SHORT)
    assert {"batch", "alone", "padding", "memory"} <= set(report.checked)

    for told in ({}, {"out_seq_dim": 1}):
        report = rnnkit.verify(model, LONG, SHORT, lengths=SHORT, causal=True, **told)
        assert "causal" in report.checked


def test_trimmed_output_that_looks_ahead() -> None:
    """Told where its steps are, a trimmed output is judged as any other."""
    model = Model(trimmed, gru=gru(bidirectional=True))
    with pytest.raises(rnnkit.LeakError, match="output of step 0 depends on input of step"):
        rnnkit.verify(model, LONG, SHORT, lengths=SHORT, causal=True, out_seq_dim=1)


def test_trimmed_output_that_reads_padding() -> None:
    """Padding that is pooled is found in a trimmed output."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        y: Tensor = m.gru(x)[0]
        return (y + y.mean(1, keepdim=True))[:, : int(lengths.max())]

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Model(compute, gru=gru()), LONG, SHORT, lengths=SHORT)

    assert error.value.probe == "alone"


def test_infinite_outputs_hide_nothing() -> None:
    """A difference is measured beside the finite outputs."""

    def compute(m: Any, x: Tensor, _: Tensor) -> Tensor:
        y: Tensor = m.gru(x)[0].mean(1)
        return torch.cat([torch.full((len(x), 1), -torch.inf), y], 1)

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Model(compute, gru=gru()), PADDED, COUNTS, lengths=LENGTHS)

    assert error.value.probe == "alone"


def decoder() -> nn.Module:
    """Make an encoder and a decoder that is given the targets."""

    def compute(m: Any, source: Tensor, target: Tensor) -> Tensor:
        return m.decoder(m.embed(target), m.encoder(m.embed(source))[1])[0]

    return Model(compute, embed=nn.Embedding(11, FEATURE), encoder=gru(), decoder=gru())


@pytest.mark.parametrize("steps", [5, SEQ])
def test_decoder_of_any_length(steps: int) -> None:
    """A decoder may read all of its source: it is the target's steps that are judged."""
    model = decoder()
    report = rnnkit.verify(model, tokens(BATCH, SEQ), tokens(BATCH, steps) % 7, causal=True)
    assert "causal" in report.checked

    model.decoder = gru(bidirectional=True, num_layers=1)
    model.encoder = gru(bidirectional=True)
    with pytest.raises(rnnkit.LeakError, match="decoder is bidirectional"):
        rnnkit.verify(model, tokens(BATCH, SEQ), tokens(BATCH, steps) % 7, causal=True)


@pytest.mark.parametrize("right", [True, False])
def test_decoder_with_its_source_fixed(right: bool) -> None:
    """With the source fixed in a wrapper, the target alone is judged."""
    inner = decoder()
    inner.decoder = gru(bidirectional=not right, num_layers=1)
    if not right:
        inner.encoder = gru(bidirectional=True)
    source = tokens(1, SEQ)
    model = Model(lambda m, target: m.inner(source.expand(len(target), -1), target), inner=inner)
    if right:
        assert "causal" in rnnkit.verify(model, tokens(BATCH, 5), causal=True).checked
        return
    with pytest.raises(rnnkit.LeakError, match=r"inner\.decoder is bidirectional"):
        rnnkit.verify(model, tokens(BATCH, 5), causal=True)


def test_two_inputs_that_both_look_ahead() -> None:
    """Where each of several inputs shows it, none is named."""

    def compute(m: Any, x: Tensor, y: Tensor) -> Tensor:
        return m.gru(torch.cat([x, y], 2))[0]

    model = Model(compute, gru=gru(2 * FEATURE, bidirectional=True))
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(
            model, numbers(BATCH, SEQ, FEATURE), numbers(BATCH, SEQ, FEATURE), causal=True
        )

    assert "through" not in str(error.value)


def convolved(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """A convolution that reads one step beyond each length."""
    packed = pack_padded_sequence(m.conv(x.mT).mT, lengths, batch_first=True, enforce_sorted=False)
    h: Tensor = m.gru(packed)[1][-1]
    return h


def test_zeros_beyond_a_length_may_be_read() -> None:
    """Past the end of a sample alone a convolution reads zeros, too: the batch gives the same."""
    model = Model(convolved, conv=nn.Conv1d(FEATURE, FEATURE, 3, padding=1), gru=gru())
    report = rnnkit.verify(model, PADDED, COUNTS, lengths=COUNTS)

    assert "alone" in report.checked
    assert reason(report, "padding") == snapshot(
        "zeros beyond a length are read, and a sample alone gives the same"
    )


def test_numbers_beyond_a_length_may_not_be_read() -> None:
    """Of other padding the same model gives something else than for each sample alone."""
    model = Model(convolved, conv=nn.Conv1d(FEATURE, FEATURE, 3, padding=1), gru=gru())
    x = numbers(BATCH, SEQ, FEATURE)

    for skip in ("alone", "padding"):
        with pytest.raises(rnnkit.LeakError) as caught:
            rnnkit.verify(model, x, COUNTS, lengths=COUNTS, skip=[skip])
        assert {caught.value.probe, skip} == {"alone", "padding"}


def test_padded_outputs_that_are_not_flipped_back() -> None:
    """Outputs of a layer that ran backwards over each sample's own steps are flipped back so, too."""

    def flipped(x: Tensor, n: Tensor) -> Tensor:
        step = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        place = torch.where(step < n.unsqueeze(1), n.unsqueeze(1) - 1 - step, step)
        return x.gather(1, place.unsqueeze(2).expand_as(x))

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        back = m.two(flipped(x, n))[0]
        return torch.cat([m.one(x)[0], flipped(back, n) if m.right else back], 2)

    model = Model(compute, one=gru(), two=gru())
    for model.right in (True, False):
        report = rnnkit.verify(model, PADDED, COUNTS, lengths=LENGTHS, raises=False)
        assert [error.probe for error in report.findings] == ["use"] * (not model.right)
