"""A right call passes the guards at once: no diagnosis, which takes long, looks at it.

Where a guard fires needlessly nothing is refused, since the diagnosis finds nothing; but the call
costs ten times as much.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import torch

import rnnkit
from rnnkit._checks import calls, packed
from rnnkit._checks.call_spec import spec_of_cell, spec_of_layer
from rnnkit._checks.dtype_errors import state_dtype_or_device
from tests.strategies import CELLS, LAYERS, LAYOUTS, Case, assert_same

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

LAYER_OPTIONS: list[dict[str, Any]] = [
    {},
    {"batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"proj_size": 2},
    {"proj_size": 2, "num_layers": 3},
]
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def right_cases() -> Iterator[Case]:
    """List uses of every class: no two sizes are alike, then all are one."""
    sizes = {"input_size": 3, "hidden_size": 4, "batch": 5, "seq": 7}
    ones = dict.fromkeys(sizes, 1)
    for name, layout, options in itertools.product(LAYERS, LAYOUTS, LAYER_OPTIONS):
        lengths = (7, 6, 6, 2, 1) if layout == "packed" else (2, 7, 1, 6, 6)
        if "proj_size" in options and name != "LSTM":
            continue
        case = Case(name=name, layout=layout, lengths=lengths, options=options, **sizes)
        yield case
        if "proj_size" not in options:
            yield dataclasses.replace(case, lengths=(1,), **ones)
    for name, layout, some in itertools.product(CELLS, ("padded", "unbatched"), (sizes, ones)):
        yield Case(name=name, layout=layout, **some)


def states(case: Case) -> list[Any]:
    """List what may be given as state: nothing, one, and a pair in all its forms."""
    state = case.state()
    if not case.is_lstm:
        return [None, state]
    h, c = state
    return [None, state, [h, c], rnnkit.LSTMState(h, c), (h, None), (None, c), (None, None)]


@pytest.fixture(autouse=True)
def _no_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a guard asks for a diagnosis."""

    def asked(*_: object, **__: object) -> NoReturn:
        message = "a guard has fired at a right call"
        raise AssertionError(message)

    for name in vars(calls):
        if name.startswith(("diagnose", "refuse_", "check_packed")):
            monkeypatch.setattr(calls, name, asked)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_right_calls(dtype: torch.dtype) -> None:
    """Each class takes each layout with each right state at once."""
    for drawn in right_cases():
        case = dataclasses.replace(drawn, dtype=dtype)
        module = case.module(rnnkit)
        for hx in states(case):
            module(case.input(), hx)


def test_batch_first_states() -> None:
    """So do layers whose states have the batch on axis 0."""
    for case in right_cases():
        if not case.is_layer:
            continue
        module = case.module(rnnkit, state_batch_first=True)
        for hx in states(case):
            turned = hx
            if case.is_batched and hx is not None:
                parts = [hx] if isinstance(hx, torch.Tensor) else list(hx)
                parts = [part if part is None else part.transpose(0, 1) for part in parts]
                turned = parts if case.is_lstm else parts[0]
            module(case.input(), turned)


def test_mixed_dtypes_under_autocast() -> None:
    """Autocast brings inputs, states and weights of several dtypes together."""
    for case in right_cases():
        module = case.module(rnnkit)
        low = dataclasses.replace(case, dtype=torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for hx in states(case):
                module(low.input(), hx)


def test_cells_of_projected_layers() -> None:
    """The cell of an LSTM with a projection takes its pair in all forms, batched or not."""
    cell = rnnkit.LSTM(3, 4, proj_size=2).cells()[0]
    for batch in (None, 1, 5):
        x = torch.zeros(3 if batch is None else (batch, 3))
        h, c = cell.initial_state(batch)
        for hx in (None, (h, c), [h, c], (h, None), (None, c), (None, None)):
            cell(x, hx)


def test_no_samples() -> None:
    """A batch of no samples is right where torch takes it."""
    for name in (*LAYERS, *CELLS):
        case = Case(name=name, input_size=3, hidden_size=4, batch=0, seq=7)
        for hx in states(case):
            case.module(rnnkit)(case.input(), hx)


def test_an_order_of_few_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order of int32 is looked at once more; the state beside it is not."""
    monkeypatch.setattr(calls, "check_packed", packed.check_packed)
    for name in LAYERS:
        case = Case(
            name=name,
            input_size=3,
            hidden_size=4,
            batch=3,
            seq=4,
            layout="packed unsorted",
            lengths=(2, 4, 1),
        )
        x = case.input()
        short = x._replace(
            sorted_indices=x.sorted_indices.int(), unsorted_indices=x.unsorted_indices.int()
        )
        expected, actual = (case.module(rnnkit)(each, case.state()) for each in (x, short))
        assert_same([expected[0].data, expected[1]], [actual[0].data, actual[1]])


@pytest.mark.slow
def test_on_another_device() -> None:
    """Where all are on one device, it may be any."""
    for case in right_cases():
        if case.layout.startswith("packed"):
            continue
        module = case.module(rnnkit).to("meta")
        for hx in states(case):
            parts = [hx] if hx is None or isinstance(hx, torch.Tensor) else list(hx)
            parts = [part if part is None else part.to("meta") for part in parts]
            moved = parts if case.is_lstm and hx is not None else parts[0]
            module(case.input().to("meta"), moved)


def test_a_c_of_its_own_dtype() -> None:
    """Where a diagnosis looks at it after all, it finds what the guard has found."""
    cell, x = rnnkit.LSTMCell(3, 4).double(), torch.zeros(5, 3, dtype=torch.float64)
    c = torch.zeros(5, 4)

    cell(x, (c.double(), c))
    assert state_dtype_or_device(spec_of_cell(cell, x), (c, c), 1, x) is None
    assert state_dtype_or_device(spec_of_cell(cell, x), (c, c), 0, x) is not None
    layer = rnnkit.LSTM(3, 4).double()
    spec = spec_of_layer(layer, x)
    assert state_dtype_or_device(spec, (c, c), 1, x) is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x, (c[:1].double(), c[:1]))
        assert state_dtype_or_device(spec, (c, c), 1, x) is None


def test_the_fixture_notices() -> None:
    """A wrong call asks for a diagnosis, which this file forbids."""
    with pytest.raises(AssertionError, match="fired at a right call"):
        rnnkit.GRU(3, 4)(torch.zeros(7, 5, 2))
