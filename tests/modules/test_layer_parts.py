"""The parts of a layer: its cells, its states taken apart, and one step after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rnnkit
from rnnkit import LSTMState, states
from tests.explaining import silent
from tests.kernels.paths import case_of, close, each_kind, each_layer
from tests.strategies import assert_same, cases, tensors_of


@each_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_cells_have_the_layers_parameters(kind, *, bidirectional):
    """Layer by layer, forward first, each parameter is one of a cell, the same object."""
    for bias, mode in ((False, True), (True, False)):
        case = case_of(kind, num_layers=2, bias=bias, bidirectional=bidirectional)
        layer = case.module(rnnkit).train(mode).requires_grad_(mode)

        cells = layer.cells()

        expected = [(n.partition("_l")[0], id(one)) for n, one in layer.named_parameters()]
        assert expected == [(n, id(one)) for cell in cells for n, one in cell.named_parameters()]
        directions = 1 + bidirectional
        width = directions * (case.options.get("proj_size", 0) or case.hidden_size)
        read = [case.input_size] * directions + [width] * directions
        assert [cell.input_size for cell in cells] == read
        for cell in cells:
            assert isinstance(cell, getattr(rnnkit, f"{case.name}Cell"))
            assert (cell.hidden_size, cell.training) == (case.hidden_size, mode)
            found = [*cell.parameters(), *tensors_of(cell.initial_state(5))]
            assert {(one.dtype, one.device.type) for one in found} == {(torch.float64, "cpu")}


def test_options_of_the_cells():
    """A relu RNN has relu cells; the options print as those of the cells' class."""
    assert repr(rnnkit.RNN(3, 4, nonlinearity="relu", bias=False).cells()) == (
        "[RNNCell(3, 4, bias=False, nonlinearity=relu)]"
    )
    assert repr(rnnkit.LSTM(3, 6, proj_size=4).cells()[0]).endswith("(3, 6, proj_size=4)")
    assert repr(rnnkit.GRU(3, 4, 2, bidirectional=True).cells()[2]) == "GRUCell(8, 4)"


def test_a_projection_that_is_taken_away_reads_no_memory():
    """A cell with a projection goes by all its weights, as torch does, whatever is set later."""
    cell = rnnkit.ProjectedLSTMCell(3, 4, 2)
    cell.proj_size = 0
    for run in (cell, lambda x: rnnkit.unroll(cell, x.unsqueeze(0))):
        with pytest.raises(RuntimeError, match=r"size 5 not divisible|cannot be multiplied"):
            run(torch.ones(2, 3))


@each_layer
@given(data=st.data(), state_batch_first=st.booleans())
def test_last_hidden_and_split_state(name, data, *, state_batch_first):
    """The last layer's h, both directions side by side; and each row at its two places."""
    case = data.draw(cases([name]))
    layer = case.module(rnnkit, state_batch_first=state_batch_first).eval()
    _, state = layer(case.input())
    rows = states.from_batch_first(state) if state_batch_first else state
    h = tensors_of(rows)[0]

    with silent():
        split = layer.split_state(state)
        last = layer.last_hidden(state)

    expected = torch.cat([h[-2], h[-1]], dim=-1) if layer.bidirectional else h[-1]
    assert_same(expected, last)
    if case.is_batched:
        cells = rnnkit.Recurrent.of(layer)
        assert_same(expected, cells.last_hidden(states.to_layers(rows)))
    assert type(split) is type(state)
    if not state_batch_first:
        assert all(part._base is not None for part in tensors_of(split))
    for row in range(case.rows):
        place = divmod(row, 1 + layer.bidirectional)
        assert_same([t[row] for t in tensors_of(rows)], [t[place] for t in tensors_of(split)])
    if case.is_lstm:
        for pair in (tuple(state), list(state), LSTMState(*state)):
            assert_same(expected, layer.last_hidden(pair))
            assert_same(split, layer.split_state(pair))


@each_layer
@given(data=st.data(), of_cells=st.booleans(), rate=st.sampled_from([0.0, 0.4]))
def test_steps_are_the_call(name, data, *, of_cells, rate):
    """Step after step gives the call's output and state, resets too; the state has two names."""
    drawn = cases([name], ["padded", "unbatched"], [torch.float64])
    case = data.draw(drawn.filter(lambda case: not case.options.get("bidirectional")))
    if of_cells:
        module = rnnkit.Recurrent.of(case.module(rnnkit).eval())
        state = None
    else:
        module = case.module(rnnkit, state_batch_first=data.draw(st.booleans())).eval()
        state = data.draw(st.sampled_from([None, case.state()]))
        state = states.batch_first(state) if module.state_batch_first else state
    numbers = case.numbers()
    seq_axis = 1 if case.is_batched and case.options.get("batch_first") else 0
    reset = torch.rand(numbers.shape[:-1]) < rate
    expected = module(numbers, state, reset=reset)

    outputs = []
    for t in range(case.seq):
        x_t, flags = (tensor.select(seq_axis, t) for tensor in (numbers, reset))
        with silent():
            if not flags.any():
                y_t, state = module.step(x_t, state)
            elif t % 2:
                y_t, state = module.step(x_t, state, reset=flags.tolist())
            else:
                y_t, state = module.step(x_t, state=state, reset=flags.double())
        outputs.append(y_t)

    assert type(state) is type(expected[1])
    close((torch.stack(outputs, dim=seq_axis), state), expected)
