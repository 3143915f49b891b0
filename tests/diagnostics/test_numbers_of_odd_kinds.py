"""Inputs and outputs whose numbers are large, none, on no device, or of a kind that hardly computes."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import gru, lstm, said

X = numbers(BATCH, SEQ, FEATURE)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}])
def test_use_of_what_is_saturated(seed: int, options: dict[str, Any]) -> None:
    """A state is used where large inputs saturate each unit, though it changes nothing."""
    torch.manual_seed(seed)
    large = 1000 + 300 * X
    model = Model(
        lambda m, x: m.head(m.decoder(x, m.encoder(x)[1])[0]),
        encoder=lstm(**options),
        decoder=lstm(**options),
        head=nn.Linear(HIDDEN, 2),
    )

    assert rnnkit.verify(model, large, raises=False).findings == []


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_tokens_of_unsigned_kinds(dtype: torch.dtype) -> None:
    """Tokens may have a kind of numbers that torch hardly computes with."""
    tokens = torch.randint(1, 20, (BATCH, SEQ)).to(dtype)
    model = Model(lambda m, x: m.gru(m.words(x.long()))[0], words=nn.Embedding(20, 3), gru=gru(3))

    assert "causal" in rnnkit.verify(model, tokens, causal=True).checked
    assert rnnkit.dependency_map(model, tokens, dim=1).finding == snapshot(
        "each depends on its own and earlier inputs"
    )


def test_refused_changes_of_unsigned_tokens() -> None:
    """A model that refuses changed values of its tokens is not judged."""
    tokens = torch.randint(1, 20, (BATCH, SEQ)).to(torch.uint16)

    def picky(m: Any, x: Tensor) -> Tensor:
        if any(row not in tokens.tolist() for row in x.tolist()):
            raise ValueError
        return m.gru(m.words(x.long()))[0]

    model = Model(picky, words=nn.Embedding(20, 3), gru=gru(3))

    assert "refuses changed values" in str(rnnkit.verify(model, tokens, raises=False))


def test_meta_inputs() -> None:
    """Inputs without numbers are refused."""
    model = nn.GRU(FEATURE, HIDDEN, device="meta")
    for judge in (rnnkit.verify, rnnkit.dependency_map):
        with pytest.raises(rnnkit.ArgumentError) as error:
            judge(model, X.to("meta"))
        assert (error.value.argument, error.value.code) == ("inputs", "verify-meta")
        assert str(error.value).splitlines()[0] == snapshot(
            "an input on the meta device has no numbers, so nothing can be compared"
        )


def test_meta_outputs() -> None:
    """Outputs without numbers are not judged, and others are."""
    alone = Model(lambda m, x: m.gru(x)[0].to("meta"), gru=gru())
    beside = Model(lambda m, x: (m.gru(x)[0], x.to("meta")), gru=gru())

    assert not rnnkit.verify(alone, X).judged
    assert rnnkit.verify(beside, X).judged
    with pytest.raises(rnnkit.ArgumentError, match="no axis 0"):
        rnnkit.dependency_map(alone, X)


def test_map_of_what_becomes_none() -> None:
    """An output that is none for other inputs depends on them."""
    x = X.clone()
    x[0, 0, 0] = 1.0
    model = Model(lambda m, x: m.gru(x)[0] if x[0, 0, 0] == 1 else None, gru=gru())
    rank = Model(lambda m, x: m.gru(x)[0] if x[0, 0, 0] == 1 else m.gru(x)[0][0], gru=gru())

    for each in (model, rank):
        assert rnnkit.dependency_map(each, x).matrix[:, 0].all()


def test_text_of_no_number() -> None:
    """A NaN is called so, and not infinitely far off."""
    model = Model(lambda m, x: m.gru(x)[0] / (len(x) - 1), gru=gru())

    assert said(model).splitlines()[0] == snapshot(
        "sample 3 alone gives another output than in the batch: one of them has a NaN or an infinity, and the other a number"
    )
