"""Right programs of many kinds: ``verify`` accuses none of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    LENGTHS,
    SEQ,
    TWINS,
    Model,
    mask,
    numbers,
    padded,
    tokens,
)
from tests.diagnostics.small import gru

PADDED, COUNTS = padded()
BATCHED = numbers(BATCH, SEQ, FEATURE)
VALID = mask(COUNTS)


def attention() -> nn.Module:
    """Attend, then run a layer."""

    def compute(m: Any, x: Tensor, padding: Tensor) -> Tensor:
        wide = m.widen(x)
        seen, _ = m.attend(wide, wide, wide, key_padding_mask=padding)
        return m.gru(wide + seen)[0]

    attend = nn.MultiheadAttention(8, 2, batch_first=True)
    return Model(compute, widen=nn.Linear(FEATURE, 8), attend=attend, gru=gru(8))


def causal_transformer() -> nn.Module:
    """Encode with a causal mask, steps first."""

    def compute(m: Any, x: Tensor) -> Tensor:
        later = nn.Transformer.generate_square_subsequent_mask(len(x), dtype=x.dtype)
        return m.encoder(m.widen(x), mask=later, is_causal=True)

    layer = nn.TransformerEncoderLayer(8, 2, 16)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return Model(compute, widen=nn.Linear(FEATURE, 8), encoder=encoder)


def packed_inside(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """Pack and pad; the output is as long as the longest."""
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return m.head(pad_packed_sequence(m.gru(packed)[0], batch_first=True)[0])


def packed_returned(m: Any, x: Tensor, lengths: Tensor) -> Any:
    """Pack, and leave it to the caller to pad."""
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return m.gru(packed)


def packed_by_list(m: Any, x: Tensor, lengths: list[int]) -> Tensor:
    """Pack by a list."""
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return m.gru(packed)[1][-1]


def pooled(m: Any, x: Tensor, lengths: Tensor, valid: Tensor) -> Tensor:
    """Take the mean of what a mask says is valid."""
    return (m.gru(x)[0] * valid.unsqueeze(-1)).sum(1) / lengths.unsqueeze(1)


def convolved(m: Any, x: Tensor) -> Tensor:
    """Shorten the sequence, normalise, and run a layer over what is left."""
    short = m.norm(m.conv(x.transpose(1, 2)))
    return m.head(m.gru(short.transpose(1, 2))[0])


def speech(m: Any, x: Tensor) -> Tensor:
    """Run a convolution over a picture and a layer over its columns, as for CTC."""
    columns = m.conv(x).flatten(1, 2).permute(2, 0, 1)
    return m.head(m.lstm(columns)[0]).log_softmax(2)


def seq2seq(m: Any, source: Tensor, target: Tensor) -> Tensor:
    """Decode from the encoder's end state."""
    return m.decoder(m.embed(target), m.encoder(m.embed(source))[1])[0]


def compiled() -> Any:
    """Compile."""
    return torch.compile(TWINS["batch_first forgotten"].make(nn, True), backend="eager")


Programs = dict[str, tuple[Callable[[], Any], tuple[Any, ...], dict[str, Any]]]

