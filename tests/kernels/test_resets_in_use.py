"""``reset`` in layers, ``unroll`` and Recurrent: one law for all, under whatever watches a call."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.kernels.paths import LENGTHS, SEQ, case_of, kinds, layers, on, skip_without_kernel
from tests.strategies import assert_same, tensors_of

BATCH = len(LENGTHS)


def mask(rate: float = 0.4) -> Tensor:
    """A mask with resets at many steps, and one at the first."""
    reset = torch.rand(SEQ, BATCH, generator=torch.Generator().manual_seed(1)) < rate
    reset[0, 1] = True
    return reset


def close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Two results hold the same tensors, but for the order of sums."""
    torch.testing.assert_close(
        tensors_of(actual), tensors_of(expected), rtol=tolerance, atol=tolerance
    )


@kinds
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("fused", [True, False])
def test_unrolled_cells_are_the_layer(kind: str, lengths: Any, fused: bool) -> None:
    """Unrolled from both ends, the cells of a layer give what the layer gives."""
    case = case_of(kind, bidirectional=True)
    layer, x, tensors = case.module(rnnkit), case.numbers(), case.tensors()
    hx: Any = tensors if case.is_lstm else tensors[0]
    output, state = layer(x, hx, lengths=lengths, reset=mask())

    for place, cell in enumerate(layer.cells()):
        start: Any = tuple(tensor[place] for tensor in tensors)
        actual = rnnkit.unroll(
            cell, x, start if case.is_lstm else start[0],
            lengths=lengths, reset=mask(), reverse=bool(place), fused=fused,
        )  # fmt: skip
        expected = output.chunk(2, dim=2)[place], [each[place] for each in tensors_of(state)]
        close(actual, expected)


@kinds
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_is_the_layer(kind: str, batch_first: bool) -> None:
    """A Recurrent of a layer's cells gives what the layer gives, in both directions."""
    case = case_of(kind, bidirectional=True, num_layers=2, batch_first=batch_first)
    layer, x = case.module(rnnkit), case.numbers()
    cells = layer.cells()
    recurrent = rnnkit.Recurrent(cells[::2], cells[1::2], batch_first=batch_first)
    reset = mask().T if batch_first else mask()

    output, states = recurrent(x, lengths=LENGTHS, reset=reset)

    close((output, rnnkit.states.from_layers(states)), layer(x, lengths=LENGTHS, reset=reset))


@layers
@pytest.mark.parametrize("reverse", [False, True])
def test_all_states(name: str, reverse: bool) -> None:
    """The state after each step is the output there, or what it was beyond the length."""
    case = case_of(name)
    cell, x = case.module(rnnkit).cells()[0], case.numbers()

    output, states = rnnkit.unroll(cell, x, reset=mask(), reverse=reverse, return_states=True)
    expected, end = rnnkit.unroll(cell, x, reset=mask(), reverse=reverse)

    close(output, expected)
    close(tensors_of(states)[0], expected)
    close([tensor[0 if reverse else -1] for tensor in tensors_of(states)], end)


