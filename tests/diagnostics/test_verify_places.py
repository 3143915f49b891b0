"""Where a leak first shows, and outputs that cannot be compared, probe by probe."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from beartype import beartype
from inline_snapshot import snapshot
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

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
from tests.diagnostics.small import gru, said

X = numbers(BATCH, SEQ, FEATURE)
PADDED, COUNTS = padded()


def test_model_of_one_batch_size() -> None:
    """Where no sample can be left out, the axis is the one that is as long as the batch."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x.view(BATCH, SEQ, FEATURE))[0]

    assert said(Model(compute, gru=gru(batch_first=False))) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      gru (GRU), output of call 0
  cause      gru reads axis 0 of its input as seq, but the batch is there
  fix        GRU(..., batch_first=True), or input.transpose(0, 1)
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_other_modules_on_other_values() -> None:
    """Where values decide which modules are called, no module is named."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x)[0]
        for _ in range(wavering(1, x)):
            y = y + m.one(x)
        return y

    assert said(Model(compute, gru=gru(), one=nn.Linear(FEATURE, 6))) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      not found: the model calls other modules on other values
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_step_that_a_convolution_reads() -> None:
    """A module that is no recurrent layer is named, with no cause made up."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.conv(x.transpose(1, 2)).transpose(1, 2)

    model = Model(compute, conv=nn.Conv1d(FEATURE, 4, 3, padding=1))
    assert said(model, causal=True) == snapshot("""\
output of step 2 depends on input of step 3 or later
  first      conv (Conv1d), output of call 0
  by         conv1d(1, 1, 1, 1)
  at         test_verify_places.py:...
  fix        run no backward direction; pad a convolution on the left; mask attention
  intended?  rnnkit.verify(..., skip=['causal'])
  more       python -m rnnkit explain causal\
""")


class Mixed(nn.GRU):
    """A layer that mixes samples itself."""

    def forward(self, x: Tensor) -> Any:
        """Run, and add what is common."""
        output, state = super().forward(x)
        return output + output.mean(0), state


def test_layer_that_mixes_otherwise() -> None:
    """A layer in the right layout is named, with no cause made up."""
    model = Model(lambda m, x: m.gru(x)[0], gru=Mixed(FEATURE, 6, batch_first=True))
    assert said(model) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      gru (Mixed), output of call 0
  at         test_verify_places.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_padding_that_is_not_there() -> None:
    """Where all samples are as long as the batch, or tokens tell by value, nothing is tried."""
    model = Model(lambda m, x, n: m.gru(x)[0], gru=gru())  # noqa: ARG005
    full = torch.full((BATCH,), SEQ)
    report = rnnkit.verify(model, X, full, lengths=full)
    assert reason(report, "padding") == snapshot("every sample is as long as the batch")

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        return m.gru(m.embed(x))[0] * mask(n, x.shape[1]).unsqueeze(2)

    model = Model(compute, embed=nn.Embedding(11, FEATURE), gru=gru())
    report = rnnkit.verify(model, tokens(BATCH, SEQ), COUNTS, lengths=LENGTHS)
    assert reason(report, "padding") == snapshot("tokens: padding is known by its value")


def wavering(steps: int, x: Tensor) -> int:
    """Return a number that hangs on all values."""
    return int(1e6 * x.abs().sum()) % 977 + steps


def test_outputs_that_hang_on_a_layer() -> None:
    """Outputs whose number hangs on what a layer returns are no obstacle to any probe."""

    def compute(m: Any, x: Tensor) -> Any:
        y = m.gru(x)[0]
        return [y] * wavering(1, y) + [None if wavering(0, y) % 2 else y]

    report = rnnkit.verify(Model(compute, gru=gru()), X)

    assert "use" in report.checked


def test_steps_that_waver() -> None:
    """An output that has another shape for other values is not judged step by step."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x)[0].mean(2, keepdim=True) * torch.ones(wavering(1, x))

    report = rnnkit.verify(Model(compute, gru=gru()), X, causal=True, out_seq_dim=1)

    assert "nothing can be compared" in reason(report, "causal")


def test_sample_that_loses_its_batch_axis() -> None:
    """A pooled output that loses its axis for one sample has no steps of its own."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        return (m.gru(x)[0] * mask(n, x.shape[1]).unsqueeze(2)).sum(1).squeeze()

    report = rnnkit.verify(Model(compute, gru=gru()), PADDED, COUNTS, lengths=LENGTHS)

    assert {"alone", "padding"} <= set(report.checked)


def test_sample_that_loses_its_steps() -> None:
    """A sample of one step that loses its axis alone is not compared, and the others are."""
    lengths = torch.tensor([1, 3, 5, 7])

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        return (m.gru(x)[0] * mask(n, x.shape[1]).unsqueeze(2)).squeeze()

    report = rnnkit.verify(Model(compute, gru=gru()), X, lengths, lengths=lengths)

    assert "alone" in report.checked


