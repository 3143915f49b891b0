"""``rnnkit.testing``: one line in a project's tests."""

from functools import partial

import pytest
import torch
from torch import nn

import rnnkit
import rnnkit.testing
from tests.diagnostics.models_of_users import X, gru, layered


def test_finding_is_a_failure():
    """What is found fails a test as an assertion does, with the text of ``verify``, in the test."""
    wrong = gru(batch_first=False)
    with pytest.raises(AssertionError) as error:
        rnnkit.testing.assert_no_leak(wrong, X)
    (helper,) = [entry for entry in error.traceback if entry.name == "assert_no_leak"]
    assert helper.ishidden(error)
    with pytest.raises(rnnkit.LeakError) as same:
        rnnkit.verify(wrong, X)
    assert (type(error.value), str(error.value)) == (type(same.value), str(same.value))

    report = rnnkit.testing.assert_no_leak(gru(), X, causal=True, skip=["use"])
    assert {"causal", "use"} & set(report.checked) == {"causal"}


#: Wrong calls; the name of the last function that a traceback shows: the caller's, or torch's.
WRONG = {
    "verify": (lambda: rnnkit.verify(torch.nn.GRU(3, 4), torch.randn(5, 7, 3)), "<lambda>"),
    "verify of nothing": (lambda: rnnkit.verify(None), "<lambda>"),
    "constructor": (lambda: rnnkit.GRU(3, -4), "<lambda>"),
    "call": (lambda: rnnkit.GRU(3, 4)(torch.ones(7, 5, 2)), "_call_impl"),
    "cell": (lambda: rnnkit.GRUCell(3, 4)(torch.ones(5, 2)), "_call_impl"),
    "unroll": (lambda: rnnkit.unroll(rnnkit.GRUCell(3, 4), torch.ones(7, 5, 2)), "<lambda>"),
    "states": (lambda: rnnkit.states.repeat(torch.ones(2, 4), -1), "<lambda>"),
    "convert": (lambda: rnnkit.convert(None), "<lambda>"),
}


@pytest.mark.unhooked("the annotation refuses it first")
def test_traceback_of_ours_shows_no_frame_of_ours():
    """Whoever reads of an error of ours wants the line that called."""
    for act, last in WRONG.values():
        with pytest.raises(rnnkit.RnnkitError) as error:
            act()

        shown = [entry for entry in error.traceback if not entry.ishidden(error)]
        assert shown[-1].name == last


@pytest.mark.unhooked("the annotation asks for a module that has a first state")
def test_traceback_of_another_error_is_whole():
    """What a user's code raises below ours keeps all its frames."""

    class Fails(torch.nn.Module):
        def forward(self, input, hx):
            raise ValueError(input.shape, hx)

    with pytest.raises(ValueError, match="Size") as error:
        rnnkit.unroll(Fails(), torch.ones(7, 5, 3), torch.ones(5, 4))

    assert not any(entry.ishidden(error) for entry in error.traceback)


def test_function_of_a_chunk_and_a_state():
    """A method of a module is a step like a function; the module runs as in eval mode."""
    tagger = layered(lambda m, x, state: m.gru(m.drop(x), state), drop=nn.Dropout(0.5))
    rnnkit.testing.assert_streams(tagger.forward, X, seq_dim=1)
    assert tagger.training


def picky(x, state):
    """Take no chunk."""
    assert x.shape[1] == 7
    return x, x[:, 0] if state is None else state


#: Steps that fail a test, and what is said of them.
FAILING = {
    "forgets": (lambda layer, x, _: layer(x), "in chunks of 3 and 4"),
    "draws": (
        lambda layer, x, state: layer(nn.functional.dropout(x, 0.5), state),
        "the call draws random numbers from torch",
    ),
    "takes no chunk": (
        lambda _, x, state: picky(x, state),
        "streaming was not checked: the model does not run on a chunk of 3 of 7 steps",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_steps_that_fail_a_test(name):
    """A function that forgets, draws, or cannot be judged fails a test, which says why."""
    (step, text) = FAILING[name]
    layer = gru()
    with pytest.raises(AssertionError, match=text):
        rnnkit.testing.assert_streams(partial(step, layer), X, seq_dim=1)
