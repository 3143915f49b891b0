"""Right models whose structure looks like a mistake: slots, teachers, graphs, squares."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.isolation import Given, session
from rnnkit._diagnostics.widened import open_wide
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers, reason

X = numbers(BATCH, SEQ, FEATURE)


def slots(m: Any, x: Tensor, who: Tensor) -> Tensor:
    """Go on with the state of the one that a step is about."""
    rows = torch.arange(len(x), device="cpu")
    held = x.new_zeros(len(x), SEQ, HIDDEN)
    for step in range(x.shape[1]):
        at = who[:, step] if m.is_right else who[:, step] * 0 + step
        held = held.index_put((rows, at), m.cell(x[:, step], held[rows, at]))
    return held.sum(1)


def test_state_of_each_of_many() -> None:
    """Each step is about another one, and starts from its zeros; an index shows the memory."""
    who = torch.stack([torch.randperm(SEQ, device="cpu") for _ in range(BATCH)])
    made = Model(slots, cell=nn.GRUCell(FEATURE, HIDDEN))
    made.is_right = True
    assert "use" in rnnkit.verify(made, X, who).checked

    made.is_right = False
    with pytest.raises(rnnkit.LeakError, match="starts each of them afresh"):
        rnnkit.verify(made, X, who)


def test_index_that_is_refused() -> None:
    """An index that must not come twice leaves the finding as it is."""

    def compute(m: Any, x: Tensor, who: Tensor) -> Tensor:
        assert all(len(set(row)) == len(row) for row in who.tolist())
        return torch.stack([m.cell(x[:, step]) for step in range(x.shape[1])], 1).sum(1)

    who = torch.stack([torch.randperm(SEQ, device="cpu") for _ in range(BATCH)])
    with pytest.raises(rnnkit.LeakError, match="starts each of them afresh"):
        rnnkit.verify(Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN)), X, who)


@pytest.mark.parametrize("learns", [False, True])
def test_teacher_that_is_not_called(learns: bool) -> None:
    """A copy that does not learn stands beside a layer that reads a sequence both ways."""

    def compute(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return m.gru(x)[1][0], m.gru(x.flip(1))[1][0]

    layers = [nn.GRU(FEATURE, HIDDEN, batch_first=True) for _ in range(2)]
    made = Model(compute, gru=layers[0], teacher=layers[1].requires_grad_(learns))
    found = [error.probe for error in rnnkit.verify(made, X, raises=False).findings]
    assert found == ["use"] * learns


def test_weights_between_nodes() -> None:
    """As many nodes as samples and steps: what the weights join is not the samples."""

    def compute(m: Any, x: Tensor, weights: Tensor) -> Tensor:
        y = torch.einsum("ij,btjd->btid", weights.softmax(1), x)
        return m.gru(y.transpose(1, 2).flatten(0, 1))[0].unflatten(0, (len(x), -1)).transpose(1, 2)

    made = Model(compute, gru=nn.GRU(3, HIDDEN, batch_first=True))
    report = rnnkit.verify(made, numbers(5, 5, 5, 3), numbers(5, 5), causal=True)
    assert {"batch", "causal"} <= set(report.checked)


@pytest.mark.parametrize("size", range(2, 7))
def test_rows_that_values_pick(size: int) -> None:
    """As many rows as samples or steps, by chance, are neither."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x)[0]
        return y[x[..., 0] > 0]

    made = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    x = numbers(4, 4, FEATURE)
    for seed in range(10):
        places = torch.randperm(16, generator=torch.Generator("cpu").manual_seed(seed)) < size
        x[..., 0] = torch.where(places.view(4, 4), 1.0, -1.0)
        assert rnnkit.verify(made, x, raises=False).findings == []


def test_more_calls_than_steps() -> None:
    """A cell that is called several times at each step is counted, and is no loop of so many."""

    def compute(m: Any, x: Tensor) -> Tensor:
        ys = [m.cell(torch.tanh(m.cell(x[:, 0])))]
        return torch.stack([*ys, *(m.cell(x[:, k] * 2) for k in range(x.shape[1]))], 1).sum(1)

    made = Model(compute, cell=nn.GRUCell(FEATURE, FEATURE))
    assert rnnkit.verify(made, X[:, :3], raises=False, skip=["memory"]).findings == []


