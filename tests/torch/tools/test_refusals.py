"""What a graph refuses while it is made: what an eager call does, in the same words.

What it refuses when it runs stands in the law of all tools.
"""

import pytest
import torch

import rnnkit
from rnnkit import states
from tests.torch.models import CORES, HIDDEN, WIDTH
from tests.torch.tools.tools import marks

pytestmark = marks

X = torch.randn(6, 4, WIDTH)
STATE = torch.randn(1, 4, HIDDEN)
#: By what is wrong: the width, the rank, no step, the state's batch, a mask's shape.
BAD = {
    ("layer", "GRU"): [
        {"input": X[..., :-1]},
        {"input": X[None]},
        {"input": X[:0]},
        {"input": X, "hx": STATE[:, :-1]},
        {"input": X, "reset": torch.ones(4, 6)},
    ],
    ("Recurrent", "LSTM"): [{"input": X[..., :-1]}, {"input": X, "hx": (STATE[0], STATE[0])}],
    ("step", "LSTM"): [{"input": X[0, :, :-1]}, {"input": X[0], "hx": STATE[0]}],
}


@pytest.mark.parametrize(("core", "name"), BAD)
def test_a_call_is_refused_as_eagerly(core, name):
    """Our exception with the message of an eager call; a right call after it runs."""
    module = CORES[core](name)
    with torch._dynamo.config.patch(allow_rnn=core == "layer"):
        compiled = torch.compile(module, backend="eager")
        for call in BAD[core, name]:
            with pytest.raises(rnnkit.RnnkitError) as eager:
                module(**call)
            with pytest.raises(rnnkit.RnnkitError) as caught:
                compiled(**call)

            assert (caught.type, str(caught.value)) == (eager.type, str(eager.value))
        compiled(X[0] if core == "step" else X)


def test_positions_and_masks():
    """A function on states refuses in a graph what it refuses in eager mode, and runs what is right."""
    state = torch.randn(1, 2, 4)
    right = torch.tensor([0, 1])
    wrong = torch.tensor([0, 2])
    for function, sentence in (
        (states.reset, "mask must be booleans, or 0 and 1"),
        (states.select, "index must be positions of samples"),
    ):
        compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
        with pytest.raises(RuntimeError, match=sentence):
            compiled(state, wrong)
        torch.testing.assert_close(compiled(state, right), function(state, right))


def test_a_list_is_refused_while_it_is_traced():
    """A list of ints is part of the graph: a wrong one is a LengthsError at once."""
    module = CORES["Recurrent"]("GRU").requires_grad_(False)
    lengths = [7, 3, 1, 2]
    for trace in (
        lambda: torch.compile(module, backend="aot_eager")(X, lengths=lengths),
        lambda: torch.export.export(module, (X,), {"lengths": lengths}, strict=False),
        lambda: torch.jit.trace(lambda x: module(x, lengths=lengths)[0], (X,)),
    ):
        with pytest.raises(rnnkit.LengthsError, match=r"lengths\[0\] is 7"):
            trace()
