"""A correct call enters no code for causes or messages: the guards answer, and explain nothing."""

import contextlib
import dataclasses
import functools
import itertools
import re
import sys

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only as changed

import rnnkit
from rnnkit._checks.guards import completed
from tests.kernels.paths import Wrapped
from tests.strategies import CELLS, CLASSES, DTYPES, LAYERS, LAYOUTS, Case, assert_same

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

LAYER_OPTIONS = [
    {},
    {"batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"proj_size": 2},
    {"proj_size": 2, "num_layers": 3},
]
#: Made here, since a constructor writes down how it was called.
PROJECTED = rnnkit.LSTM(3, 4, proj_size=2).cells()[0]


def right_cases():
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


def states(state):
    """List what may be given as state: nothing, a right one, and a pair in all its forms."""
    if isinstance(state, Tensor):
        return [None, state]
    h, c = state
    return [None, state, [h, c], rnnkit.LSTMState(h, c), (h, None), (None, c), (None, None)]


#: Functions of code that explains, by file and name.
EXPLAINING = re.compile(
    r"/rnnkit/(_base/(message|errors)|_checks/(diagnosis|steps|causes/.*))\.py:\w"
    r"|/rnnkit/.*:_?(refus|diagnose|explain|fix_|goes_to_torch)"
)


@contextlib.contextmanager
def entered():
    """Collect the code of each function that is entered."""
    codes = set()
    before = sys.getprofile()
    # Not settrace, which coverage uses.
    sys.setprofile(lambda frame, *_: codes.add(frame.f_code))
    yield codes
    sys.setprofile(before)


@pytest.fixture(autouse=True)
def _nothing_explains():
    """Check that a correct call enters no code that explains."""
    # The first call on meta imports much of torch, which takes twenty times as long when profiled.
    rnnkit.RNN(1, 1).to("meta")(torch.ones(1, 1, 1, device="meta"))
    with entered() as codes:
        yield
    names = [f"{code.co_filename}:{code.co_name}" for code in codes]
    assert not set(filter(EXPLAINING.search, names))


@pytest.mark.parametrize(
    "dtype", [DTYPES[0], *(pytest.param(d, marks=pytest.mark.slow) for d in DTYPES[1:])], ids=str
)
def test_right_calls(dtype):
    """Each class takes each layout with each right state at once, batch-first ones and on meta, too."""
    for drawn in itertools.islice(right_cases(), 0, None, 1 if dtype is DTYPES[0] else 5):
        case = dataclasses.replace(drawn, dtype=dtype)
        turn = (lambda t: t.transpose(0, 1)) if case.is_batched else (lambda t: t)
        for hx in states(case.state()):
            case.module(rnnkit)(case.input(), hx)
            if case.is_layer:
                case.module(rnnkit, state_batch_first=True)(case.input(), changed(Tensor, turn, hx))
        if case.seq == 1 and dtype is DTYPES[0] and case.layout == "padded":  # meta takes long
            for hx in states(case.state())[:2]:
                moved = changed(Tensor, lambda t: t.to("meta"), hx)
                case.module(rnnkit).to("meta")(case.input().to("meta"), moved)


def test_mixed_dtypes_under_autocast():
    """Autocast brings inputs, states and weights of several dtypes together; c may have its own."""
    for case in right_cases():
        module = case.module(rnnkit)
        low = dataclasses.replace(case, dtype=torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for hx in states(case.state()):
                module(low.input(), hx)
    x = torch.zeros(5, 3, dtype=torch.float64)
    c = torch.zeros(1, 4)
    rnnkit.LSTMCell(3, 4).double()(x[:1], (c.double(), c))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rnnkit.LSTM(3, 4).double()(x, (c.double(), c))


def test_projected_cells_and_no_samples():
    """A projected cell takes its pair in all forms; a batch of no samples is right in torch, too."""
    for batch in (None, 1, 5):
        x = torch.zeros(3 if batch is None else (batch, 3))
        for hx in states(PROJECTED.initial_state(batch)):
            PROJECTED(x, hx)
    for name in CLASSES:
        case = Case(name=name, input_size=3, hidden_size=4, batch=0, seq=7)
        for hx in states(case.state()):
            case.module(rnnkit)(case.input(), hx)


def test_lengths_and_resets():
    """Neither do calls with lengths and resets, of layers, cells, cells of users, and steps."""
    lengths = [7, 2, 5]
    reset = torch.zeros(7, 3, dtype=torch.bool)
    x = torch.ones(7, 3, 3)
    reset[3, 1] = reset[0, 0] = True
    both = {"lengths": torch.tensor(lengths), "reset": reset}
    for name in LAYERS:
        cell = getattr(rnnkit, f"{name}Cell")(3, 4)
        layer = getattr(rnnkit, name)(3, 4)
        wrapped = Wrapped(cell)
        deep = rnnkit.Recurrent(cell, reverse_cells=[wrapped])
        runs = (layer, deep, functools.partial(rnnkit.unroll, cell))
        given = ({"lengths": lengths}, {"reset": reset}, both)
        for run, options in itertools.product(runs, given):
            _, state = run(x, **options)
            run(x, state, **options)
            rnnkit.unroll(wrapped, x, return_states=True, **options)
        _, state = layer.step(x[0])
        layer.step(x[1], state)
        layer.last_hidden(state)
        rnnkit.states.select(rnnkit.states.repeat(state, 2), [0, 1])
        rnnkit.states.reset(state, [0, 1, 1])


def test_an_order_of_few_bits():
    """An order of int32 fits, too."""
    sizes = {"input_size": 3, "hidden_size": 4, "batch": 3, "seq": 4}
    for name in LAYERS:
        case = Case(name=name, layout="packed unsorted", lengths=(2, 4, 1), **sizes)
        x = case.input()
        orders = ("sorted_indices", "unsorted_indices")
        short = x._replace(**{order: getattr(x, order).int() for order in orders})
        expected, actual = (case.module(rnnkit)(each, case.state()) for each in (x, short))
        assert_same([expected[0].data, expected[1]], [actual[0].data, actual[1]])


def test_wrong_calls_are_noticed():
    """A wrong call enters the code that explains."""
    with entered() as codes, pytest.raises(rnnkit.ShapeError):
        rnnkit.GRU(3, 4)(torch.zeros(7, 5, 2))
    assert {"diagnose", "refusal"} <= {code.co_name for code in codes}


@pytest.mark.parametrize("place", [0, 1])
def test_half_a_state_that_goes_to_torch_is_completed(place):
    """What is given of a pair stays, and the rest is zeros of its sizes; nothing is invented."""
    layer = rnnkit.LSTM(3, 4)
    given = torch.randn(1, 5, 4)
    pair = [None, None]
    pair[place] = given

    whole = completed(layer, tuple(pair))

    assert whole[place] is given
    assert torch.equal(whole[1 - place], torch.zeros_like(given))
    assert completed(layer, (None, None)) is None
    assert completed(rnnkit.GRU(3, 4), given) is given
