"""Loops that feed an output back: the state goes on as well, or is that of the first step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model

BATCH, SEQ, FEATURE, HIDDEN, STEPS = 3, 7, 4, 5, 6

Advance = Callable[[Any, Any], Any]


def decoder(cell: nn.Module, encoder: nn.Module, *, held: bool, tokens: bool = False) -> Model:
    """Writes steps, each from the one before; the state goes on, or is the encoder's throughout."""

    def compute(m: Any, x: Tensor) -> Tensor:
        _, state = m.encoder(x)
        is_cell = isinstance(m.cell, nn.RNNCellBase)
        if is_cell:
            state = tuple(part[0] for part in state) if isinstance(state, tuple) else state[0]
        step, steps = x[:, -1], []
        for _ in range(STEPS):
            given = step if is_cell else step.unsqueeze(1)
            made = m.cell(given, state)
            y, new = (None, made) if is_cell else made
            state = state if held else new
            h = new[0] if isinstance(new, tuple) else new
            scores = m.head(h if y is None else y[:, 0])
            step = m.embedding(scores.argmax(1)) if tokens else scores
            steps.append(scores)
        return torch.stack(steps, 1)

    return Model(
        compute,
        cell=cell,
        encoder=encoder,
        head=nn.Linear(HIDDEN, FEATURE, bias=False),
        embedding=nn.Embedding(FEATURE, FEATURE),
    )


KINDS = {
    "GRUCell": (nn.GRUCell, nn.GRU),
    "LSTMCell": (nn.LSTMCell, nn.LSTM),
    "RNNCell": (nn.RNNCell, nn.RNN),
    "GRU": (nn.GRU, nn.GRU),
    "LSTM": (nn.LSTM, nn.LSTM),
}


@pytest.mark.parametrize("tokens", [False, True], ids=["numbers", "tokens"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_never_goes_on(kind: str, tokens: bool) -> None:
    """It is found; and its twin, whose state goes on, is right."""
    one, other = KINDS[kind]
    first = {} if kind.endswith("Cell") else {"batch_first": True}
    cell, encoder = one(FEATURE, HIDDEN, **first), other(FEATURE, HIDDEN, batch_first=True)
    x = torch.randn(BATCH, SEQ, FEATURE)

    assert rnnkit.verify(decoder(cell, encoder, held=False, tokens=tokens), x)
    with pytest.raises(rnnkit.LeakError, match=f"cell \\({kind}\\) is called 6 times") as caught:
        rnnkit.verify(decoder(cell, encoder, held=True, tokens=tokens), x)
    assert caught.value.probe == "use"


def alternatives(m: Any, x: Tensor, actions: Tensor) -> Tensor:
    """One step ahead for each action, from one state."""
    h = m.encoder(x)[1][0]
    return torch.stack([m.head(m.cell(action, h)) for action in actions.unbind(1)], 1)


def refined(m: Any, x: Tensor, actions: Tensor) -> Tensor:
    """One result that is refined from its context, which stays."""
    h = m.encoder(x)[1][0]
    step = actions[:, 0]
    for _ in range(STEPS + 4):
        step = m.head(m.cell(step, h))
    result: Tensor = step
    return result


@pytest.mark.parametrize("compute", [alternatives, refined])
def test_calls_from_one_state_that_are_right(compute: Callable[..., Tensor]) -> None:
    """Alternatives do not follow each other, and a refined result is no sequence."""
    model = Model(
        compute,
        encoder=nn.GRU(FEATURE, HIDDEN, batch_first=True),
        cell=nn.GRUCell(FEATURE, HIDDEN),
        head=nn.Linear(HIDDEN, FEATURE),
    )

    x, actions = torch.randn(BATCH, SEQ, FEATURE), torch.randn(BATCH, STEPS, FEATURE)
    assert "use" in rnnkit.verify(model, x, actions).checked


def test_what_is_said() -> None:
    """The message says what goes on and what does not, and how a loop passes its state on."""
    cell, encoder = nn.GRUCell(FEATURE, HIDDEN), nn.GRU(FEATURE, HIDDEN, batch_first=True)
    with pytest.raises(rnnkit.LeakError) as caught:
        rnnkit.verify(decoder(cell, encoder, held=True), torch.randn(BATCH, SEQ, FEATURE))
    assert str(caught.value) == snapshot("""\
cell (GRUCell) is called 6 times, each time with the state of call 0
  evidence   its next input depends on what it returned, and its next state does not
  fix        y, state = layer(x, state), or state = cell(x, state), in the loop
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
""")