def test_batch_norm_of_zeros() -> None:
    """What is the same with its axes exchanged does not tell which of them the channels are."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(m.norm(x.mT).mT)[0]

    gru = nn.GRU(SEQ, HIDDEN, batch_first=True)
    made = Model(compute, norm=nn.BatchNorm1d(SEQ), gru=gru)
    zeros = torch.zeros(BATCH, SEQ, SEQ, device="cpu")
    assert rnnkit.verify(made, zeros, raises=False).findings == []


@pytest.mark.filterwarnings("ignore:torch.*quanti:DeprecationWarning", "ignore:torch.quantize")
@pytest.mark.parametrize("by", [1.0, 1e4])
def test_layers_that_round_by_a_range(by: float) -> None:
    """A quantized layer takes its scale from all samples: that is rounding, or is not judged."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.head(m.lstm(x)[0])

    torch.manual_seed(0)
    lstm, head = nn.LSTM(FEATURE, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 2)
    floats = Model(compute, lstm=lstm, head=head).eval()
    made = torch.ao.quantization.quantize_dynamic(floats, {nn.LSTM}, dtype=torch.qint8)
    report = rnnkit.verify(made, X * by, causal=True, raises=False)
    assert report.findings == []


@pytest.mark.filterwarnings("ignore:torch.*quanti:DeprecationWarning", "ignore:torch.quantize")
def test_leak_beside_a_layer_that_rounds_by_a_range() -> None:
    """What a quantized layer hides is not judged, and the report says what would be."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.lstm(x)[0] + x.mean((0, 2), keepdim=True)

    floats = Model(compute, lstm=nn.LSTM(FEATURE, HIDDEN, batch_first=True)).eval()
    made = torch.ao.quantization.quantize_dynamic(floats, {nn.LSTM}, dtype=torch.qint8)
    report = rnnkit.verify(made, X, raises=False)
    assert "batch" not in report.checked
    assert "a quantized layer rounds by the largest number of all" in str(report)


def test_float32_inside_of_float64() -> None:
    """What cancels out in float32 may be returned in float64."""

    def compute(m: Any, x: Tensor) -> Tensor:
        steps = x.shape[1]
        kernel = torch.fft.rfft(m.kernel[:steps], 2 * steps, 0)
        y = torch.fft.rfft(x.float(), 2 * steps, 1) * kernel
        return m.gru(torch.fft.irfft(y, 2 * steps, 1)[:, :steps].double())[0]

    made = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True)).double()
    made.kernel = 0.8 ** torch.arange(SEQ, device="cpu").float().unsqueeze(1)
    report = rnnkit.verify(made, X.double(), causal=True)
    assert "causal" in report.checked


def test_why_integers_are_not_compared() -> None:
    """Of integers, the report says so, and not that the steps are others."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG001
        return m.gru(x)[0].argmax(2)

    lengths = torch.tensor([SEQ, 3, 2, 4, 1][:BATCH], device="cpu")
    made = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    report = rnnkit.verify(made, X, lengths, lengths=lengths)
    assert reason(report, "alone") == "the outputs are integers, which rounding may turn"
    assert reason(report, "padding") == "the outputs are integers"


#: Models that a copy in float64 computes as they are.
WIDENED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a plain tensor in float32, within its memory": lambda m, x: x * m.factors,
    "sizes that are counted": lambda m, x: m.layer(x.view(x.shape[:2].numel(), -1)),
}


@pytest.mark.parametrize("name", WIDENED)
def test_copy_in_float64(name: str) -> None:
    """A copy in float64 computes what the model does."""
    made = Model(WIDENED[name], layer=nn.Linear(FEATURE, FEATURE))
    made.factors = 1 + torch.arange(FEATURE, device="cpu").float()
    given = Given((X,), {})
    with session(made) as opened:
        (normal,) = opened.run(given)
        wide = open_wide(opened, torch.float64).run(Given((X.double(),), {}))

    assert wide[0].dtype is torch.float64
    torch.testing.assert_close(wide[0].float(), normal)
