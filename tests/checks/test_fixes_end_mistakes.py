"""The law of the fixes: what a refusal says to type runs, ends the mistake and keeps what was right.

Random wrong calls: layers, cells, packed, projected, unbatched, unrolled, in both layouts.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

#: What no expression mends: the words say where to look instead.
IN_WORDS = {"state-is-output", "state-width", "input-rank", "input-width"}


class Drawn(NamedTuple):
    """A call that is right, and what its names stand for."""

    names: dict[str, Any]
    shapes: list[tuple[int, ...]]  # of the state
    run: Callable[[Any, Any], object]

    def state(self, tensors: list[Tensor]) -> Any:
        """Return a state of these tensors."""
        return tuple(tensors) if len(tensors) > 1 else tensors[0]


@st.composite
def calls(draw: st.DrawFn) -> Drawn:
    """Draw a right call."""
    kind = draw(st.sampled_from(["GRU", "LSTM"]))
    how = draw(st.sampled_from(["layer", "packed", "unbatched", "cell", "unrolled", "one sample"]))
    seq, batch, first = draw(st.integers(1, 7)), draw(st.integers(1, 6)), draw(st.booleans())
    x = torch.ones(*((batch, seq) if first else (seq, batch)), 3)
    if how in ("cell", "unrolled", "one sample"):
        cell = getattr(rnnkit, f"{kind}Cell")(3, 4)
        front: tuple[int, ...] = (batch,) if how != "one sample" else ()
        shapes = [(*front, 4)] * (2 if kind == "LSTM" else 1)
        names = {"cell": cell, "input": x if how == "unrolled" else torch.ones(*front, 3)}
        if how == "unrolled":
            return Drawn(names, shapes, lambda x, hx: rnnkit.unroll(cell, x, hx, batch_first=first))
        return Drawn(names, shapes, cell)
    rows, both, states_first = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    projected = {"proj_size": 2} if kind == "LSTM" and draw(st.booleans()) else {}
    options = {"bidirectional": both, "batch_first": first, "state_batch_first": states_first}
    layer = getattr(rnnkit, kind)(3, 4, rows, **options, **projected)
    front = (rows * 2 if both else rows, batch)
    front = front[::-1] if states_first else front
    if how == "packed":
        x = pack_padded_sequence(x, torch.tensor([seq] * batch), first)
    elif how == "unbatched":
        x, front = torch.ones(seq, 3), (rows * 2 if both else rows,)
    widths = [2 if projected else 4, 4][: 2 if kind == "LSTM" else 1]
    return Drawn({"layer": layer, "input": x}, [(*front, width) for width in widths], layer)


@st.composite
def changed(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Draw a shape that people give instead of this."""
    axis = draw(st.integers(0, len(shape) - 1))
    size = shape[axis]
    other = draw(st.sampled_from([1, size * 2, size * 3, size // 2, size + 1, max(1, size - 1), 7]))
    before, after = shape[:axis], shape[axis + 1 :]
    ways = [
        (*before, max(1, other), *after),
        (*before, *after),
        (*before, 1, size, *after),
        (*shape[1::-1], *shape[2:]),
        shape[::-1],
        (2, *shape),
        tuple(draw(st.integers(1, 8)) for _ in range(draw(st.integers(1, 4)))),
    ]
    return draw(st.sampled_from(ways))


def expressions(error: rnnkit.RnnkitError) -> list[str]:
    """Return what the rows of fixes say to type: expressions, without the words beside them."""
    rows = re.split(r"^  fix +", str(error), flags=re.MULTILINE)[1:]
    texts = [re.split(r", if |, which |, then |, one unb| adds |: zeros|: ", row)[0]
             for part in rows for row in re.split(r"\n +(?:or +)?", part)
             if not row.startswith(("where ", "more "))]  # fmt: skip
    parts = [part for text in texts for part in re.split(r",? or ", text)]
    return [part for part in parts if part and "..." not in part and _compiles(part)]


def _compiles(text: str) -> bool:
    try:
        compile(text.removeprefix("hx="), "fix", "eval")
    except SyntaxError:
        return False
    return "(" in text or "None" in text or "[" in text


def typed(text: str, names: dict[str, Any]) -> Any:
    """Type an expression."""
    return eval(text.removeprefix("hx="), {"rnnkit": rnnkit, "torch": torch, **names})  # noqa: S307


@settings(deadline=None, max_examples=400, suppress_health_check=list(hypothesis.HealthCheck))
@given(drawn=calls(), data=st.data())
def test_a_wrong_state_is_mended(drawn: Drawn, data: st.DataObject) -> None:
    """Each fix of a wrong state runs, ends the mistake and keeps the tensor that was right."""
    places = data.draw(st.sampled_from([[0], [len(drawn.shapes) - 1], range(len(drawn.shapes))]))
    tensors = [torch.ones(shape) for shape in drawn.shapes]
    for place in places:
        tensors[place] = torch.ones(data.draw(changed(drawn.shapes[place])))
    hx = drawn.state(tensors)
    right = [tuple(t.shape) == shape for t, shape in zip(tensors, drawn.shapes, strict=True)]
    hypothesis.assume(not all(right))
    with pytest.raises(rnnkit.ShapeError) as caught:
        drawn.run(drawn.names["input"], hx)

    fixes = expressions(caught.value)

    assert fixes or caught.value.code in IN_WORDS
    assert len(str(caught.value).splitlines()) <= 9
    for text in fixes:
        made = typed(text, drawn.names | {"hx": hx} | dict(zip("hc", tensors, strict=False)))
        if text.startswith("input"):
            drawn.run(made, hx)
            continue
        drawn.run(drawn.names["input"], made)
        if made is not None and any(right):
            assert all(made[k] is tensor for k, tensor in enumerate(tensors) if right[k]), text


#: What people give instead of a state, made of the right tensors.
STRUCTURES: dict[str, Callable[[Any], Any]] = {
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


@settings(deadline=None, max_examples=200, suppress_health_check=list(hypothesis.HealthCheck))
@given(drawn=calls(), how=st.sampled_from(sorted(STRUCTURES)))
def test_a_wrong_structure_is_mended(drawn: Drawn, how: str) -> None:
    """Each fix of a state that is not the module's tensors runs and ends the mistake."""
    hx = STRUCTURES[how](drawn.state([torch.ones(shape) for shape in drawn.shapes]))
    fixes: list[str] = []
    try:
        drawn.run(drawn.names["input"], hx)
    except rnnkit.ShapeError as error:
        fixes = expressions(error)

    names = {**drawn.names, "hx": hx}
    for text in fixes:
        drawn.run(drawn.names["input"], typed(text, names))


@settings(deadline=None, max_examples=200, suppress_health_check=list(hypothesis.HealthCheck))
@given(drawn=calls(), data=st.data())
def test_a_wrong_input_is_mended(drawn: Drawn, data: st.DataObject) -> None:
    """Each fix of a wrong input runs and ends the mistake."""
    hypothesis.assume(isinstance(drawn.names["input"], Tensor))
    shape = tuple(drawn.names["input"].shape)
    x = torch.ones(data.draw(changed(shape)))
    error = None
    try:
        drawn.run(x, None)
    except rnnkit.ShapeError as caught:
        error = caught

    fixes = expressions(error) if error else []

    assert error is None or fixes or error.code in IN_WORDS
    for text in fixes:
        drawn.run(typed(text, {**drawn.names, "input": x}), None)
