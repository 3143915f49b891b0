"""``trace`` sees calls however they are made, and states wherever their rows are."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)
STEPS = numbers(3, BATCH, FEATURE)
START = numbers(BATCH, HIDDEN)

CALLS: dict[str, Callable[..., Any]] = {
    "positional": lambda cell, x, h: cell(x, h),
    "state by keyword": lambda cell, x, h: cell(x, hx=h),
    "both by keyword": lambda cell, x, h: cell(input=x, hx=h),
    "turned": lambda cell, x, h: cell(hx=h, input=x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [nn.GRUCell, rnnkit.GRUCell], ids=["torch", "rnnkit"])
def test_call_by_keyword(name: str, kind: Any) -> None:
    """A state given by keyword, which is never advanced, is marked in a function as in a model."""
    cell, call = kind(FEATURE, HIDDEN), CALLS[name]
    model = Model(lambda m, x, h: [call(m.cell, x_t, h) for x_t in x], cell=cell)
    in_function = rnnkit.trace(lambda x, h: [call(cell, x_t, h) for x_t in x], STEPS, START)

    assert [row.marks for row in in_function.rows] == snapshot(
        [
            [],
            ["the same state as in row 0: it is never advanced"],
            ["the same state as in row 1: it is never advanced"],
        ]
    )
    in_model = rnnkit.trace(model, STEPS, START)
    assert [row.marks for row in in_model.rows] == [row.marks for row in in_function.rows]
    assert {(row.spec, row.state) for row in in_function.rows} == {
        (f"batch={BATCH} feature={FEATURE}", "from elsewhere")
    }


def test_layer_by_keyword() -> None:
    """A layer called by keywords is read like any other."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    (row,) = rnnkit.trace(lambda x: layer(hx=None, input=x)[0], X).rows

    assert (row.spec, row.state) == (f"batch={BATCH} seq={SEQ} feature={FEATURE}", "zeros")


def patched() -> list[Any]:
    """Return what torch's classes have of their own for calls."""
    return [vars(kind).get("__call__") for kind in (nn.RNNBase, nn.RNNCellBase)]


def test_classes_are_as_they_were() -> None:
    """After a trace, of a model or a function or one that failed, torch's classes are as before."""
    layer = nn.GRU(FEATURE, HIDDEN)
    rnnkit.trace(layer, X)
    rnnkit.trace(lambda x: layer(x)[0], X)
    with pytest.raises(RuntimeError):
        rnnkit.trace(layer, X[..., :1])

    assert patched() == [None, None]


def test_class_that_somebody_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody else put in the place of a call is used, and is there afterwards."""
    seen = []

    def call(module: nn.Module, *args: Any, **named: Any) -> Any:
        seen.append(type(module))
        return nn.Module.__call__(module, *args, **named)

    monkeypatch.setattr(nn.RNNBase, "__call__", call)
    layer = nn.GRU(FEATURE, HIDDEN)

    assert len(rnnkit.trace(layer, X).rows) == 1
    assert seen == [nn.GRU]
    assert patched() == [call, None]


def test_trace_within_a_trace() -> None:
    """A trace inside of a trace tells its own calls; the outer one tells all of them."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    inner = []

    def function(x: Tensor) -> Tensor:
        inner.append(rnnkit.trace(layer, x[:, :2]))
        return layer(x)[0]

    outer = rnnkit.trace(function, X)

    assert [row.spec for row in inner[0].rows] == ["batch=4 seq=2 feature=3"]
    assert [row.spec for row in outer.rows] == [
        "batch=4 seq=2 feature=3",
        "batch=4 seq=7 feature=3",
    ]
    assert patched() == [None, None]


