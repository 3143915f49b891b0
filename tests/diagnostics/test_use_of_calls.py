"""``verify`` looks at what layers return as far as it is torch's, and says how many calls it saw."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)

RESULTS: dict[str, Callable[[Tensor, Any], Any]] = {
    "the output alone": lambda output, _: output,
    "a pooled output": lambda output, state: (output.mean((1, 2)), state),
    "a loss": lambda output, _: (output, output.mean()),
    "a dictionary": lambda output, state: (output, {"h": state[0], "c": state[1]}),
    "a tuple of one": lambda output, state: (output, (state[0],)),
    "three things": lambda output, state: (output, *state),
    "a list": lambda output, state: (output, list(state)),
}


def layer(result: Callable[[Tensor, Any], Any], kind: type = nn.LSTM) -> nn.RNNBase:
    """Make a layer of a subclass that returns something else."""

    def forward(self: Any, x: Tensor) -> Any:
        return result(*kind.forward(self, x))

    subclass = type("Own", (kind,), {"forward": forward})
    return subclass(FEATURE, HIDDEN, batch_first=True, bidirectional=True)


def first(result: Any) -> Tensor:
    """Return the first of several things."""
    output: Tensor = result[0] if isinstance(result, tuple) else result
    return output


@pytest.mark.parametrize("name", RESULTS)
def test_subclass_that_returns_something_else(name: str) -> None:
    """A layer that returns something else than torch's is no obstacle."""
    model = Model(lambda m, x: first(m.layer(x)), layer=layer(RESULTS[name]))

    assert "use" in {check.probe for check in rnnkit.verify(model, X).checks}


def test_calls_that_were_seen() -> None:
    """Of a subclass that returns its output alone, no call is looked at, which is said."""
    model = Model(lambda m, x: m.layer(x), layer=layer(RESULTS["the output alone"]))

    report = rnnkit.verify(model, X)

    assert "use" not in report.checked
    assert "no layer call returned output and state" in str(report)


def test_number_of_a_call() -> None:
    """A layer's second call is looked at, where its first one returns something else."""

    class Twice(nn.LSTM):
        first = True

        def forward(self, x: Tensor) -> Any:
            self.first = not self.first
            output, state = super().forward(x)
            return (output, state) if self.first else output

    def compute(m: Any, x: Tensor) -> Tensor:
        m.layer.first = True
        return m.layer(x).sum(1) + m.layer(x)[1][1][-1]

    model = Model(compute, layer=Twice(FEATURE, HIDDEN, batch_first=True))
    assert rnnkit.verify(model, X).notes == [f"of what layer returns, {READ}"]


def conditional(m: Any, x: Tensor, *, through: Any = lambda c: c) -> tuple[Tensor, Tensor]:
    """Start the c of a second LSTM from the c of a first one, and its h from zeros."""
    c = m.layer(x)[1][1]
    return m.other(x, (torch.zeros_like(c), through(c)))[0][:, -1], c[-1]


def by_cells(m: Any, x: Tensor) -> Tensor:
    """Start a loop over a cell from the c of an LSTM."""
    c = m.layer(x)[1][1][-1]
    h = torch.zeros_like(c)
    for x_t in x.unbind(1):
        h, c = m.cell(x_t, (h, c))
    return h


def faint(h: Tensor, c: Tensor) -> Tensor:
    """Put c beside an h which no noise of its own size changes."""
    return c[-1] + 1 + (h[-1] * 1e-30).relu()


READ = "only the cell state c is used; the hidden state is h_n, the first of (h_n, c_n)"

