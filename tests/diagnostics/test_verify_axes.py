"""Where batch and seq are in inputs and outputs: found by evidence, and not guessed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers, reason, text
from tests.diagnostics.small import gru


def packing(m: Any, x: Tensor, lengths: Tensor) -> Any:
    """Run a layer over packed samples."""
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return m.gru(given)[0]


def with_state(m: Any, x: Tensor) -> Tensor:
    """Start from a state of one batch size."""
    output: Tensor = m.gru(x, m.state)[0]
    return output


def fixed(size: int) -> nn.Module:
    """Make a model, steps first, of one batch size."""
    model = Model(with_state, gru=gru(batch_first=False))
    model.register_buffer("state", torch.zeros(1, size, 6))
    return model


def attending(m: Any, x: Tensor, mask: Tensor) -> Tensor:
    """Attend over the steps with a mask (seq, seq)."""
    y: Tensor = m.wide(x)
    return y + m.attend(y, y, y, attn_mask=mask, need_weights=False)[0]


def attention() -> nn.Module:
    """Make a model that attends."""
    attend = nn.MultiheadAttention(8, 2, batch_first=True)
    return Model(attending, wide=nn.Linear(FEATURE, 8), attend=attend)


def later(steps: int) -> Tensor:
    """Return an additive mask of what comes later."""
    return torch.full((steps, steps), -torch.inf).triu(1)


LONGEST_LAST = torch.tensor([2, 3, 1, 4])
SQUARE = numbers(4, 4, FEATURE)

RIGHT: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...], dict[str, Any], str]] = {
    "flattened logits of as many classes as samples": (
        lambda: Model(
            lambda m, x: m.head(m.gru(x)[0]).reshape(-1, 4), gru=gru(), head=nn.Linear(6, 4)
        ),
        (numbers(8, SEQ, FEATURE),),
        {},
        "",
    ),
    "padded again, steps first, the longest last": (
        lambda: Model(lambda m, x, n: pad_packed_sequence(packing(m, x, n))[0], gru=gru()),
        (SQUARE, LONGEST_LAST),
        {"lengths": LONGEST_LAST},
        "batch alone padding",
    ),
    "packed, the longest last": (
        lambda: Model(packing, gru=gru()),
        (SQUARE, LONGEST_LAST),
        {"lengths": LONGEST_LAST},
        "batch alone padding",
    ),
    "packed by value, the longest last": (
        lambda: Model(lambda m, x: packing(m, x, (x != 0).any(2).sum(1)), gru=gru()),
        (SQUARE * (torch.arange(4) < LONGEST_LAST.unsqueeze(1)).unsqueeze(2),),
        {},
        "batch",
    ),
    "one batch size, steps first, a square": (
        lambda: fixed(5),
        (numbers(5, 5, FEATURE),),
        {"batch_dim": 1},
        "",
    ),
    "one batch size, steps first": (
        lambda: fixed(5),
        (numbers(SEQ, 5, FEATURE),),
        {"batch_dim": 1},
        "batch",
    ),
    "a mask over steps, as many as samples": (
        attention,
        (SQUARE, later(4)),
        {"causal": True},
        "batch alone causal",
    ),
    "a mask over steps": (
        attention,
        (numbers(4, SEQ, FEATURE), later(SEQ)),
        {"causal": True},
        "batch alone causal",
    ),
    "masks beside states, all of one length": (
        lambda: Model(
            lambda m, x, keep, h, c: m.lstm(keep.inverse() @ x, (h, c))[0],
            lstm=nn.LSTM(FEATURE, 6, num_layers=4, batch_first=True),
        ),
        (SQUARE, torch.eye(4), numbers(4, 4, 6), numbers(4, 4, 6) + 1),
        {},
        "batch alone",
    ),
    "what does not change from step to step comes first": (
        lambda: Model(
            lambda m, s, x, n: m.head(torch.cat([s, m.gru(x)[0][torch.arange(len(x)), n - 1]], 1)),
            gru=gru(),
            head=nn.Linear(9, 2),
        ),
        (numbers(4, 3), numbers(4, 10, FEATURE), torch.tensor([10, 4, 3, 7])),
        {"lengths": [10, 4, 3, 7]},
        "batch alone padding memory",
    ),
    "axes counted from the end": (
        gru,
        (numbers(5, SEQ, FEATURE),),
        {"batch_dim": -3, "seq_dim": -2, "out_seq_dim": -2, "causal": True},
        "batch alone causal memory",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_model_passes(name: str) -> None:
    """A right model is accused of nothing where sizes could be taken for each other."""
    make, inputs, options, probes = RIGHT[name]
    for seed in range(5):
        torch.manual_seed(seed)
        report = rnnkit.verify(make(), *inputs, **options)

        assert set(probes.split()) <= set(report.checked)


def test_flattened_logits_are_not_judged() -> None:
    """Where no axis is the batch, the head line says that nothing was judged, and why."""
    make, inputs, options, _ = RIGHT["flattened logits of as many classes as samples"]
    report = rnnkit.verify(make(), *inputs, **options)

    assert not report.judged
    assert (
        str(report)
        .splitlines()[0]
        .startswith("rnnkit.verify: nothing was judged: no output follows the batch (")
    )


def test_rows_for_steps() -> None:
    """An output with a row for each step and none for a sample is told so."""
    model = Model(lambda m, x: m.gru(x)[0][:, -1], gru=gru(batch_first=False))
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, numbers(BATCH, SEQ, FEATURE).transpose(0, 1), batch_dim=1)

    assert text(error.value) == snapshot("""\
