"""Models of many kinds are judged, or it is said that they are not."""

import dataclasses
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from rnnkit.testing import assert_no_leak
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    SEQ,
    Model,
    mask,
    numbers,
    padded,
    reason,
    tokens,
)
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)


@dataclasses.dataclass
class Output:
    """What a model returns."""

    logits: Tensor
    loss: Any = None


WRAPS: dict[str, Callable[[Tensor], Any]] = {
    "a dataclass": Output,
    "a mapping": lambda y: UserDict(logits=y, loss=None),
    "a dataclass in a list": lambda y: [Output(y, y)],
    "a mapping of dataclasses": lambda y: UserDict(a=Output(y)),
    "a class": lambda y: (Output, y),
}


@pytest.mark.parametrize("name", WRAPS)
@pytest.mark.parametrize("right", [True, False])
def test_outputs_in_objects(name: str, right: bool) -> None:
    """The tensors of a dataclass, or of a mapping that torch does not know, are judged."""
    model = Model(lambda m, x: WRAPS[name](m.gru(x)[0]), gru=gru(batch_first=right))
    if right:
        assert "batch" in rnnkit.verify(model, X, causal=True).checked
        return
    with pytest.raises(rnnkit.LeakError, match="reads axis 0 of its input as seq"):
        rnnkit.verify(model, X)


def nested(right: bool) -> nn.Module:
    """Encode with a padding mask, for which torch takes nested tensors in eval mode."""

    def compute(m: Any, x: Tensor, valid: Tensor) -> Tensor:
        y = m.encoder(m.wide(x), src_key_padding_mask=~valid)
        pooled = (y * valid.unsqueeze(2)).sum(1)
        return m.head(pooled if right else pooled + pooled.mean(0))

    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2)
    return Model(compute, wide=nn.Linear(FEATURE, 8), encoder=encoder, head=nn.Linear(8, 2))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors() -> None:
    """A model that makes nested tensors inside is judged as any other."""
    x, lengths = padded()
    valid = mask(lengths)
    report = rnnkit.verify(nested(True), x, valid, lengths=lengths)
    assert {"batch", "alone", "padding"} <= set(report.checked)

    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(nested(False), x, valid)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_output() -> None:
    """A nested output is judged padded, as a packed one."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.nested.nested_tensor(list(m.gru(x)[0].unbind(0)))

    assert "batch" in rnnkit.verify(Model(compute, gru=gru()), X).checked


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("right", [True, False])
def test_scripted_model(right: bool) -> None:
    """A ScriptModule, which takes no hooks, is judged; where a leak shows first is not known."""
    model = torch.jit.script(nn.Sequential(nn.Linear(FEATURE, 4), Reader(batch_first=right)))
    if right:
        assert {"batch", "alone"} <= set(rnnkit.verify(model, X).checked)
        return
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, X)
    assert str(error.value) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      not found: no hooks can be put on a ScriptModule
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


class Reader(nn.Module):
    """A layer whose output alone counts."""

    def __init__(self, batch_first: bool) -> None:
        """Make the layer."""
        super().__init__()
        self.gru = nn.GRU(4, 6, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        y: Tensor = self.gru(x)[0]
        return y


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_part() -> None:
    """A part that takes no hooks is passed over on the way to the first module."""
    model = Model(
        lambda m, x: m.reader(m.part(x)),
        part=torch.jit.script(nn.Linear(FEATURE, 4)),
        reader=Reader(batch_first=False),
    )
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, X)

    assert error.value.module == "reader.gru"


def gradient(m: Any, x: Tensor, enabled: bool) -> Tensor:
    """Differentiate inside."""
    with torch.set_grad_enabled(enabled or torch.is_grad_enabled()):
        x = x.detach().requires_grad_()
        energy = m.gru(x)[0].square().sum()
        return torch.autograd.grad(energy, x)[0]


def test_gradients_inside() -> None:
    """A model that differentiates inside is judged; if it needs the caller's mode, a note says so."""
    model = Model(lambda m, x: gradient(m, x, True), gru=gru())
    assert "batch" in rnnkit.verify(model, X).checked

    with pytest.raises(RuntimeError, match="does not require grad") as error:
        rnnkit.verify(Model(lambda m, x: gradient(m, x, False), gru=gru()), X)
    assert error.value.__notes__ == snapshot(
        [
            "rnnkit.verify runs the model without gradients: what is differentiated inside of forward belongs under torch.enable_grad()"
        ]
    )


