"""``trace``: which state went where, call by call, also of runs that fail."""

import threading
from functools import partial

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    HIDDEN,
    SEQ,
    X,
    gru,
    layered,
    lstm,
    model,
    numbers,
)
from tests.modules.cells_of_users import PeepholeLSTMCell


def test_table():
    """The table has a row for each call, and each mark below its row; the rows are data, too."""

    def run(m, x):
        h, c = m.decoder(x[:, :1], m.encoder(x)[1][::-1])[1]
        for x_t in x[:, :2].unbind(1):
            h, c = m.cell(x_t, (h.squeeze(0), c.squeeze(0) * 2))
        return h

    cell = nn.LSTMCell(FEATURE, HIDDEN)
    found = rnnkit.trace(model(run, encoder=lstm(), decoder=lstm(), cell=cell), X)

    assert (
        str(found)
        == repr(found)
        == snapshot("""\
row  module           input as read            state given                           state returned
0    encoder (LSTM)   batch=4 seq=7 feature=3  zeros                                 used
1    decoder (LSTM)   batch=4 seq=1 feature=3  c of row 0, h of row 0                used
     ^ its h is c of row 0
     ^ its c is h of row 0
2    cell (LSTMCell)  batch=4 feature=3        h of row 1, computed from c of row 1  used
3    cell (LSTMCell)  batch=4 feature=3        h of row 2, computed from c of row 2  used\
""")
    )
    first = found.rows[0]
    assert (first.number, first.module, first.kind) == (0, "encoder", "LSTM")
    assert (first.spec, first.state, first.used) == ("batch=4 seq=7 feature=3", "zeros", True)
    assert found.marked == [found.rows[1]]


def rows(run, *inputs):
    """Trace; return what each row says."""
    found = rnnkit.trace(run, *(inputs or (X,))).rows
    return [f"{row.module}: {row.spec}, {row.state}, {row.used}" for row in found]


def test_inputs_and_names():
    """Inputs are as the layer reads them; modules have their names, and in a function a class's."""
    net = model(lambda m, x: m.lstm(x), lstm=lstm())
    layer = gru()
    lengths = [7, 5, 3, 2]
    packed = model(lambda m, x: m.lstm(pack_padded_sequence(x, lengths, True))[1], lstm=lstm())
    listed = model(lambda m, x: m.parts[0](x)[0], parts=[gru()])
    pair = model(lambda m, x: m.decoder(x, hx=m.encoder(x)[1])[0], encoder=lstm(), decoder=lstm())
    compiled = torch.compile(pair, backend="eager")
    inner = model(lambda m, x: m.layer(x)[0], layer=torch.compile(gru(), backend="eager"))

    runs = [net, packed, listed, lambda x: layer(hx=None, input=x)[0], compiled, inner]
    unseen = model(torch.no_grad()(lambda m, x: m.lstm(x)[0]), lstm=lstm())
    assert sum(map(rows, [*runs, unseen]), rows(net, X[0])) == snapshot(
        [
            "lstm: seq=7 feature=3, zeros, True",
            "lstm: batch=4 seq=7 feature=3, zeros, True",
            "lstm: packed seq=7 batch=4 feature=3, zeros, True",
            "GRU-1: batch=4 seq=7 feature=3, zeros, False",
            "GRU-0: batch=4 seq=7 feature=3, zeros, False",
            "encoder: batch=4 seq=7 feature=3, zeros, True",
            "decoder: batch=4 seq=7 feature=3, h of row 0, c of row 0, False",
            "layer: batch=4 seq=7 feature=3, zeros, False",
            "lstm: batch=4 seq=7 feature=3, zeros, None",
        ]
    )
    assert rows(net.forward) == rows(net)
    assert rows(nn.Linear(FEATURE, 2)) == []


class OutputOnly(nn.LSTM):
    """A layer that keeps its state to itself."""

    def forward(self, x):
        """Return the output."""
        return super().forward(x)[0]


class Measured(nn.GRU):
    """A layer that returns a loss beside its output, and takes lengths."""

    def forward(self, x, lengths):
        """Return output and loss."""
        output, _ = super().forward(x)
        return output, output.mean() * len(lengths)


def test_subclass_without_a_state():
    """What a subclass returns that is not a state is not taken for one."""
    lengths = torch.full((BATCH,), SEQ)
    first = OutputOnly(FEATURE, HIDDEN, batch_first=True)
    second = Measured(HIDDEN, HIDDEN, batch_first=True)

    assert rows(lambda x: second(first(x), lengths)[0]) == snapshot(
        [
            "OutputOnly-0: batch=4 seq=7 feature=3, zeros, None",
            "Measured-1: batch=4 seq=7 feature=6, zeros, None",
        ]
    )


def test_origin_is_the_near_one():
    """A state computed from h is not one computed from c; a mixed one came from the last call."""
    pairs = nn.LSTMCell(FEATURE, HIDDEN)
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def scaled(x):
        h, c = pairs(x[:, 0])
        return pairs(x[:, 1], (h * 2, c * 3))

    def mixing(x):
        state = torch.zeros(len(x), HIDDEN)
        for x_t in x.unbind(1):
            state = cell(x_t, state) * 0.9 + state * 0.1
        return state

    (_, second) = rnnkit.trace(scaled, X).rows
    assert second.state == "computed from h of row 0, computed from c of row 0"
    found = rnnkit.trace(mixing, X)
    origins = [f"computed from h of row {number}" for number in range(SEQ - 1)]
    assert [row.state for row in found.rows[1:]] == origins
    assert found.marked == []


