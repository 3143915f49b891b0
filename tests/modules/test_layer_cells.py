"""``cells()``: the cells that a layer is made of, with the layer's own parameters."""

import copy

import pytest
import torch

import rnnkit
from tests.kernels.paths import KINDS, case_of, close, each_kind
from tests.strategies import assert_same, tensors_of


@each_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_cells_have_the_layers_parameters(kind: str, *, bidirectional: bool):
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


@each_kind
def test_training_the_layer_trains_its_cells(kind: str):
    """After a step of an optimizer on the layer its cells, taken before, are the new layer's."""
    case = case_of(kind)
    layer = case.module(rnnkit)
    x = case.numbers()
    (cell,) = layer.cells()
    before = tensors_of(cell(x[0]))[0]

    layer(x)[0].sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()

    after = tensors_of(cell(x[0]))[0]
    assert not torch.equal(before, after)
    close(after, layer.step(x[0])[0])


def test_a_cell_of_a_layer_is_copied_and_saved_as_any_cell():
    """A copy of a cell has weights of its own; a checkpoint of it loads into a new cell."""
    for kind, options in KINDS.items():
        case = case_of(kind)
        layer = case.module(rnnkit)
        x = case.numbers()[0]
        (cell,) = layer.cells()
        clone = copy.deepcopy(cell)
        fresh = type(cell)(case.input_size, case.hidden_size, **options).double()
        fresh.load_state_dict(cell.state_dict())

        assert clone.weight_ih is not layer.weight_ih_l0
        assert_same(cell(x), clone(x))
        assert_same(cell(x), fresh(x))


def test_a_projection_that_is_taken_away_reads_no_memory():
    """A cell with a projection passes all its weights, which torch counts, whatever is set later."""
    cell = rnnkit.ProjectedLSTMCell(3, 4, 2)
    cell.proj_size = 0
    for run in (cell, lambda x: rnnkit.unroll(cell, x.unsqueeze(0))):
        with pytest.raises(RuntimeError, match="size 5 not divisible"):
            run(torch.ones(2, 3))
