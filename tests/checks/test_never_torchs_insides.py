"""Any call at all: computed as torch computes it, or refused by an error of our own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils import _pytree as pytree

import rnnkit

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
DTYPES = (torch.float32, torch.float64, torch.int64, torch.bfloat16)
FLOATS = (torch.float32, torch.float64, torch.bfloat16)

PAIR = 2

Shape = tuple[int, ...]

sizes = st.integers(1, 4)
anything = st.lists(st.integers(0, 4), max_size=4).map(tuple)
# torch says once in a process that a projection has no fast kernel: no news here.
any_call = pytest.mark.filterwarnings("ignore:LSTM with projections")
many = settings(max_examples=7 * settings().max_examples)


@dataclass(frozen=True)
class Call:
    """A module's class and options, and what it is called with."""

    name: str
    options: dict[str, Any]
    input: Any
    hx: Any

    def ask(self, classes: Any) -> object:
        """Make the call with one or the other's class; the weights are the same."""
        torch.manual_seed(1)
        return getattr(classes, self.name)(**self.options)(self.input, self.hx)

    def is_safe(self) -> bool:
        """Say whether torch may be asked: it reads memory that is not there for some of these.

        With packed input its LSTM looks neither at the state nor, if all sequences are as long,
        at the width of the input. Its cells take a square state for one sample.
        """
        if isinstance(self.input, PackedSequence):
            fits = self.input.data.shape[1:] == (self.options["input_size"],)
            return self.hx is None and (fits or self.name != "LSTM")
        given = self.hx if isinstance(self.hx, tuple | list) else (self.hx,)
        ranks = {state.dim() for state in given if isinstance(state, Tensor)}
        return self.name not in CELLS or self.input.dim() != 1 or ranks <= {1}

    def is_refused_on_purpose(self) -> bool:
        """Say whether torch may compute what we refuse.

        Its LSTM takes a stacked pair, and three tensors without the last, where the input is
        unbatched; and a c of another dtype where oneDNN is not at hand.
        """
        if "LSTM" not in self.name or self.hx is None:
            return False
        if not isinstance(self.hx, tuple | list) or len(self.hx) != PAIR:
            return True
        return len({state.dtype for state in self.hx if state is not None}) > 1

    def is_completed(self) -> bool:
        """Say whether we complete a pair that torch refuses."""
        return isinstance(self.hx, tuple) and self.hx[:1] == (None,)


def tensor(shape: Shape, dtype: torch.dtype) -> Tensor:
    """Return small numbers, none of them zero before a dtype rounds them."""
    return (torch.randn(shape) + 3).to(dtype)


@st.composite
def near(draw: st.DrawFn, shape: Shape) -> Shape:
    """Draw a shape: this one, one that a slip makes of it, or any."""
    slip = draw(st.sampled_from(("none", "none", "none", "size", "drop", "add", "swap", "any")))
    place = draw(st.integers(0, max(len(shape) - 1, 0)))
    size = draw(st.integers(0, 4))
    if slip == "any":
        return draw(anything)
    if slip == "size":
        return (*shape[:place], size, *shape[place + 1 :])
    if slip == "drop":
        return (*shape[:place], *shape[place + 1 :])
    if slip == "add":
        return (*shape[:place], size, *shape[place:])
    return shape[::-1] if slip == "swap" else shape


@st.composite
def states(draw: st.DrawFn, count: int, shapes: tuple[Shape, Shape], dtype: torch.dtype) -> Any:
    """Draw a state: none, the right number of tensors near these shapes, or another structure."""
    if draw(st.integers(0, 3)) == 0:
        return None

    def one(place: int) -> Tensor:
        other = draw(st.integers(0, 7)) == 0
        kind = draw(st.sampled_from(DTYPES)) if other else dtype
        return tensor(draw(near(shapes[place])), kind)

    pair = (one(0), one(1))
    right: Any = pair[0] if count == 1 else pair
    wrong = (pair[0], pair, list(pair), pair[:1], (*pair, pair[0]), (None, pair[1]), (), 0)
    return right if draw(st.integers(0, 4)) else draw(st.sampled_from(wrong))