def test_words_of_characters() -> None:
    """A layer over the characters of each word remembers, though not from word to word."""

    def compute(m: Any, x: Tensor) -> Tensor:
        batch, words, length = x.shape
        return m.gru(m.embed(x.reshape(batch * words, length)))[1][0].view(batch, words, -1)

    model = Model(compute, embed=nn.Embedding(11, 4), gru=gru(4))
    report = rnnkit.verify(model, tokens(BATCH, 6, 5))
    assert reason(report, "memory") == snapshot(
        "layers read several steps, but not along axis 1; give seq_dim"
    )

    assert "memory" in rnnkit.verify(model, tokens(BATCH, 6, 5), seq_dim=2).checked


def test_channels_on_their_own() -> None:
    """A forecast of each channel by itself is no loop that forgets."""

    def compute(m: Any, x: Tensor) -> Tensor:
        batch, channels, seq = x.shape
        y = m.head(m.gru(x.reshape(batch * channels, 1, seq).permute(2, 0, 1))[0])
        return y.permute(1, 2, 0).reshape(batch, channels, seq)

    model = Model(compute, gru=gru(1, batch_first=False), head=nn.Linear(6, 1))
    report = rnnkit.verify(model, numbers(BATCH, 3, 9))

    assert (
        reason(report, "memory") == "layers read several steps, but not along axis 1; give seq_dim"
    )


@pytest.mark.parametrize("seed", range(40))
def test_decisions_may_stay_the_same(seed: int) -> None:
    """A decision that stays the same whatever came before is no proof of a short memory."""
    torch.manual_seed(seed)
    model = Model(lambda m, x: m.head(m.gru(x)[1][0]).argmax(1), gru=gru(), head=nn.Linear(6, 2))
    report = rnnkit.verify(model, X)

    assert reason(report, "memory") == snapshot(
        "the outputs are integers, which may stay the same by chance"
    )


def test_calls_of_cells() -> None:
    """Of cells, it is what goes into them that is looked at, which is said."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h = None
        for x_t in x.unbind(1):
            h = m.cell(x_t, h)
        return h

    report = rnnkit.verify(Model(compute, cell=nn.GRUCell(FEATURE, 6)), X)

    assert "memory" in report.checked
    both = Model(
        lambda m, x: compute(m, m.gru(x)[0]),
        gru=nn.GRU(FEATURE, FEATURE, batch_first=True),
        cell=nn.GRUCell(FEATURE, 6),
    )
    reports = [report, rnnkit.verify(both, X)]
    details = [c.detail for one in reports for c in one.checks if c.probe == "use"]
    assert details == snapshot(
        [
            "what goes into 7 calls of cells",
            "outputs and states of 1 layer call, and what goes into 7 calls of cells",
        ]
    )


UNJUDGED: dict[str, Callable[..., Any]] = {
    "a loss": lambda m, x: m.gru(x)[0].mean(),
    "flattened logits": lambda m, x: m.gru(x)[0].flatten(0, 1),
    "an object": lambda m, x: type("Any", (), {"y": m.gru(x)[0]})(),
}


@pytest.mark.parametrize("name", UNJUDGED)
def test_a_test_that_judges_nothing_fails(name: str) -> None:
    """A model of whose outputs none can be judged fails a test, and says why."""
    model = Model(UNJUDGED[name], gru=gru(batch_first=False))
    with pytest.raises(AssertionError, match="nothing was judged: no output follows the batch"):
        assert_no_leak(model, X)


def test_a_test_that_leaves_it_out() -> None:
    """Whoever leaves the probe of the batch out knows that little is judged."""
    report = assert_no_leak(Model(UNJUDGED["a loss"], gru=gru()), X, skip=["batch"])

    assert not report.judged


def test_empty_report() -> None:
    """A report of nothing is one, too."""
    assert str(rnnkit.Report()) == snapshot(
        "rnnkit.verify: nothing was judged (0 probes judged; 0 forward passes, 0.00 s)"
    )