PROGRAMS: Programs = {
    "attention with a padding mask": (attention, (PADDED, ~VALID), {"lengths": LENGTHS}),
    "causal transformer, steps first": (
        causal_transformer,
        (BATCHED.transpose(0, 1),),
        {"batch_dim": 1, "causal": True},
    ),
    "packed inside": (
        lambda: Model(packed_inside, gru=gru(bidirectional=True), head=nn.Linear(12, 2)),
        (PADDED, COUNTS),
        {"lengths": COUNTS},
    ),
    "packed inside, the longest not among those tried": (
        lambda: Model(packed_inside, gru=gru(), head=nn.Linear(6, 2)),
        (numbers(6, SEQ, FEATURE), torch.tensor([3, 2, 4, 2, 7, 7])),
        {"lengths": [3, 2, 4, 2, 7, 7]},
    ),
    "packed returned, as wide as the batch": (
        lambda: Model(packed_returned, gru=nn.GRU(FEATURE, BATCH, batch_first=True)),
        (PADDED, COUNTS),
        {"lengths": LENGTHS},
    ),
    "packed by a list": (
        lambda: Model(packed_by_list, gru=gru()),
        (numbers(8, SEQ, FEATURE), list(LENGTHS) * 2),
        {"lengths": LENGTHS * 2},
    ),
    "pooled by a mask of booleans": (
        lambda: Model(pooled, gru=gru()),
        (PADDED, COUNTS, VALID),
        {"lengths": LENGTHS},
    ),
    "pooled by a mask of integers": (
        lambda: Model(pooled, gru=gru()),
        (PADDED, COUNTS, VALID.long()),
        {"lengths": LENGTHS},
    ),
    "pooled by a mask of floats": (
        lambda: Model(pooled, gru=gru()),
        (PADDED, COUNTS, VALID.float()),
        {"lengths": LENGTHS},
    ),
    "rnnkit's lengths, steps first": (
        lambda: Model(
            lambda m, x, n: m.lstm(x, lengths=n),
            lstm=rnnkit.LSTM(FEATURE, 6, num_layers=2, bidirectional=True),
        ),
        (PADDED.transpose(0, 1), COUNTS),
        {"batch_dim": 1, "lengths": LENGTHS},
    ),
    "convolution and batch norm": (
        lambda: Model(
            convolved,
            conv=nn.Conv1d(FEATURE, 5, 3, stride=2),
            norm=nn.BatchNorm1d(5),
            gru=gru(5),
            head=nn.Linear(6, 2),
        ),
        (BATCHED,),
        {},
    ),
    "pictures for CTC": (
        lambda: Model(
            speech,
            conv=nn.Conv2d(1, 2, 3, padding=1),
            lstm=nn.LSTM(10, 4, bidirectional=True),
            head=nn.Linear(8, 6),
        ),
        (numbers(BATCH, 1, 5, 9),),
        {"seq_dim": 3},
    ),
    "layer norm, dropout": (
        lambda: nn.Sequential(nn.LayerNorm(FEATURE), nn.Dropout(0.5), nn.Linear(FEATURE, 2)),
        (BATCHED,),
        {"causal": True},
    ),
    "encoder and a shorter decoder": (
        lambda: Model(seq2seq, embed=nn.Embedding(11, FEATURE), encoder=gru(), decoder=gru()),
        (tokens(BATCH, SEQ), tokens(BATCH, 5)),
        {},
    ),
    "a dictionary": (
        lambda: Model(lambda m, x: dict(zip("ab", m.gru(x), strict=True)) | {"n": 3}, gru=gru()),
        (BATCHED,),
        {},
    ),
    "an LSTMState": (
        lambda: Model(lambda m, x: m.lstm(x)[1], lstm=rnnkit.LSTM(FEATURE, 6, batch_first=True)),
        (BATCHED,),
        {},
    ),
    "a state given": (
        lambda: nn.LSTM(FEATURE, 6, num_layers=2),
        (numbers(SEQ, 5, FEATURE), (numbers(2, 5, 6), numbers(2, 5, 6))),
        {"batch_dim": 1},
    ),
    "a state given, as many layers as samples": (
        lambda: gru(num_layers=BATCH),
        (BATCHED, numbers(BATCH, BATCH, 6)),
        {},
    ),
    "a state given, as many layers as samples in a large batch": (
        lambda: gru(num_layers=6),
        (numbers(6, SEQ, FEATURE), numbers(6, 6, 6)),
        {},
    ),
    "batch-first states": (
        lambda: rnnkit.GRU(FEATURE, 6, num_layers=2, batch_first=True, state_batch_first=True),
        (BATCHED,),
        {},
    ),
    "compiled": (compiled, (BATCHED,), {}),
    "one sample": (gru, (numbers(1, SEQ, FEATURE),), {"causal": True}),
    "one step": (gru, (numbers(BATCH, 1, FEATURE),), {"causal": True}),
    "one step of one sample": (gru, (numbers(1, 1, FEATURE),), {"causal": True}),
    "a large batch": (gru, (numbers(200, SEQ, FEATURE),), {"causal": True}),
    "samples that are all the same": (gru, (torch.ones(BATCH, SEQ, FEATURE),), {}),
    "no number is finite": (gru, (torch.full((BATCH, SEQ, FEATURE), torch.nan),), {}),
    "one token everywhere": (
        lambda: TWINS["bidirectional language model"].make(nn, True),
        (torch.ones(BATCH, SEQ, dtype=torch.long),),
        {"causal": True},
    ),
    "integers as numbers": (
        lambda: Model(lambda m, x: m.gru(x.to(m.gru.weight_hh_l0.dtype))[0], gru=gru()),
        (tokens(BATCH, SEQ, FEATURE),),
        {},
    ),
    "a mean over all, as long as the batch": (
        lambda: Model(
            lambda m, x: m.head(m.gru(x)[0].mean((0, 1))), gru=gru(), head=nn.Linear(6, BATCH)
        ),
        (BATCHED,),
        {},
    ),
    "a vocabulary of labels": (
        lambda: Model(lambda m, x: m.gru(x)[0].argmax(2), gru=gru()),
        (BATCHED,),
        {},
    ),
    "both ends of all layers": (
        lambda: Model(
            lambda m, x: m.gru(x)[1].transpose(0, 1).flatten(1),
            gru=gru(num_layers=2, bidirectional=True),
        ),
        (BATCHED,),
        {},
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_right_program_passes(name: str, training: bool) -> None:
    """A right program is accused of nothing, in either mode, and costs a few dozen runs."""
    make, inputs, options = PROGRAMS[name]
    report = rnnkit.verify(make().train(training), *inputs, **options)

    assert "repeatable" in report.checked
    assert report.passes < 40
