"""What is wrong with one step of a layer, in the step's words: x_t and state, and no seq axis."""

import re
from typing import Any

from torch import Tensor

from rnnkit._base.message import Cause, raise_for
from rnnkit._checks.call_spec import (
    Axis,
    CallSpec,
    spec_of_cell,
    spec_of_layer,
)
from rnnkit._checks.causes.inputs import diagnose_input
from rnnkit._checks.causes.states import diagnose_state
from rnnkit._checks.diagnosis import completed

#: What a message about a call names, and a step names otherwise.
WORD = re.compile(r"\b(?:the |an )?(input|hx|cell(?=[.]))\b")


def explain_layer_step(layer: Any, x_t: Tensor, state: Any) -> None:
    """Refuse a step of a layer; return if only the layer's call finds what is wrong."""
    axes = (Axis("batch"), Axis("input_size", layer.input_size))[-x_t.dim() :]
    called = spec_of_layer(layer, x_t.unsqueeze(1 if layer.batch_first and x_t.dim() > 1 else 0))
    spec = called._replace(kind="step", actual=tuple(x_t.shape), input_axes=axes, seq=None)
    weight = layer._flat_weights[0]  # noqa: SLF001
    _explain(spec, diagnose_input(spec, x_t, weight), x_t, state)


def explain_cells_step(cells: list[Any], x_t: Tensor, state: Any) -> None:
    """Refuse a step of a ``Recurrent``; of a cell that is None nothing is known."""
    for place, (cell, hx) in enumerate(zip(cells, state, strict=True)):
        if cell is not None:
            spec = spec_of_cell(cell, x_t)._replace(state=f"hx[{place}]")
            weight = next(cell.parameters())
            cause = None if place else diagnose_input(spec, x_t, weight)
            _explain(spec, cause, x_t, hx, place)


def _explain(spec: CallSpec, cause: Cause | None, x_t: Tensor, hx: Any, place: int = 0) -> None:
    if cause is None and hx is not None:
        cause = diagnose_state(spec, completed(spec, hx, x_t), x_t)
    if cause is not None:
        name = spec.state.replace("hx", "state")
        names = {"input": "x_t", "hx": name, "cell": name.replace("state", "layer.cells")}

        def words(text: str) -> str:
            text = text.replace(spec.state, name).replace("hx=", "state=")
            return WORD.sub(lambda found: names[found[1]], text)

        # Only the first cell reads x_t.
        rows = [row for row in cause.rows if row[0] != "input" or place == 0]
        raise_for(
            cause._replace(
                argument=words(cause.argument).partition("[")[0],
                sentence=words(cause.sentence),
                headline=words(cause.headline),
                rows=tuple((words(label), words(text)) for label, text in rows),
            )
        )