@st.composite
def layer_calls(draw: st.DrawFn, *, packed: bool = False) -> Call:
    """Draw a layer's call, with a tensor or with packed sequences."""
    name, width, hidden, layers, batch, seq = _plan(draw, LAYERS)
    dtype = draw(st.sampled_from(FLOATS))
    options = {
        "input_size": width,
        "hidden_size": hidden,
        "num_layers": layers,
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "dtype": dtype,
    }
    visible = hidden
    if name == "LSTM" and hidden > 1 and draw(st.booleans()):
        visible = options["proj_size"] = hidden - 1
    rows = layers * (2 if options["bidirectional"] else 1)
    front = (batch, seq) if options["batch_first"] else (seq, batch)
    shape, middle = (*front, width), (rows, batch)
    kind = _dtype(draw, dtype)
    if packed:
        features = draw(st.sampled_from(((width,), (width,), (width, 1), (2,), ())))
        input: Any = draw(packs((seq, batch, *features), kind))
    else:
        if draw(st.booleans()):
            shape, middle = (seq, width), (rows,)
        input = tensor(draw(near(shape)), kind)
    count = 2 if name == "LSTM" else 1
    hx = draw(states(count, ((*middle, visible), (*middle, hidden)), dtype))
    return Call(name, options, input, hx)


@st.composite
def packs(draw: st.DrawFn, shape: Shape, dtype: torch.dtype) -> PackedSequence:
    """Draw the lengths of sequences, in order or not, and pack them."""
    seq, batch = shape[:2]
    lengths = draw(st.lists(st.integers(1, seq), min_size=batch, max_size=batch))
    if in_order := draw(st.booleans()):
        lengths.sort(reverse=True)
    return pack_padded_sequence(
        tensor(shape, dtype), torch.tensor(lengths), enforce_sorted=in_order
    )


@st.composite
def cell_calls(draw: st.DrawFn) -> Call:
    """Draw a cell's call."""
    name, width, hidden, _, batch, _ = _plan(draw, CELLS)
    dtype = draw(st.sampled_from(FLOATS))
    options = {"input_size": width, "hidden_size": hidden, "dtype": dtype}
    front = (batch,) if draw(st.booleans()) else ()
    input = tensor(draw(near((*front, width))), _dtype(draw, dtype))
    count = 2 if name == "LSTMCell" else 1
    return Call(name, options, input, draw(states(count, ((*front, hidden),) * 2, dtype)))


def _plan(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, int, int, int, int, int]:
    name, layers = draw(st.sampled_from(names)), draw(st.integers(1, 2))
    return name, draw(sizes), draw(sizes), layers, draw(sizes), draw(sizes)


def _dtype(draw: st.DrawFn, dtype: torch.dtype) -> torch.dtype:
    return draw(st.sampled_from(DTYPES)) if draw(st.integers(0, 7)) == 0 else dtype


def assert_computed_or_refused(call: Call) -> None:
    """Hold what rnnkit does with a call to what torch does."""
    ours = outcome(lambda: call.ask(rnnkit))
    if isinstance(ours, Exception):
        assert isinstance(ours, rnnkit.RnnkitError)
        theirs = outcome(lambda: call.ask(torch.nn)) if call.is_safe() else ours
        assert call.is_refused_on_purpose() or isinstance(theirs, Exception), (
            "torch computes what rnnkit refuses"
        )
    else:
        theirs = ours if call.is_completed() else outcome(lambda: call.ask(torch.nn))
        assert not isinstance(theirs, Exception), "rnnkit computes what torch refuses"
        torch.testing.assert_close(leaves(ours), leaves(theirs), rtol=0, atol=0)


def leaves(result: object) -> list[Tensor]:
    """Return the tensors of a result; unsorted packing has none for its order."""
    return [leaf for leaf in pytree.tree_leaves(result) if leaf is not None]


def outcome(act: Callable[[], object]) -> object:
    """Return what a call returns or raises."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - which exceptions come is the question
        return error


@any_call
@many
@given(call=layer_calls())
def test_layers(call: Call) -> None:
    """A layer computes what torch computes, and refuses all else in its own words."""
    assert_computed_or_refused(call)


@any_call
@many
@given(call=layer_calls(packed=True))
def test_packed_layers(call: Call) -> None:
    """So does a layer that is given packed sequences."""
    assert_computed_or_refused(call)


@any_call
@many
@given(call=cell_calls())
def test_cells(call: Call) -> None:
    """So does a cell."""
    assert_computed_or_refused(call)