def test_packed_single_step():
    """A packed input of one step is one step of a loop."""
    layer = nn.GRU(FEATURE, HIDDEN)
    start = torch.zeros(1, 1, HIDDEN)
    packed = pack_sequence([numbers(1, FEATURE)])
    found = rnnkit.trace(lambda h: [layer(packed, h), layer(packed, h)], start)

    assert found.rows[1].marks == ["the same state as in row 0: it is never advanced"]


def test_state_of_an_earlier_graph():
    """A state that is kept with its graph is marked, in a model and as an input, and as a view."""
    net = model(lambda m, x: m.lstm(x, m.state)[0], lstm=lstm())
    net.state = net.lstm(X)[1]
    layer = net.lstm
    kept = gru()(X)[1].unsqueeze(0)

    marks = [f"its {m} belongs to the graph of an earlier run: detach it" for m in "hc"]
    assert rnnkit.trace(net, X).marked[0].marks == marks
    assert len(rnnkit.trace(lambda x, state: layer(x, state)[0], X, layer(X)[1]).marked) == 1
    assert rnnkit.trace(lambda x: gru()(x, kept[0]), X).marked[0].marks == marks[:1]
    assert rnnkit.trace(torch.no_grad()(lambda x: gru()(x, kept[0])), X).marked == []
    net.state = rnnkit.states.detach(net.state)
    assert rnnkit.trace(net, X).marked == []


def test_other_threads_and_traces():
    """A trace has the calls of its own thread, also those that a trace within it writes down."""
    layer = gru()
    inner = []

    def run(x):
        other = threading.Thread(target=lambda: layer(x[:, :3]))
        other.start()
        other.join()
        inner.append(rnnkit.trace(layer, x[:, :2]))
        return layer(x)[0]

    two, seven = (f"batch=4 seq={steps} feature=3" for steps in (2, 7))
    assert [row.spec for row in rnnkit.trace(run, X).rows] == [two, seven]
    assert [row.spec for row in inner[0].rows] == [two]


def test_what_is_shared():
    """A trace says below its table what its run advances, since it was not copied."""
    inputs = (x for x in (X, X[:0, 0], None))
    net = layered(lambda m, _: m.gru(next(m.inputs))[0], inputs=inputs)
    found = rnnkit.trace(net, X)

    assert str(found) == snapshot("""\
row  module     input as read            state given  state returned
0    gru (GRU)  batch=4 seq=7 feature=3  zeros        not used
note  not copied, but shared with the model: inputs\
""")
    with pytest.raises(RuntimeError) as error:
        rnnkit.trace(net, X)
    assert error.value.trace.notes == found.notes
    assert rnnkit.trace(gru(), X).notes == []


def test_rows_of_a_run_that_fails():
    """The rows until an error are on it; the row that raised is marked, unless that was caught."""
    layer = gru()
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def fails(x):
        cell(x[:, 1], cell(x[:, 0]))
        raise KeyError

    def catches(x):
        try:
            return layer(x[..., :1])[0]
        except RuntimeError:
            return layer(x)[0]

    with pytest.raises(KeyError) as caught:
        rnnkit.trace(fails, X)
    assert str(caught.value.trace) == snapshot("""\
row  module               input as read      state given  state returned
0    GRUCell-0 (GRUCell)  batch=4 feature=3  zeros        used
1    GRUCell-0 (GRUCell)  batch=4 feature=3  h of row 0   ?\
""")
    assert [(row.used, row.marks) for row in rnnkit.trace(catches, X).rows] == snapshot(
        [(None, ["it raised RuntimeError"]), (False, [])]
    )
    for library in (nn, rnnkit.nn):
        first, second = (library.GRU(FEATURE, HIDDEN, batch_first=True) for _ in range(2))
        net = model(lambda m, x: m.second(m.first(x)[0]), first=first, second=second)
        with pytest.raises((RuntimeError, ValueError)) as error:
            rnnkit.trace(net, X)

        found = error.value.trace
        assert [(row.module, row.used) for row in found.rows] == [("first", None), ("second", None)]
        assert found.rows[1].marks == [f"it raised {type(error.value).__name__}"]
        assert found.marked == [found.rows[1]]


def recurrent(kind):
    """Make a layer of two cells."""
    return rnnkit.Recurrent([kind(3, 3), kind(3, 3)])


LAYERS = [
    partial(nn.GRU, 3, 3),
    partial(nn.LSTM, 3, 3),
    partial(recurrent, rnnkit.GRUCell),
    partial(recurrent, PeepholeLSTMCell),
]


@pytest.mark.parametrize("make", LAYERS)
def test_layers_that_are_called_by_forward(make):
    """Each has a row, which knows where its state came from; the cells of a layer have none."""

    def forward(m, x):
        y, state = m.one.forward(x)
        return m.two.forward(y, state)[0]

    net = model(forward, one=make(), two=make())
    rows = rnnkit.trace(net, X).rows

    assert [row.module for row in rows] == ["one", "two"]
    assert {row.kind for row in rows} == {type(net.one).__name__}
    assert rows[0].spec == "seq=4 batch=7 feature=3"
    assert rows[0].state == "zeros"
    assert rows[1].state.startswith("h of row 0")
    assert [row.used for row in rows] == [True, False]


def test_a_loop_over_an_own_cell_has_a_row_for_each_step():
    """A user's cell with an initial state has rows, as torch's have."""

    def loop(m, x):
        state = m.cell.initial_state(len(x))
        for x_t in x.unbind(1):
            state = m.cell(x_t, state)
        return state

    rows = rnnkit.trace(model(loop, cell=PeepholeLSTMCell(3, 3)), X[:, :3]).rows
    origins = [f"h of row {number}, c of row {number}" for number in range(2)]

    assert [row.state for row in rows] == ["zeros", *origins]
    assert all(row.used for row in rows)
