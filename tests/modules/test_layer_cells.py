"""``cells()``: the cells that a layer is made of, with the layer's own parameters."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import parametrizations, prune

import rnnkit
from rnnkit import states
from tests.kernels.paths import KINDS, case_of, kinds, layers
from tests.strategies import LAYERS, Case, assert_same, cases, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


def unrolled(layer: Any, x: Any, **options: object) -> tuple[Any, list[Any]]:
    """Output and states of a layer's cells, unrolled layer by layer, direction by direction."""
    cells = iter(layer.cells())
    ends = []
    for _ in range(layer.num_layers):
        outputs = []
        for reverse in range(1 + layer.bidirectional):
            output, end = rnnkit.unroll(
                next(cells), x, batch_first=layer.batch_first, reverse=bool(reverse), **options
            )
            outputs.append(output)
            ends.append(end)
        x = torch.cat(outputs, dim=-1)
    return x, ends


@pytest.mark.parametrize("fused", [False, True])
@layers
@given(data=st.data())
def test_unrolled_cells_are_the_layer(name: str, data: st.DataObject, *, fused: bool) -> None:
    """The cells over a sequence give the layer's output and state, by kernel or by loop."""
    case: Case = data.draw(cases([name], ["padded"], [torch.float64]))
    layer = case.module(rnnkit).eval()
    expected = layer(case.input())

    output, ends = unrolled(layer, case.input(), fused=fused)

    actual = (output, states.from_layers(ends))
    torch.testing.assert_close(tensors_of(actual), tensors_of(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.covering(2)
@kinds
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_parameters_are_shared(kind: str, *, bidirectional: bool, bias: bool) -> None:
    """Each parameter of the layer is one of a cell, the same object, and there are no others."""
    layer = case_of(kind, num_layers=2, bias=bias, bidirectional=bidirectional).module(rnnkit)

    cells = layer.cells()

    expected = [
        (row, name.partition("_l")[0], id(weight))
        for row, names in enumerate(layer._all_weights)
        for name, weight in ((name, getattr(layer, name)) for name in names)
    ]
    actual = [
        (row, name, id(weight))
        for row, cell in enumerate(cells)
        for name, weight in cell.named_parameters()
    ]
    assert sorted(actual) == sorted(expected)
    assert len({id(weight) for weight in layer.parameters()}) == len(actual)


@kinds
def test_cells_follow_layer_by_layer(kind: str) -> None:
    """The first two read the input, forward and backward; the next two read both directions."""
    case = case_of(kind, num_layers=2, bidirectional=True)
    layer = case.module(rnnkit)
    width = 2 * (case.options.get("proj_size", 0) or case.hidden_size)

    cells = layer.cells()

    assert [cell.input_size for cell in cells] == [case.input_size] * 2 + [width] * 2
    assert {cell.hidden_size for cell in cells} == {case.hidden_size}
    assert all(isinstance(cell, getattr(rnnkit, f"{case.name}Cell")) for cell in cells)
    assert cells[1].weight_hh is layer.weight_hh_l0_reverse
    assert cells[2].weight_ih is layer.weight_ih_l1


@kinds
def test_training_the_layer_trains_its_cells(kind: str) -> None:
    """After a step of an optimizer on the layer its cells, taken before, are the new layer's."""
    case = case_of(kind)
    layer, x = case.module(rnnkit), case.numbers()
    cells = layer.cells()
    before = cells[0](x[0])

    layer(x)[0].sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()

    after = cells[0](x[0])
    assert not torch.equal(tensors_of(before)[0], tensors_of(after)[0])
    torch.testing.assert_close(tensors_of(after)[0], layer.step(x[0])[0], rtol=1e-12, atol=1e-12)


@kinds
def test_training_a_cell_trains_the_layer(kind: str) -> None:
    """After a step of an optimizer on a cell the layer is the new cells'."""
    case = case_of(kind, num_layers=2)
    layer, x = case.module(rnnkit), case.numbers()
    upper = layer.cells()[1]
    before = copy.deepcopy(layer.state_dict())

    unrolled(layer, x)[0].sum().backward()
    torch.optim.SGD(upper.parameters(), lr=0.5).step()

    changed = {
        name for name, weight in layer.state_dict().items() if (weight != before[name]).any()
    }
    assert changed == {name for name in before if name.endswith("_l1")}
    torch.testing.assert_close(layer(x)[0], unrolled(layer, x)[0], rtol=1e-10, atol=1e-10)


@kinds
def test_gradients_of_the_cells_are_the_layers(kind: str) -> None:
    """A backward pass through the cells leaves at the layer's parameters what its own leaves."""
    case = case_of(kind, num_layers=2, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()

    expected = torch.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters()))
    unrolled(layer, x)[0].square().sum().backward()

    for weight, gradient in zip(layer.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-10, atol=1e-10)


@kinds
@pytest.mark.parametrize("mode", [False, True])
def test_cells_are_of_the_layers_mode_dtype_and_place(kind: str, *, mode: bool) -> None:
    """Cells are in training if the layer is, and of its dtype; no weight is on another device."""
    cells = case_of(kind).module(rnnkit).train(mode).cells()

    assert [cell.training for cell in cells] == [mode]
    assert {weight.dtype for weight in cells[0].parameters()} == {torch.float64}
    assert {tensor.dtype for tensor in tensors_of(cells[0].initial_state(5))} == {torch.float64}
    assert {weight.device.type for weight in cells[0].parameters()} == {"cpu"}


def test_options_of_the_cells() -> None:
    """A relu RNN has relu cells; the options print as those of the cells' class."""
    assert repr(rnnkit.RNN(3, 4, nonlinearity="relu", bias=False).cells()) == (
        "[RNNCell(3, 4, bias=False, nonlinearity=relu)]"
    )
    assert repr(rnnkit.LSTM(3, 6, proj_size=4).cells()[0]).endswith("(3, 6, proj_size=4)")
    assert repr(rnnkit.GRU(3, 4, 2, bidirectional=True).cells()[2]) == "GRUCell(8, 4)"


@kinds
def test_frozen_weights_stay_frozen(kind: str) -> None:
    """Cells of a layer that is not trained are not trained."""
    layer = case_of(kind).module(rnnkit).requires_grad_(False)

    assert not any(weight.requires_grad for cell in layer.cells() for weight in cell.parameters())


@pytest.mark.parametrize("how", ["weight_norm", "prune"])
@layers
def test_weights_that_are_computed(name: str, how: str) -> None:
    """Of a parametrized or pruned weight the cell has the value of now."""
    case = case_of(name)
    layer, x = case.module(rnnkit), case.numbers()
    if how == "prune":
        prune.l1_unstructured(layer, "weight_hh_l0", amount=0.5)
    else:
        parametrizations.weight_norm(layer, "weight_hh_l0")
    layer(x)

    output, _ = unrolled(layer, x)

    torch.testing.assert_close(output, layer(x)[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "RNN" in kind or kind == "GRU"])
def test_a_cell_of_a_layer_is_copied_and_saved_as_any_cell(kind: str) -> None:
    """A copy of a cell has weights of its own; a checkpoint of it loads into a new cell."""
    case = case_of(kind)
    layer, x = case.module(rnnkit), case.numbers()[0]
    (cell,) = layer.cells()
    options = {"nonlinearity": cell.nonlinearity} if case.name == "RNN" else {}

    clone = copy.deepcopy(cell)
    fresh = type(cell)(case.input_size, case.hidden_size, dtype=case.dtype, **options)
    fresh.load_state_dict(cell.state_dict())

    assert clone.weight_ih is not layer.weight_ih_l0
    assert_same(cell(x), clone(x))
    assert_same(cell(x), fresh(x))


@pytest.mark.parametrize("name", LAYERS)
@given(data=st.data())
def test_a_cells_step_is_the_layers(name: str, data: st.DataObject) -> None:
    """A step of the only cell from a state is the layer's step from it, without batch too."""
    drawn = cases([name], ["padded", "unbatched"], [torch.float64])
    case: Case = data.draw(drawn.filter(lambda case: case.rows == 1))
    layer = case.module(rnnkit).eval()
    hx = case.state()
    seq_axis = 1 if case.is_batched and case.options.get("batch_first") else 0
    x_t = case.numbers().select(seq_axis, 0)
    rows = [tensor[0] for tensor in tensors_of(hx)]

    _, expected = layer.step(x_t, hx)
    actual = layer.cells()[0](x_t, tuple(rows) if case.is_lstm else rows[0])

    torch.testing.assert_close(
        tensors_of(actual), [tensor[0] for tensor in tensors_of(expected)], rtol=1e-12, atol=1e-12
    )


def test_module_list_of_cells() -> None:
    """A ModuleList of cells is a list of cells, not one."""
    cells = torch.nn.ModuleList([rnnkit.GRUCell(3, 4), rnnkit.GRUCell(4, 5)])
    listed: Any = cells

    layer = rnnkit.Recurrent(listed)

    assert list(layer.cells) == list(cells)
