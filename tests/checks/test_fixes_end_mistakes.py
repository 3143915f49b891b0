"""The law of the fixes: what a refusal says to type runs, ends the mistake and keeps what was right.

Random wrong calls: layers, cells, packed, projected, unbatched, unrolled, in both layouts.
"""

import ast
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from tests.checks.typist import ends, parsed, pieces
from tests.strategies import cases

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

#: What no expression mends: the words say where to look instead.
IN_WORDS = {"state-is-output", "state-width", "input-rank", "input-width"}
NAMES = ("GRU", "LSTM", "GRUCell", "LSTMCell")
often = functools.partial(settings, suppress_health_check=[*hypothesis.HealthCheck])


class Drawn(NamedTuple):
    """A call that is right, and what its names stand for."""

    names: dict[str, Any]
    shapes: Sequence[tuple[int, ...]]  # of the state
    run: Callable[[Any, Any], object]

    def refusal(self, input, hx):
        """Return the error of a call, if there is one."""
        try:
            self.run(input, hx)
        except rnnkit.ShapeError as error:
            return error
        return None


def state_of(tensors):
    """Return a state of these tensors."""
    return tuple(tensors) if len(tensors) > 1 else tensors[0]


@st.composite
def calls(draw):
    """Draw a right call."""
    case = draw(cases(NAMES, dtypes=[torch.float32]))
    first = draw(st.booleans())
    options = {"state_batch_first": True} if case.is_layer and first else {}
    module = case.module(rnnkit, **options)
    input = case.input()
    shapes = case.state_shapes
    if options and case.is_batched:
        shapes = [(batch, rows, width) for rows, batch, width in shapes]
    if case.is_layer or not case.is_batched or draw(st.booleans()):
        return Drawn({"layer": module, "cell": module, "input": input}, shapes, module)
    names = {"cell": module, "input": torch.ones(case.seq, *input.shape).transpose(0, int(first))}
    return Drawn(names, shapes, lambda x, hx: rnnkit.unroll(module, x, hx, batch_first=first))


@st.composite
def changed(draw, shape):
    """Draw a shape that people give instead of this."""
    axis = draw(st.integers(0, len(shape) - 1))
    size = shape[axis]
    other = draw(st.sampled_from([1, size * 2, size * 3, size // 2, size // 3, size + 1, size - 1]))
    before = shape[:axis]
    after = shape[axis + 1 :]
    ways = [
        *[(*before, max(1, other), *after)] * 5,
        (*before, *after),
        (*before, 1, size, *after),
        (*shape[1::-1], *shape[2:]),
        shape[::-1],
        (2, *shape),
        tuple(draw(st.integers(1, 8)) for _ in range(draw(st.integers(1, 4)))),
    ]
    return draw(st.sampled_from(ways))


def expressions(error):
    """Return what an error's fixes say to type: expressions, without the words beside them."""
    parts = [piece.removeprefix("hx=") for piece in pieces(str(error))]
    texts = [part[:end] for part in parts for end in ends(part, ", |: |$")]
    kinds = ast.Call | ast.Subscript | ast.Tuple | ast.Constant
    return [text for text in texts if "..." not in text and isinstance(parsed(text), kinds)]


def typed(text, names):
    """Type an expression."""
    return eval(text, {"rnnkit": rnnkit, "torch": torch, **names})  # noqa: S307


@often(max_examples=400)
@given(drawn=calls(), data=st.data())
def test_a_wrong_state_is_mended(drawn, data):
    """Each fix of a wrong state runs, ends the mistake and keeps the tensor that was right."""
    places = data.draw(st.sampled_from([[0], [len(drawn.shapes) - 1], range(len(drawn.shapes))]))
    tensors = [torch.ones(shape) for shape in drawn.shapes]
    for place in places:
        tensors[place] = torch.ones(data.draw(changed(drawn.shapes[place])))
    hx = state_of(tensors)
    right = [tuple(t.shape) == shape for t, shape in zip(tensors, drawn.shapes, strict=True)]
    hypothesis.assume(not all(right))
    error = drawn.refusal(drawn.names["input"], hx)

    assert error is not None
    fixes = expressions(error)
    assert fixes or error.code in IN_WORDS
    assert len(str(error).splitlines()) <= 9
    for text in fixes:
        made = typed(text, drawn.names | {"hx": hx} | dict(zip("hc", tensors, strict=False)))
        if text.startswith("input"):
            drawn.run(made, hx)
            continue
        drawn.run(drawn.names["input"], made)
        if made is not None and any(right):
            assert all(made[k] is tensor for k, tensor in enumerate(tensors) if right[k]), text


#: What people give instead of a state, made of the right tensors.
STRUCTURES = {
    "in a list": lambda hx: [hx],
    "a result": lambda hx: (torch.ones(9, 9, 9), hx),
    "an LSTM's result": lambda hx: (torch.ones(9, 9, 9), (hx, hx)),
    "a pair": lambda hx: (hx, hx),
    "the first": lambda hx: hx[0] if isinstance(hx, tuple) else (hx,),
    "the first alone": lambda hx: hx[:1] if isinstance(hx, tuple) else [hx],
    "three": lambda hx: (*hx, hx[0]) if isinstance(hx, tuple) else [hx] * 3,
    "row by row": lambda hx: [list(part) for part in hx] if isinstance(hx, tuple) else list(hx),
    "arrays": lambda hx: [t.numpy() for t in hx] if isinstance(hx, tuple) else hx.numpy(),
    "stacked": lambda hx: torch.stack([hx[-1]] * 2) if isinstance(hx, tuple) else [hx, None],
    "swapped": lambda hx: hx[::-1] if isinstance(hx, tuple) else (None, hx),
}


@often(max_examples=200)
@given(drawn=calls(), how=st.sampled_from(sorted(STRUCTURES)))
def test_a_wrong_structure_is_mended(drawn, how):
    """Each fix of a state that is not the module's tensors runs and ends the mistake."""
    hx = STRUCTURES[how](state_of([torch.ones(shape) for shape in drawn.shapes]))
    error = drawn.refusal(drawn.names["input"], hx)

    for text in expressions(error):
        drawn.run(drawn.names["input"], typed(text, {**drawn.names, "hx": hx}))


@often(max_examples=200)
@given(drawn=calls(), data=st.data())
def test_a_wrong_input_is_mended(drawn, data):
    """Each fix of a wrong input runs and ends the mistake."""
    hypothesis.assume(isinstance(drawn.names["input"], Tensor))
    x = torch.ones(data.draw(changed(tuple(drawn.names["input"].shape))))
    error = drawn.refusal(x, None)
    fixes = expressions(error)

    assert error is None or fixes or error.code in IN_WORDS
    for text in fixes:
        drawn.run(typed(text, {**drawn.names, "input": x}), None)
