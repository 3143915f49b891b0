"""``rnnkit.testing.assert_streams``: a function of a chunk and a state."""

from typing import Any

import pytest
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
import rnnkit.testing
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, numbers
from tests.diagnostics.models_that_stream import gru

X = numbers(BATCH, SEQ, FEATURE)


def test_method_of_a_module() -> None:
    """A method of a module is a step like a function; the module runs as in eval mode."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.drop = gru(), nn.Dropout(0.5)

        def step(self, x: Tensor, state: Any) -> Any:
            output, state = self.gru(self.drop(x), state)
            return output, state

    tagger = Tagger()
    rnnkit.testing.assert_streams(tagger.step, X, seq_dim=1)
    assert tagger.training


def test_step_that_returns_no_pair() -> None:
    """A function that returns its output alone is refused."""
    layer = gru()
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.testing.assert_streams(lambda x, state: layer(x, state)[0], X, seq_dim=1)

    assert error.value.code == "streams-result"
    assert str(error.value) == snapshot("""\
step returns a pair, output and state, got a Tensor of shape (4, 7, 6)
  more      python -m rnnkit explain streams-result\
""")


def test_step_that_takes_no_chunk() -> None:
    """A function that cannot be judged fails a test, which says why."""
    layer = gru()

    def step(x: Tensor, state: Any) -> Any:
        assert x.shape[1] == SEQ
        return layer(x, state)

    with pytest.raises(AssertionError) as error:
        rnnkit.testing.assert_streams(step, X, seq_dim=1)
    assert str(error.value) == snapshot(
        "streaming was not judged: the model does not take a chunk of 3 of 7 steps"
    )


def test_step_that_draws() -> None:
    """Random numbers of a function's own are told in a note."""
    layer = gru()

    def step(x: Tensor, state: Any) -> Any:
        return layer(nn.functional.dropout(x, 0.5), state)

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.testing.assert_streams(step, X, seq_dim=1)
    assert "step draws random numbers" in str(error.value)
