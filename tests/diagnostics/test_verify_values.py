"""What inputs are replaced by: values that the model takes, and that differ."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.changes import other_values
from rnnkit._diagnostics.lengths import padding
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers, reason, tokens


def columns(m: Any, x: Tensor) -> Tensor:
    """Embed two columns, of 7 and of 100 kinds."""
    x = x.long()
    output: Tensor = m.gru(torch.cat([m.few(x[..., 0]), m.many(x[..., 1])], -1))[0]
    return output


def categorical() -> nn.Module:
    """Make a model of two columns of categories."""
    layer = nn.GRU(8, 6, batch_first=True)
    return Model(columns, few=nn.Embedding(7, 4), many=nn.Embedding(100, 4), gru=layer)


@pytest.mark.parametrize("dtype", [torch.long, torch.int16, torch.float, torch.half])
def test_categories_stay_in_their_column(dtype: torch.dtype) -> None:
    """A column of few categories gets none of another column, as integers or as floats."""
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        few = torch.randint(7, (BATCH, SEQ), generator=generator)
        many = torch.randint(100, (BATCH, SEQ), generator=generator)
        report = rnnkit.verify(categorical(), torch.stack([few, many], -1).to(dtype), causal=True)

        assert {"batch", "causal", "memory"} <= set(report.checked)


def test_numbers_beside_categories() -> None:
    """A column of numbers is moved, and a column of categories beside it stays whole."""

    def compute(m: Any, x: Tensor) -> Tensor:
        output: Tensor = m.gru(torch.cat([m.few(x[..., 0].long()), x[..., 1:]], -1))[0]
        return output

    few = torch.randint(7, (BATCH, SEQ, 1), generator=torch.Generator().manual_seed(2))
    x = torch.cat([few, numbers(BATCH, SEQ, 2)], -1)
    layer = nn.GRU(6, 6, batch_first=True)
    report = rnnkit.verify(Model(compute, few=nn.Embedding(7, 4), gru=layer), x)

    assert "batch" in report.checked


def test_static_categories() -> None:
    """A column of a table beside the steps gets values of that column, too."""

    def compute(m: Any, x: Tensor, table: Tensor) -> Tensor:
        return m.gru(x)[1][0] + m.few(table[:, 0]) + m.many(table[:, 1])

    table = torch.stack([torch.arange(4) % 3, torch.arange(4) * 20], 1)
    tables = {"few": nn.Embedding(3, 4), "many": nn.Embedding(61, 4)}
    model = Model(compute, gru=nn.GRU(FEATURE, 4, batch_first=True), **tables)

    assert "batch" in rnnkit.verify(model, numbers(4, SEQ, FEATURE), table).checked


ALL = torch.tensor([[True]])


@pytest.mark.parametrize(
    "leaf",
    [
        tokens(BATCH, SEQ),
        tokens(BATCH, SEQ, 2),
        nn.functional.one_hot(tokens(BATCH, SEQ)),
        nn.functional.one_hot(tokens(BATCH, SEQ)).float(),
        nn.functional.one_hot(tokens(BATCH, SEQ)).bool(),
        tokens(BATCH, SEQ) % 2 == 0,
        (tokens(BATCH, SEQ) % 2).to(torch.bfloat16),
    ],
)
def test_rows_that_occur(leaf: Tensor) -> None:
    """Each step gets the features of another one, as a whole, which differ from its own."""
    rows = leaf.reshape(BATCH * SEQ, -1).tolist()
    for seed in range(3):
        others = other_values(leaf, (0, 1), seed=seed).reshape(BATCH * SEQ, -1).tolist()

        assert all(other in rows for other in others)
        assert all(other != row for other, row in zip(others, rows, strict=True))


def test_layout_in_memory() -> None:
    """A model may view what it is given: what is replaced is in memory as before."""
    x = numbers(4, 6, 5, 3)

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x.view(-1, 5, 3))[0][:, -1].view(-1, 6)

    model = Model(compute, gru=nn.GRU(3, 1, batch_first=True))

    assert "batch" in rnnkit.verify(model, x, seq_dim=2).checked


def test_padding() -> None:
    """Zeros at one end of the samples are padding; zeros that are also elsewhere are not."""
    valid = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    for turned in (valid, valid.flip(1)):
        assert torch.equal(padding(turned.float() * 3, 0, 1), ~turned)
        assert torch.equal(padding(numbers(4, 3, 2) * turned.t().unsqueeze(2), 1, 0), ~turned)
    assert padding(tokens(3, 4), 0, 1) is None
    assert padding(torch.zeros(3, 4), 0, 1) is None
    assert padding(torch.tensor([[1, 0, 1], [1, 1, 0]]), 0, 1) is None
    assert padding(torch.tensor([[0, 0, 0], [1, 1, 0]]), 0, 1) is None
    assert padding(torch.tensor([[0, 1, 1], [1, 1, 0]]), 0, 1) is None


def tagger(**options: Any) -> nn.Module:
    """Make a model of tokens."""
    layer = nn.LSTM(8, 6, **{"batch_first": True, **options})
    return Model(lambda m, x: m.lstm(m.embed(x))[0], embed=nn.Embedding(50, 8), lstm=layer)


def test_one_token_everywhere() -> None:
    """Inputs that cannot be changed show nothing, which is said of each probe."""
    x = torch.zeros(5, SEQ, dtype=torch.long)
    report = rnnkit.verify(tagger(bidirectional=True), x, causal=True)

    assert reason(report, "batch") == snapshot(
        "the inputs have the same values everywhere: give inputs that differ"
    )
    assert reason(report, "causal") == reason(report, "batch")
    assert reason(report, "memory") == reason(report, "batch")


def test_samples_that_cannot_be_changed() -> None:
    """Where some of the samples can be changed, those are."""
    x = torch.zeros(BATCH, 1, dtype=torch.long)
    x[0] = 1
    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(tagger(batch_first=False), x)


@pytest.mark.parametrize("dtype", [torch.float, torch.long, torch.bool])
def test_first_input_is_no_mask(dtype: torch.dtype) -> None:
    """A series of zeros and ones is replaced, though lengths are given beside it."""

    def compute(m: Any, x: Tensor, _: Tensor) -> Tensor:
        output: Tensor = m.lstm(x.unsqueeze(2).float())[0]
        return output

    x = torch.randint(2, (5, SEQ), generator=torch.Generator().manual_seed(1)).to(dtype)
    layer = nn.LSTM(1, 6, batch_first=True, bidirectional=True)
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Model(compute, lstm=layer), x, torch.tensor([7, 6, 5, 4, 3]), causal=True)

    assert error.value.probe == "causal"


def test_model_that_refuses_other_values() -> None:
    """What a model raises on changed inputs alone is why it is not judged by them."""
    x = numbers(BATCH, SEQ, FEATURE)

    def compute(m: Any, given: Tensor) -> Tensor:
        if not torch.isin(given, x).all():
            message = "what is this?"
            raise KeyError(message)
        output: Tensor = m.gru(given)[0]
        return output

    model = Model(compute, gru=nn.GRU(FEATURE, 6, batch_first=True))
    report = rnnkit.verify(model, x)

    assert reason(report, "batch") == snapshot(
        "the model refuses changed values of its inputs, drawn from those that occur: KeyError: 'what is this?'"
    )
    assert {"alone", "memory", "coverage"} <= {*report.checked}


def test_complex_numbers() -> None:
    """Complex inputs and outputs are judged as pairs of numbers."""
    x = torch.view_as_complex(numbers(5, SEQ, FEATURE, 2))

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(torch.view_as_real(x).flatten(2))[0]
        return torch.view_as_complex(y.reshape(*y.shape[:2], -1, 2))

    model = Model(compute, gru=nn.GRU(2 * FEATURE, 6, batch_first=True))
    report = rnnkit.verify(model, x, causal=True)
    assert {"batch", "alone", "causal", "memory"} <= set(report.checked)

    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(Model(compute, gru=nn.GRU(2 * FEATURE, 6)), x)
