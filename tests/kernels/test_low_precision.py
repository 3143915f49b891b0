"""``lengths`` and ``reset`` under autocast, in half precision, and with complex numbers."""

import copy

import torch
from torch.testing import assert_close

import rnnkit
from tests.covering import covers
from tests.kernels.paths import (
    ALL_PATHS,
    BATCH,
    KINDS,
    LENGTHS,
    SEQ,
    by_cells,
    each_layer,
    has_kernel,
    made,
    mask,
    on,
)
from tests.strategies import assert_same, tensors_of

#: What is given beside input and state.
GIVEN = {
    "lengths": {"lengths": LENGTHS},
    "full": {"lengths": (SEQ,) * BATCH},
    "short": {"lengths": (3,) * BATCH},
    "resets": {"reset": mask()},
    "a reset": {"reset": torch.arange(SEQ).unsqueeze(1).expand(SEQ, BATCH) == 2},
}


def expected(layer, x, hx, given):
    """What the layer's cells give in full precision, step by step."""
    each = torch.tensor(GIVEN[given].get("lengths", (SEQ,) * BATCH))
    start = tensors_of(layer.initial_state(BATCH) if hx is None else hx)
    return by_cells(layer, x, start, each, GIVEN[given].get("reset"))


def near(actual, wanted):
    """Two results are near each other, whatever their dtypes."""
    assert_close(tensors_of(actual), tensors_of(wanted), rtol=0.05, atol=0.05, check_dtype=False)


@covers(
    2,
    number=[1.0, torch.nan],
    with_state=[False, True],
    path=ALL_PATHS,
    given=GIVEN,
    kind=KINDS,
)
def test_autocast(kind, path, given, with_state, number):
    """A batch has the dtypes of a call without, and numbers near those of full precision."""
    if not has_kernel(kind):
        return
    case, layer, x = made(kind, torch.float32, num_layers=2, bidirectional=True)
    hx = case.state() if with_state else None
    with torch.no_grad():
        x[0, 0, 0] = number

    with on(path), torch.autocast("cpu", torch.bfloat16):
        result = tensors_of(layer(x, hx, **GIVEN[given]))
        plain = tensors_of(layer(x, hx))
    sum(tensor.float().sum() for tensor in result).backward()

    assert [tensor.dtype for tensor in result] == [tensor.dtype for tensor in plain]
    near(
        *([t[:, 1:] for t in tensors_of(each)] for each in (result, expected(layer, x, hx, given)))
    )
    assert x.grad[:, 1:].isfinite().all()


@covers(2, with_state=[False, True], given=GIVEN, kind=KINDS)
def test_autocast_without_a_kernel(kind, given, with_state):
    """Where oneDNN has no kernel, as to train in float16, a batch runs as without autocast."""
    case, layer, x = made(kind, torch.float32, num_layers=2, bidirectional=True)
    hx = case.state() if with_state else None

    with torch.autocast("cpu", torch.float16):
        result = layer(x, hx, **GIVEN[given])
    sum(tensor.float().sum() for tensor in tensors_of(result)).backward()

    near(result, expected(layer, x, hx, given))
    if kind == "LSTM" and "lengths" in GIVEN[given]:
        assert_close(result, layer(x, hx, **GIVEN[given]))
    assert x.grad.isfinite().all()


@each_layer
def test_backward_under_autocast(name):
    """Gradients of what ran in full precision are of full precision, wherever backward is called."""
    _, layer, x = made(name, torch.float32)
    found = []
    for enabled in (False, True):
        with on("rows"):
            output, _ = layer(x, reset=mask())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(output.sum(), [x, *layer.parameters()]))

    assert_same(*found)


@covers(
    2,
    kind=KINDS,
    dtype=[torch.bfloat16, torch.float16, torch.complex128],
    path=ALL_PATHS,
    given=GIVEN,
)
def test_half_precision_and_complex_numbers(kind, path, given, dtype):
    """A batch keeps its dtype and is near to what it gives in full precision."""
    if dtype.is_complex and kind != "LSTM":
        return
    _, layer, x = made(kind, dtype, bidirectional=True)

    with on(path):
        result = tensors_of(layer(x, **GIVEN[given]))

    if not dtype.is_complex:
        layer, x = copy.deepcopy(layer).float(), x.float()
    near(result, expected(layer, x, None, given))
    assert {tensor.dtype for tensor in result} == {dtype}


def test_a_finite_half_is_not_computed_again(monkeypatch):
    """The sum of a finite output in half precision may be infinite: that is no reason to run again."""
    layer = rnnkit.LSTM(1, 64).half()
    x = torch.ones(200, 16, 1, dtype=torch.half)
    torch.nn.init.constant_(layer.bias_ih_l0, 3.0)
    reset = torch.zeros(200, 16, dtype=torch.bool)
    reset[100] = True
    monkeypatch.setattr("rnnkit._kernels.paths._run_pieces", None)

    with on("blank"), torch.no_grad():
        output, _ = layer(x, reset=reset)

    assert output.sum().isinf()
    assert output.isfinite().all()
