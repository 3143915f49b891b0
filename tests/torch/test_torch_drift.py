"""The constructors of the six classes: torch's arguments, in this torch and in the next one."""

import inspect
import typing

from torch import nn

import rnnkit
from tests.strategies import CLASSES, LAYERS

SIZES = ("input_size", "hidden_size")
FACTORY = ("device", "dtype")


def test_constructors_are_torch_s():
    """They name torch's arguments in torch's order, with its defaults; then only our keywords follow."""
    for name in CLASSES:
        init = getattr(nn, name).__init__
        documented = [*typing.get_overloads(init), init][0]
        theirs = [*inspect.signature(documented).parameters.values()][1:]
        ours = [*inspect.signature(getattr(rnnkit, name)).parameters.values()]
        shared = ours[: len(theirs)]
        own = ours[len(theirs) :]

        assert [(p.name, p.default) for p in theirs] == [(p.name, p.default) for p in shared]
        assert [p.name for p in own] == (
            ["state_batch_first", "axes"] if name in LAYERS else ["axes"]
        )
        assert {p.kind for p in own} == {inspect.Parameter.KEYWORD_ONLY}


def test_torch_has_nothing_that_we_do_not_know():
    """An argument or a class that a new torch adds turns this red, until ours have it too."""
    layer = list(inspect.signature(nn.RNNBase.__init__).parameters)
    cell = list(inspect.signature(nn.RNNCellBase.__init__).parameters)

    options = ["num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"]
    assert ["self", "mode", *SIZES, *options, *FACTORY] == layer
    assert ["self", *SIZES, "bias", "num_chunks", *FACTORY] == cell
    assert {*CLASSES, "RNNBase", "RNNCellBase"} == set(nn.modules.rnn.__all__)