def test_place_in_a_decorated_forward() -> None:
    """The line that is named is the user's own, also where jaxtyping and beartype stand between."""

    class Averaged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = gru()

        @jaxtyped(typechecker=beartype)
        def forward(self, x: Float[Tensor, "batch seq feature"]) -> Float[Tensor, "..."]:
            output: Tensor = self.gru(x)[0]
            return output - output.mean(0)

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Averaged(), X)

    assert re.search(r"at +test_verify_places.py:\d+", str(error.value))


def routed(m: Any, x: Tensor) -> Tensor:
    """Weigh two experts by a softmax over all rows, in place of over the experts."""
    y = m.gru(x)[0].flatten(0, 1)
    weights = m.gate(y).softmax(0)
    mixed = weights[:, :1] * m.one(y) + weights[:, 1:] * m.two(y)
    return m.head(mixed.unflatten(0, x.shape[:2]))


def spelled(m: Any, x: Tensor) -> Tensor:
    """Append what was read of letters, laid out otherwise, to what is embedded after it."""
    letters = m.letters(x.flatten(0, 1).unsqueeze(2))[1].permute(2, 1, 0).reshape(*x.shape[:2], 6)
    return m.gru(torch.cat([m.wide(x), letters], 2))[0]


def scaled(m: Any, x: Tensor) -> Tensor:
    """Divide by the mean over all steps, the later ones too, before anything is embedded."""
    y = x / x.abs().mean(1, keepdim=True)
    return m.gru(torch.cat([m.wide(x), y], 2))[0]


PARTS: dict[str, nn.Module] = {
    "gate": nn.Linear(6, 2),
    "one": nn.Linear(6, 6),
    "two": nn.Linear(6, 6),
    "head": nn.Linear(6, 2),
    "wide": nn.Linear(FEATURE, 5),
    "letters": nn.GRU(1, 6, batch_first=True),
}
FAR: dict[str, tuple[Callable[..., Tensor], int, str, str]] = {
    "flat rows": (routed, 6, "between the output of gate and the input of head", "softmax(0)"),
    "a module between": (
        spelled,
        11,
        "between the output of letters and the input of gru",
        "reshape(4, 7, 6)",
    ),
    "later steps": (scaled, 8, "between the model's input and the input of gru", "div"),
}


@pytest.mark.parametrize("name", FAR)
def test_function_before_other_modules(name: str) -> None:
    """The function that mixes is named, though modules ran after it that say nothing of that."""
    compute, width, between, by = FAR[name]
    layer = gru(FEATURE if compute is routed else width)

    message = said(Model(compute, gru=layer, **PARTS), causal=compute is scaled)

    assert f"cause      {between}\n" in message
    assert f"by         {by}\n" in message


def test_module_that_mixes_flat_rows() -> None:
    """A module over windows laid one after the other is named, and not the layer after it."""

    def compute(m: Any, x: Tensor) -> Tensor:
        windows = m.gru(x[:, :6])[0].reshape(-1, 2, 6)
        return m.head(m.attention(windows, windows, windows)[0].reshape(-1, 6, 6))

    attention = nn.MultiheadAttention(6, 2)  # batch_first is forgotten

    message = said(Model(compute, gru=gru(), attention=attention, head=nn.Linear(6, 2)))

    assert "first      attention (MultiheadAttention), output of call 0\n" in message


def test_packing_is_not_blamed() -> None:
    """Samples that packing sorts, and what it has not filled yet, are no place of a leak."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Any:
        given = pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
        output, h = m.gru(given)
        return output._replace(data=output.data - output.data.mean(0)), h

    message = said(Model(compute, gru=gru()), X, torch.tensor([3, 7, 2, 5]))

    assert "first      after gru, in what the model does with tensors itself" in message
    assert "\n  by " not in message


def test_write_into_a_part() -> None:
    """What is written into a part of a tensor is named as such."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x)[0].clone()
        y[1:] = y[:-1].clone()
        return y

    assert re.search(r"\n  by +a write to an index\n", said(Model(compute, gru=gru())))


def pooled(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Take the mean of the valid steps, or of all of them."""
    y, valid = m.one(x)[0], mask(n, x.shape[1]).unsqueeze(2)
    return (y * valid).sum(1) / valid.sum(1) if m.masks else y.mean(1)


@pytest.mark.parametrize("masks", [True, False])
def test_backward_direction_that_starts_in_the_padding(masks: bool) -> None:
    """It is named only if the sample returns the same without it."""
    model = Model(pooled, one=gru(bidirectional=True))
    model.masks = masks

    message = said(model, PADDED, COUNTS, lengths=LENGTHS)

    assert ("the backward direction of one starts in the padding" in message) == masks
    assert ("padding is pooled, or read as the last step" in message) != masks