class Learned(rnnkit.GRUCell):
    """A cell whose first state is a parameter."""

    def __init__(self, *sizes: int) -> None:
        """Make the parameter."""
        super().__init__(*sizes, dtype=torch.float64)
        self.first = nn.Parameter(torch.randn(sizes[1], dtype=torch.float64))

    def initial_state(self, batch_size: int | None) -> Tensor:
        """Begin all samples alike."""
        assert batch_size is not None
        return self.first.expand(batch_size, -1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("at", ["anywhere", "the first step"])
def test_a_first_state_of_the_cells_own(reverse: bool, given: bool, at: str) -> None:
    """A sample starts again from the cell's first state, which gets its gradient."""
    cell = Learned(6, 3)
    x, hx = torch.randn(SEQ, BATCH, 6).double(), torch.randn(BATCH, 3).double()
    reset = mask()
    if at == "the first step":
        reset[1:] = False
    options: dict[str, Any] = {"reset": reset, "reverse": reverse}

    results = []
    for path in ("rows", "packed", "steps", "loop"):
        with on(path):
            start = hx if given else None
            output, state = rnnkit.unroll(cell, x, start, fused=path != "loop", **options)
        total = output.pow(2).sum() + state.pow(3).sum() + 0 * cell.first.sum()
        results.append([output, state, torch.autograd.grad(total, cell.first)[0]])

    for result in results[:-1]:
        close(result, results[-1])


@layers
def test_under_vmap(name: str) -> None:
    """Each of many batches has resets of its own."""
    case = case_of(name, bidirectional=True)
    layer, reset = case.module(rnnkit), torch.stack([mask(), mask(0.1)])
    x = torch.randn(2, SEQ, BATCH, 6, dtype=torch.float64)

    actual = torch.func.vmap(lambda x, reset: layer(x, reset=reset)[0])(x, reset)

    each = [layer(one, reset=cut)[0] for one, cut in zip(x, reset, strict=True)]
    close(actual, torch.stack(each))


@layers
@pytest.mark.needs_torch("2.13", "torch.func.jvp reads no value of a tensor made inside of it")
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_forward_derivatives(name: str) -> None:
    """Forward-mode derivatives are those of backward mode."""
    case = case_of(name, num_layers=2)
    layer, x = case.module(rnnkit), case.numbers().detach()
    tangent = torch.randn_like(x)

    def output(x: Tensor) -> Tensor:
        return layer(x, lengths=LENGTHS, reset=mask())[0]

    _, actual = torch.func.jvp(output, (x,), (tangent,))
    _, expected = torch.autograd.functional.jvp(output, x, tangent)

    close(actual, expected)


@layers
def test_traced(name: str) -> None:
    """A trace takes the mask as an input."""
    layer = case_of(name).module(rnnkit).eval().requires_grad_(requires_grad=False)
    x = torch.randn(SEQ, BATCH, 6, dtype=torch.float64)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that tracing is old, and that sizes are fixed
        traced = torch.jit.trace(
            lambda x, reset: layer(x, reset=reset)[0], (x, mask()), check_trace=False
        )

    close(traced(x, mask(0.1)), layer(x, reset=mask(0.1))[0])


@pytest.mark.unhooked("a tracer's sizes are tensors")
@layers
def test_unrolled_cells_traced(name: str) -> None:
    """So does a trace of unroll."""
    layer = case_of(name).module(rnnkit).requires_grad_(requires_grad=False)
    (cell,) = layer.cells()
    x = torch.randn(SEQ, BATCH, 6, dtype=torch.float64)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(
            lambda x, reset: rnnkit.unroll(cell, x, reset=reset)[0],
            (x, mask()), check_trace=False,
        )  # fmt: skip

    close(traced(x, mask(0.1)), rnnkit.unroll(cell, x, reset=mask(0.1))[0])


@kinds
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("number", [1.0, float("nan")])
def test_autocast(kind: str, rate: float, number: float) -> None:
    """Under autocast output and state are of the dtype that they have without resets."""
    skip_without_kernel(kind)
    case = case_of(kind, torch.float32, num_layers=2, bidirectional=True)
    layer, x = case.module(rnnkit).eval(), case.numbers().detach()
    x[0, 0, 0] = number
    reset = torch.zeros(SEQ, BATCH, dtype=torch.bool)
    reset[2:] = torch.rand(SEQ - 2, BATCH) < rate

    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(x)
        actual = layer(x, reset=reset)

    dtypes = [tensor.dtype for tensor in tensors_of(expected)]
    assert [tensor.dtype for tensor in tensors_of(actual)] == dtypes
    clean = layer(x, reset=reset)[0][:, 1:]
    torch.testing.assert_close(actual[0][:, 1:].float(), clean, rtol=0.05, atol=0.05)


@kinds
def test_autocast_without_a_kernel(kind: str) -> None:
    """Where autocast asks for a kernel that is missing, resets run as without autocast."""
    case = case_of(kind, torch.float32)
    layer, x = case.module(rnnkit), case.numbers()

    with torch.autocast("cpu", torch.float16):
        output, state = layer(x, case.state(), reset=mask())
    sum(tensor.float().sum() for tensor in (output, *tensors_of(state))).backward()

    expected = layer(x, case.state(), reset=mask())[0]
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)


