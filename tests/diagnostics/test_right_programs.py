"""Right models that do what a mistake does too: loops over other things, frames skipped, a teacher."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers, reason
from tests.diagnostics.small import gru, said

X = numbers(BATCH, SEQ, FEATURE)
LONG = numbers(BATCH, 40, FEATURE)


def refine(m: Any, x: Tensor) -> Tensor:
    """Refine each step by itself, three times."""
    given = x.flatten(0, 1)
    state = given.new_zeros(len(given), HIDDEN)
    for _ in range(3):
        state = m.cell(given, state)
    return state.view(len(x), -1, HIDDEN)


def along_features(m: Any, x: Tensor) -> Tensor:
    """Run over the features of each step."""
    outputs = []
    for x_t in x.unbind(1):
        state = None
        for one in x_t.split(1, 1):
            state = m.cell(one, state)
        outputs.append(state)
    return torch.stack(outputs, 1)


def seven_steps(m: Any, x: Tensor) -> Tensor:
    """Lose the state in each of so many steps."""
    assert x.shape[1] == SEQ
    return torch.stack([m.cell(x[:, t]) for t in range(SEQ)], 1)


@pytest.mark.parametrize(("compute", "width"), [(refine, FEATURE), (along_features, 1)])
def test_loops_over_something_else(compute: Any, width: int) -> None:
    """Cells that loop within each step are not said to remember nothing."""
    report = rnnkit.verify(Model(compute, cell=nn.GRUCell(width, HIDDEN)), X)

    assert "not once for each step of axis 1" in reason(report, "memory")


def test_a_loop_of_so_many_steps() -> None:
    """A loop that is made for so many steps is one over the steps."""
    assert "nothing is remembered" in said(Model(seven_steps, cell=nn.GRUCell(FEATURE, HIDDEN)))


def test_a_layer_that_is_called_step_by_step_at_once() -> None:
    """A layer that takes each step for a sequence of its own remembers nothing."""

    def flattened(m: Any, x: Tensor) -> Tensor:
        return m.gru(x.flatten(0, 1).unsqueeze(1))[0].view(len(x), -1, HIDDEN)

    assert "nothing is remembered" in said(Model(flattened, gru=gru()))


SKIPPING: dict[str, Any] = {
    "every second": lambda m, x: m.gru(x[:, ::2])[0],
    "every third, pooled": lambda m, x: m.gru(x[:, ::3])[1][-1],
    "a few": lambda m, x: m.gru(x[:, [0, x.shape[1] // 3, x.shape[1] // 2, -1]])[0],
    "a stride": lambda m, x: m.gru(m.conv(x.mT).mT)[0],
}


@pytest.mark.parametrize("x", [X, LONG])
@pytest.mark.parametrize("name", SKIPPING)
def test_skipped_frames(name: str, x: Tensor) -> None:
    """A model may read some frames only."""
    model = Model(SKIPPING[name], gru=gru(), conv=nn.Conv1d(FEATURE, FEATURE, 1, stride=2))

    assert rnnkit.verify(model, x, raises=False).findings == []


def test_a_dropped_step() -> None:
    """A step that alone is not read is found, also where the output has no steps."""
    model = Model(lambda m, x: m.gru(torch.cat([x[:, :3], x[:, 4:]], 1))[1][-1], gru=gru())

    assert "step 3 reaches no output" in said(model)


def test_a_teacher() -> None:
    """An output that is made without a gradient may be a target."""
    model = Model(
        lambda m, x: (m.student(x)[0], m.teacher(x)[0].detach()), student=gru(), teacher=gru()
    )

    text = str(rnnkit.verify(model, X))
    assert "no gradient reaches teacher (GRU): the outputs that it makes have none" in text


def test_a_lost_gradient_beside_a_target() -> None:
    """A module whose output is cut off on the way to an output with a gradient is found."""

    def compute(m: Any, x: Tensor) -> Any:
        state = m.encoder(x)[1].detach()
        return m.decoder(x, state)[0], state.transpose(0, 1)

    assert "no gradient reaches encoder" in said(Model(compute, encoder=gru(), decoder=gru()))


@pytest.mark.parametrize("holder", [nn.ModuleDict, nn.Module])
def test_one_of_many_by_a_key(holder: Any) -> None:
    """What is chosen by a key has no twin that should be called."""
    held = holder()
    held.add_module("en", gru())
    held.add_module("de", gru())
    model = Model(
        lambda m, x: torch.cat(
            [m.held.get_submodule("en")(x)[0], m.held.get_submodule("en")(x.flip(1))[0].flip(1)], 2
        ),
        held=held,
    )

    findings = rnnkit.verify(model, X, raises=False).findings
    assert bool(findings) == (holder is nn.Module)
