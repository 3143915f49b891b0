"""What layers have beside their call, in the hands of torch's tools: they trace, compile, map."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import rnnkit
from rnnkit import states
from tests.torch.interop import BATCH, CELLS, HIDDEN, INPUT, LAYERS, SEQ, pair, same
from tests.torch.test_fx import Uses


def put_together(layer, x):
    """A pair of values of the graph is a state of the layer."""
    state = layer(x)[1]
    return layer.last_hidden((state[0], state[1]) if isinstance(layer, nn.LSTM) else state)


def begun(h: float | None, c: float | None):
    """Begin with h, with c, or with neither; None stands for zeros."""

    def use(layer, x):
        given = [each and x.new_full((1, x.shape[1], HIDDEN), each) for each in (h, c)]
        return layer(x, tuple(given) if isinstance(layer, nn.LSTM) else given[0])[0]

    return use


USES = {
    "last_hidden": lambda layer, x: layer.last_hidden(layer(x)[1]),
    "split_state": lambda layer, x: layer.split_state(layer(x)[1]),
    "a pair": put_together,
    "step": lambda layer, x: layer.step(x[0])[0],
    "h": begun(1.0, None),
    "c": begun(None, 1.0),
    "neither": begun(None, None),
    "initial_state": lambda layer, x: layer(x, layer.initial_state(x.shape[1]))[0],
}


def model_of(name: str, use: str):
    """Make a model that uses a layer in one way."""
    return Uses(getattr(rnnkit, name)(INPUT, HIDDEN), lambda model, x, _: USES[use](model.core, x))


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.unhooked("the hook's checks look at sizes, which are tensors or proxies there")
@pytest.mark.parametrize("use", USES)
def test_traced(use):
    """By torch.jit and torch.fx: the same for a batch of another size too."""
    for name in LAYERS:
        model = model_of(name, use)
        x = torch.randn(SEQ, BATCH, INPUT)
        larger = torch.randn(SEQ, BATCH + 2, INPUT)
        traces = [torch.jit.trace(model, x, check_trace=False)]
        if use != "initial_state" or torch.__version__ >= "2.13":  # a Proxy was no size of a tensor
            traces.append(torch.fx.symbolic_trace(model))
        for trace in traces:
            for given in (x, larger):
                same(model(given), trace(given))


def test_the_dtype_of_a_first_state():
    """It is that of the weights of this call, and of the next; of a computed weight, too."""
    x = torch.randn(SEQ, BATCH, INPUT)
    for name in LAYERS:
        model = model_of(name, "initial_state")
        double = {key: weight.detach().double() for key, weight in model.named_parameters()}
        found = torch.func.functional_call(model, double, (x.double(),))
        assert found.dtype is torch.float64
        assert model(x).dtype is torch.float32

    layer = rnnkit.LSTM(INPUT, HIDDEN, dtype=torch.float64)
    nn.utils.parametrizations.weight_norm(layer, "weight_ih_l0")
    state = layer.initial_state(BATCH)
    assert state.c.dtype is torch.float64
    layer(x.double(), state)


def test_states_under_vmap():
    """Each of many states has its own samples picked, or reset."""
    many = torch.randn(4, 1, 2, HIDDEN)
    index = torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1]])

    for function in (states.select, states.reset):
        expected = torch.stack([function(*one) for one in zip(many, index, strict=True)])
        same(expected, torch.vmap(function)(many, index))


@pytest.mark.unhooked("the annotation asks for initial_state")
def test_torchs_cells_are_unrolled():
    """They take None, and are run from None; backward, with lengths, a first state is missed."""
    x = torch.randn(SEQ, 3, INPUT)
    lengths = [5, 3, 1]
    for name in CELLS:
        theirs, ours = pair(name)
        for options in ({}, {"lengths": lengths}, {"return_states": True}):
            found = rnnkit.unroll(theirs, x, **options)
            assert_close(found, rnnkit.unroll(ours, x, fused=False, **options))

    cell = nn.GRUCell(INPUT, HIDDEN)
    with pytest.raises(rnnkit.CellError, match="has no initial_state"):
        rnnkit.unroll(cell, x, lengths=lengths, reverse=True)
    assert rnnkit.Recurrent(cell, reverse_cells=cell)(x)[0].shape == (SEQ, 3, 2 * HIDDEN)

    adds = nn.Bilinear(INPUT, INPUT, INPUT)  # its second argument has no default
    with pytest.raises(TypeError) as caught:
        rnnkit.unroll(adds, x)
    assert "no hx was given" in caught.value.__notes__[1]