CELLS: dict[str, tuple[Callable[..., Tensor], bool]] = {
    "read by a head": (lambda m, x: m.head(m.layer(x)[1][1][-1]), True),
    "the last of the pair": (lambda m, x: m.head(m.layer(x)[1][-1].squeeze(0)), True),
    "passed on as c": (lambda m, x: conditional(m, x)[0], False),
    "passed on as c through a layer": (lambda m, x: conditional(m, x, through=m.head)[0], False),
    "passed on to a cell": (by_cells, False),
    "passed on, and read": (lambda m, x: torch.cat(conditional(m, x), 1), True),
    "passed on as h": (lambda m, x: m.other(x, (m.layer(x)[1][1],) * 2)[0][:, -1], True),
    "beside an h that no noise shows": (lambda m, x: faint(*m.layer(x)[1]), False),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell_states(name: str) -> None:
    """A c that is read is a note, and one that is passed on as c is used as it should be."""
    compute, is_read = CELLS[name]
    layers = {key: nn.LSTM(FEATURE, HIDDEN, batch_first=True) for key in ("layer", "other")}
    cell, head = nn.LSTMCell(FEATURE, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
    report = rnnkit.verify(Model(compute, **layers, cell=cell, head=head), X, skip=["gradient"])

    assert "use" in report.checked
    assert report.notes == [f"of what layer returns, {READ}"] * is_read


def calls(count: int, **options: Any) -> str:
    """Verify a model that calls a layer several times; return what the report says of it."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.stack([m.layer(x + k)[1][0][-1] for k in range(count)])

    model = Model(compute, layer=nn.LSTM(FEATURE, HIDDEN, batch_first=True, **options))
    report = rnnkit.verify(model, X)
    return next(check.detail for check in report.checks if check.probe == "use")


def test_all_calls_seen() -> None:
    """If every call was looked at, one number says it."""
    assert calls(3) == "outputs and states of 3 layer calls"


def test_calls_left() -> None:
    """Of many calls some are looked at, and the report says how many of how many."""
    assert calls(6) == "outputs and states of 4 of 6 layer calls"


def test_one_step() -> None:
    """The last step of one is all that a bidirectional layer has read, which is no mistake."""
    model = Model(
        lambda m, x: m.layer(x)[0][:, -1],
        layer=nn.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=True),
    )

    assert "use" in rnnkit.verify(model, X[:, :1]).checked


def test_samples_one_by_one() -> None:
    """A bidirectional layer's last step is found out where the samples come without a batch."""
    model = Model(
        lambda m, x: torch.stack([m.layer(sample)[0][-1] for sample in x]),
        layer=nn.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=True),
    )
    with pytest.raises(rnnkit.LeakError, match="the backward half is used at the last step"):
        rnnkit.verify(model, X)


def whole(h: Tensor) -> Tensor:
    """Put all of a state, or of a part of it, beside each other."""
    return h.transpose(0, 1).flatten(1)


STATES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int, str]] = {
    "the backward one": (lambda _, h: h[-1], 1, "h_n[1] of 2"),
    "the forward one": (lambda _, h: h[-2], 1, "h_n[0] of 2"),
    "of the last layer": (lambda _, h: h[-1], 2, "h_n[3] of 4"),
    "of all layers": (
        lambda _, h: whole(h.unflatten(0, (2, 2)).transpose(0, 1)[-1]),
        2,
        "h_n[1] and h_n[3] of 4",
    ),
    "both": (lambda _, h: whole(h[-2:]), 2, ""),
    "beside the output": (lambda y, h: torch.cat([h[-1], y.mean(1)], 1), 1, ""),
    "for a ReLU that is dead": (lambda _, h: torch.cat([h[-1], (h[-2] - 9).relu()], 1), 1, ""),
}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("name", STATES)
def test_states_of_one_direction(name: str, kind: type[nn.RNNBase]) -> None:
    """Where the states of one direction are all that is used, it is a note."""
    use, layers, used = STATES[name]

    def compute(m: Any, x: Tensor) -> Tensor:
        y, state = m.layer(x)
        return use(y, state if m.layer.mode == "GRU" else state[0])

    both = kind(FEATURE, HIDDEN, layers, batch_first=True, bidirectional=True)
    notes = rnnkit.verify(Model(compute, layer=both), X).notes
    told = f"of what layer returns, one direction is used: {used}; last_hidden(state) has both"
    assert notes == ([told] if used else [])


def beside(y: Tensor, state: Any) -> Tensor:
    """Put the last state, which no noise of its own size changes, beside the first step."""
    h = state[0] if isinstance(state, tuple) else state
    return torch.cat([y[:, 0], (h[-1] * 1e-30).relu() + 1], 1)


FIRST: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "the last step": (lambda m, x: m.layer(x)[0][:, -1], {}),
    "all steps": (lambda m, x: m.layer(x)[0].amax(1), {}),
    "weighed by others": (
        lambda m, x: (m.layer(x)[0] * torch.eye(SEQ)[0].unsqueeze(1)).sum(1),
        {},
    ),
    "a state beside it": (lambda m, x: beside(*m.layer(x)), {}),
    "from a state": (lambda m, x: m.layer(x, m.layer(x)[1])[0][:, 0], {}),
    "two directions": (lambda m, x: m.layer(x)[0][:, 0], {"bidirectional": True}),
    "one step": (lambda m, x: m.layer(x[:, :1])[0][:, 0], {}),
}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("name", FIRST)
def test_first_step_beside_others(name: str, kind: type[nn.RNNBase]) -> None:
    """The first step may be used where it has read more, or others are used as well."""
    compute, options = FIRST[name]
    layer = kind(FEATURE, HIDDEN, batch_first=True, **options)
    report = rnnkit.verify(Model(compute, layer=layer), X, skip=["memory"], raises=False)

    assert not report.found("use")


@pytest.mark.parametrize("told", [True, False])
def test_first_step_of_samples_that_have_no_other(told: bool) -> None:
    """Of samples of one step the first is the last, as lengths say or the zeros behind it."""
    counts = torch.ones(BATCH, dtype=torch.int64)

    def compute(m: Any, x: Tensor, n: Tensor) -> Any:
        return m.layer(x)[0][torch.arange(len(x)), n - 1]

    x = X.masked_fill((torch.arange(SEQ) > 0).unsqueeze(1), 0.0)
    model = Model(compute, layer=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    options = {"lengths": counts} if told else {"skip": ["memory"]}
    assert rnnkit.verify(model, x, counts, **options).judged


def test_first_step_alone() -> None:
    """An output of which the first step is used, and nothing else, has read one step."""
    model = Model(
        lambda m, x: m.head(m.layer(x)[0][:, 0]),
        layer=nn.GRU(FEATURE, HIDDEN, batch_first=True),
        head=nn.Linear(HIDDEN, 2),
    )
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, X)

    assert str(error.value) == snapshot("""\
of the output of layer, the first step alone is used, which has read one step
  first      layer (GRU)
  fix        h_n[-1], or output[:, -1], the last step with batch_first=True
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
""")
    assert rnnkit.verify(model, X, lengths=[SEQ] * BATCH, pad="pre").judged
