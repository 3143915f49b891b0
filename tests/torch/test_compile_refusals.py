"""Compiled, a module refuses what it refuses in eager mode, and takes a state with its batch first."""

from typing import Any

import pytest
import torch

import rnnkit
from tests.compiles import Compiled, compiles
from tests.torch.side_by_side import (
    BATCH,
    HIDDEN,
    INPUT,
    assert_same_compiled,
    carried,
    layers,
    pair,
    sample,
    six,
)

settings = pytest.mark.parametrize("allow_rnn", [False, True])

pytestmark = [
    pytest.mark.slow,
    compiles,
]

Call = tuple[Any, ...]


def bad_calls(name: str) -> list[Call]:
    """Calls that are refused: another width, another rank, a state of a larger batch."""
    x = sample(name)
    return [(x[..., :-1],), (x[None, None],), (x, carried(name, BATCH + 2))]


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@six
@settings
def test_refusal_is_that_of_eager_mode(name: str, allow_rnn: bool) -> None:
    """Bad input of a compiled module raises our exception with the message of an eager call."""
    _, ours = pair(name)
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        compiled = Compiled(ours)
        for call in bad_calls(name):
            with pytest.raises(rnnkit.RnnkitError) as eager:
                ours(*call)

            with pytest.raises(rnnkit.RnnkitError) as caught:
                compiled.call(*call)

            assert (caught.type, str(caught.value)) == (eager.type, str(eager.value))
            compiled.call(sample(name))


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@layers
def test_state_batch_first(name: str) -> None:
    """A layer with its state batch first is one graph too."""
    torch.manual_seed(0)
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, num_layers=4, state_batch_first=True)
    x = sample(name)
    state = layer(x)[1]

    with torch._dynamo.config.patch(allow_rnn=True):
        assert_same_compiled(name, layer(x, state), Compiled(layer, fullgraph=True).call(x, state))