def test_other_threads() -> None:
    """Calls that another thread makes meanwhile are not in the trace."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)

    def function(x: Tensor) -> Tensor:
        other = threading.Thread(target=lambda: layer(x[:, :2]))
        other.start()
        other.join()
        return layer(x)[0]

    assert [row.spec for row in rnnkit.trace(function, X).rows] == ["batch=4 seq=7 feature=3"]


def test_module_that_is_not_registered() -> None:
    """A layer that a model keeps in a list is seen, under the name of its class."""
    model = Model(lambda m, x: m.parts[0](x)[0])
    model.parts = [nn.GRU(FEATURE, HIDDEN, batch_first=True)]

    assert [row.module for row in rnnkit.trace(model, X).rows] == ["GRU-1"]


def test_compiled_part() -> None:
    """A layer that was compiled on its own is seen in its model."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    model = Model(lambda m, x: m.layer(x)[0], layer=torch.compile(layer, backend="eager"))

    assert [row.spec for row in rnnkit.trace(model, X).rows] == ["batch=4 seq=7 feature=3"]


def joined(take: Callable[[Tensor], Tensor], size: int, **options: Any) -> list[str]:
    """Trace a bidirectional encoder and its decoder, both with batch-first states."""
    options = {"batch_first": True, "state_batch_first": True, **options}

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.decoder(x, take(m.encoder(x)[1]))[0]

    encoder = rnnkit.GRU(FEATURE, HIDDEN, num_layers=2, bidirectional=True, **options)
    model = Model(compute, encoder=encoder, decoder=rnnkit.GRU(FEATURE, HIDDEN, **options))
    return [
        mark for row in rnnkit.trace(model, numbers(size, SEQ, FEATURE)).rows for mark in row.marks
    ]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_row_of_a_batch_first_state(size: int) -> None:
    """Of a batch-first state, the last layer's forward row is right, and others are marked."""
    assert joined(lambda h: h[:, 2:3], size) == []
    assert joined(lambda h: h[:, 3:4], size) == [
        "its h begins with the backward direction of layer 1 of row 0"
    ]
    assert joined(lambda h: h[:, :1], size) == [
        "its h begins with the forward direction of layer 0 of row 0"
    ]


def test_forward_rows_of_all_layers() -> None:
    """A decoder of as many layers that takes each layer's forward direction is right."""
    encoder = nn.GRU(FEATURE, HIDDEN, num_layers=2, bidirectional=True, batch_first=True)
    decoder = nn.GRU(FEATURE, HIDDEN, num_layers=2, batch_first=True)
    model = Model(
        lambda m, x: m.decoder(x, m.encoder(x)[1][::2])[0], encoder=encoder, decoder=decoder
    )

    assert rnnkit.trace(model, X).marked == []


class OutputOnly(nn.LSTM):
    """A layer that keeps its state to itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""
        output: Tensor = super().forward(x)[0]
        return output


class Measured(nn.GRU):
    """A layer that returns a loss beside its output, and takes lengths."""

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return output and loss."""
        output: Tensor = super().forward(x)[0]
        return output, output.mean() * len(lengths)


class Scored(nn.GRUCell):
    """A cell that returns its state in a dictionary of its own."""

    def forward(self, *, x: Tensor) -> dict[str, Any]:
        """Return the state, and a name."""
        return {"name": "scored", "a": super().forward(x), "b": x, "c": x}


def test_subclass_without_a_state() -> None:
    """What a subclass returns that is no state is not taken for one."""
    lengths = torch.full((BATCH,), SEQ)
    first = OutputOnly(FEATURE, HIDDEN, batch_first=True)
    second = Measured(HIDDEN, HIDDEN, batch_first=True)
    third = Scored(HIDDEN, HIDDEN)

    def function(x: Tensor) -> Any:
        output = second(first(x), lengths)[0]
        return third(x=output[:, -1])["a"]

    assert str(rnnkit.trace(function, X)) == snapshot("""\
row  module                     input as read            state given  state returned
0    OutputOnly-0 (OutputOnly)  batch=4 seq=7 feature=3  zeros        ?
1    Measured-1 (Measured)      batch=4 seq=7 feature=6  zeros        ?
2    Scored-2 (Scored)          ?                        zeros        ?\
""")


def test_packed_single_step() -> None:
    """A packed input of one step is one step of a loop."""
    layer = nn.GRU(FEATURE, HIDDEN)
    start = torch.zeros(1, 1, HIDDEN)
    packed = pack_sequence([numbers(1, FEATURE)])
    found = rnnkit.trace(lambda h: [layer(packed, h), layer(packed, h)], start)

    assert found.rows[1].marks == ["the same state as in row 0: it is never advanced"]