@layers
def test_backward_under_autocast(name: str) -> None:
    """Gradients of what ran in full precision are of full precision, wherever backward is called."""
    case = case_of(name, torch.float32)
    layer, x = case.module(rnnkit), case.numbers()
    found = []
    for enabled in (False, True):
        with on("rows"):
            output, _ = layer(x, reset=mask())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(output.sum(), [x, *layer.parameters()]))

    assert_same(*found)


@layers
def test_dropout_between_layers(name: str) -> None:
    """In training, features between two layers are dropped, by the random numbers of the moment."""
    case = case_of(name, num_layers=2, dropout=0.5)
    layer, x = case.module(rnnkit), case.numbers()

    for path in ("blank", "rows", "packed"):
        with on(path):
            torch.manual_seed(0)
            first = layer(x, reset=mask())[0]
            torch.manual_seed(0)
            assert_same(first, layer(x, reset=mask())[0])
            assert not torch.equal(first, layer(x, reset=mask())[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@kinds
def test_half_precision(kind: str, dtype: torch.dtype) -> None:
    """In half precision a batch keeps its dtype and is near to what it gives in float32."""
    case = case_of(kind, dtype, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()

    output, state = layer(x, reset=mask())

    expected = copy.deepcopy(layer).float()(x.float(), reset=mask())[0]
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)
    assert {tensor.dtype for tensor in (output, *tensors_of(state))} == {dtype}


@layers
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.slow
def test_compiled(name: str) -> None:
    """A compiled parent runs resets and lengths as the eager one does."""
    case = case_of(name, bidirectional=True)
    recurrent = rnnkit.Recurrent(case.module(rnnkit).cells()[:1])
    x = case.numbers()
    torch._dynamo.reset()

    compiled = torch.compile(
        lambda x, reset: recurrent(x, lengths=list(LENGTHS), reset=reset), backend="eager"
    )

    close(compiled(x, mask()), recurrent(x, lengths=list(LENGTHS), reset=mask()))


@layers
def test_state_batch_first(name: str) -> None:
    """States with the batch first go in and come out so."""
    case = case_of(name, num_layers=2)
    layer, x, tensors = case.module(rnnkit), case.numbers(), case.tensors()
    other = case.module(rnnkit, state_batch_first=True)
    turned: Any = tuple(tensor.transpose(0, 1) for tensor in tensors)

    output, state = layer(x, tensors if case.is_lstm else tensors[0], reset=mask())
    actual, end = other(x, turned if case.is_lstm else turned[0], reset=mask())

    assert_same(output, actual)
    assert_same([tensor.transpose(0, 1) for tensor in tensors_of(state)], tensors_of(end))


class LearnedLayer(rnnkit.LSTM):
    """A layer whose first state is not zeros."""

    def initial_state(self, batch_size: int | None) -> Any:
        """Begin all samples alike."""
        zeros = super().initial_state(batch_size)
        return rnnkit.LSTMState(zeros.h + 0.5, zeros.c - 0.25)


@pytest.mark.parametrize("state_batch_first", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_a_first_state_of_the_layers_own(*, state_batch_first: bool, batched: bool) -> None:
    """A sample starts again from what the layer itself begins from, in both directions."""
    layer = LearnedLayer(
        6, 3, bidirectional=True, dtype=torch.float64, state_batch_first=state_batch_first
    )
    x = torch.randn(SEQ, BATCH, 6, dtype=torch.float64)
    reset = torch.zeros(SEQ, BATCH, dtype=torch.bool)
    reset[0, 0] = reset[4] = True
    if not batched:
        x, reset = x[:, 0], reset[:, 0]

    output, state = layer(x, reset=reset)

    (first, before), (last, after) = layer(x[:4]), layer(x[4:])
    close(output, torch.cat([first, last]))
    # Forward the last piece ends it, backward the first one.
    rows = 1 if batched and state_batch_first else 0
    for end, *parts in zip(tensors_of(state), tensors_of(after), tensors_of(before), strict=True):
        wanted = [part.select(rows, place) for place, part in enumerate(parts)]
        close([end.select(rows, place) for place in (0, 1)], wanted)