output (7, 6) has a row for each of 7 steps, none for a sample
  cause      likely batch and seq have changed places
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


@pytest.mark.parametrize(
    ("compute", "why"),
    [
        (lambda m, x: m.gru(x)[0].mean((0, 2)), "one axis, which follows the steps"),
        (lambda m, x: m.gru(x)[0].flatten(0, 1).mean(1), "one axis, which follows neither"),
        (lambda m, x: m.gru(x.view(-1, SEQ, FEATURE))[0].mean(0), "it takes no other steps"),
    ],
)
def test_rows_for_nothing(compute: Any, why: str) -> None:
    """An output that follows neither batch nor steps is not judged, and accused of nothing."""
    report = rnnkit.verify(Model(compute, gru=gru()), numbers(BATCH, SEQ, FEATURE))

    assert reason(report, "batch") == "no output follows the batch", why


def test_square_input_to_a_packed_layer() -> None:
    """Of packed input, no axis is said to be taken for another."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        mixed = x + 0.1 * x.sum(0)
        return pad_packed_sequence(packing(m, mixed, lengths), batch_first=True)[0]

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Model(compute, gru=gru()), SQUARE, LONGEST_LAST)

    assert text(error.value) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      gru (GRU), output of call 0
  at         test_verify_axes.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_bare_layer() -> None:
    """Of a layer that is the model itself, the cause is named as of any other."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(nn.LSTM(3, 8), numbers(BATCH, SEQ, 3))

    assert text(error.value) == snapshot("""\
output[0] of sample 1 depends on input of sample 0
  first      the model (LSTM), output of call 0
  cause      the model reads axis 0 of its input as seq, but the batch is there
  fix        LSTM(..., batch_first=True), or input.transpose(0, 1)
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")
    assert error.value.module == ""


def test_rows_that_are_not_read() -> None:
    """A second sequence of which too many samples may be given, unread, has a batch all the same."""
    own = torch.tensor([7, 2, 4, 5]), torch.tensor([3, 6, 5, 2])

    def compute(m: Any, *inputs: Tensor) -> Tensor:
        x, other, *lengths = inputs
        pairs = zip((x, other), lengths, strict=True)
        ends = [m.gru(pack_padded_sequence(a, n, True, False))[1][0] for a, n in pairs]
        return torch.cat(ends, 1)

    model = Model(compute, gru=gru())
    inputs = (numbers(BATCH, 7, FEATURE), numbers(BATCH, 6, FEATURE), *own)
    report = rnnkit.verify(model, *inputs, lengths=dict(enumerate(own)))

    assert report.axes["input[1]"] == ("batch", 6, FEATURE)
    assert {"batch", "alone", "padding"} <= {*report.checked}


def test_a_state_for_one_sample() -> None:
    """Of one sample nothing can be left out, which is told; the other probes judge the model."""
    model = Model(lambda m, x, hx: m.gru(x, hx)[0], gru=gru())
    report = rnnkit.verify(model, numbers(1, SEQ, 3), numbers(1, 1, 6))

    assert reason(report, "batch") == "the batch has one sample; give two or more"
    assert {"memory", "coverage", "use"} <= set(report.checked)


@pytest.mark.parametrize(
    ("compute", "shape", "steps"),
    [
        (lambda m, x, w: m.gru(x)[0] * w.unsqueeze(1), (2,), 2),  # a weight for each step
        (lambda m, x, w: m.gru(x * w)[0], (2,), 3),  # for each feature
        (lambda m, x, w: m.gru(x * w)[0], (3, 2), 3),  # for each step and feature
    ],
)
def test_weights_that_are_as_many_as_two_samples(
    compute: Callable[..., Any], shape: tuple[int, ...], steps: int
) -> None:
    """Of two samples one alone takes what is for all by broadcasting, and three show it."""
    report = rnnkit.verify(Model(compute, gru=gru(2)), numbers(2, steps, 2), numbers(*shape))

    assert {"batch", "alone"} <= {*report.checked}
    assert report.axes["input[1]"] == shape


def test_a_state_for_two_samples() -> None:
    """A model that takes no three samples is judged by one, as it can be."""

    def compute(m: Any, x: Tensor, hx: Tensor) -> Tensor:
        assert len(x) < 3
        output: Tensor = m.gru(x, hx)[0]
        return output

    report = rnnkit.verify(Model(compute, gru=gru()), numbers(2, SEQ, 3), numbers(1, 2, 6))
    assert {"batch", "alone"} <= {*report.checked}
    assert report.axes["input[1]"] == (1, "batch", 6)


class Beside(nn.Module):
    """Numbers ``(batch, seq, 3)`` beside a spectrogram ``(batch, 4, seq)``, which may be reversed."""

    def __init__(self, *, flips: bool) -> None:
        """Make a layer over both."""
        super().__init__()
        self.flips, self.gru = flips, nn.GRU(7, 5, batch_first=True)

    def forward(self, x: Tensor, mels: Tensor) -> Tensor:
        """Read the two side by side."""
        mels = mels.view(len(mels), 4, -1)  # as a model may that counts on its memory
        frames = mels.mT.flip(1) if self.flips else mels.mT
        y: Tensor = self.gru(torch.cat([x, frames], 2))[0]
        return y


def test_steps_on_different_axes() -> None:
    """Each input may have its steps on an axis of its own, and the report shows which."""
    inputs = torch.randn(5, 7, 3), torch.randn(5, 4, 7)
    for seq_dim in ({0: 1, 1: 2}, {0: 1, 1: -1}, {0: -2, 1: -1}):
        report = rnnkit.verify(Beside(flips=False), *inputs, seq_dim=seq_dim, causal=True)
        assert "causal" in report.checked
        assert report.axes["input[1]"] == ("batch", 4, "seq")
        with pytest.raises(rnnkit.LeakError, match="depends on input of step"):
            rnnkit.verify(Beside(flips=True), *inputs, seq_dim=seq_dim, causal=True)


@pytest.mark.parametrize("seq_dim", [{}, {2: 1}, {"mels": 2}, {0: None}, {0: "seq"}])
def test_refused_steps_by_input(seq_dim: Any) -> None:
    """A dictionary names inputs that are given, and their axes by number."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(
            Beside(flips=False), *map(torch.randn, ((2, 3, 3), (2, 4, 3))), seq_dim=seq_dim
        )
    assert error.value.argument == "seq_dim"


def test_no_lengths() -> None:
    """False is no lengths, as None is."""
    x = torch.randn(5, 7, 3)
    reports = [
        rnnkit.verify(nn.GRU(3, 4, batch_first=True), x, lengths=lengths)
        for lengths in (None, False)
    ]
    assert reports[0].checks == reports[1].checks
    assert reports[0].asked == reports[1].asked == []
