"""The constructors of the six classes: torch's arguments, in this torch and in the next one."""

import inspect
import typing

from torch import nn

import rnnkit
from tests.strategies import CLASSES, LAYERS

OURS = {name: getattr(rnnkit, name) for name in CLASSES}

SIZES = ("input_size", "hidden_size")
FACTORY = ("device", "dtype")
LAYER = (*SIZES, "num_layers", "bias", "batch_first", "dropout", "bidirectional")
ARGUMENTS = {
    "RNN": (*LAYER[:3], "nonlinearity", *LAYER[3:], *FACTORY),
    "LSTM": (*LAYER, "proj_size", *FACTORY),
    "GRU": (*LAYER, *FACTORY),
    "RNNCell": (*SIZES, "bias", "nonlinearity", *FACTORY),
    "LSTMCell": (*SIZES, "bias", *FACTORY),
    "GRUCell": (*SIZES, "bias", *FACTORY),
}


def test_constructors_are_torch_s():
    """They name torch's arguments in torch's order, with its defaults; then only our keywords follow."""
    for name, ours in OURS.items():
        parameters = inspect.signature(ours).parameters
        theirs = getattr(nn, name).__init__
        documented = [*typing.get_overloads(theirs), theirs][0]
        defaults = [(p.name, p.default) for p in inspect.signature(documented).parameters.values()]
        own = ["state_batch_first"] * (name in LAYERS) + ["axes"]

        assert list(parameters) == [*ARGUMENTS[name], *own]
        assert {parameters[one].kind for one in own} == {inspect.Parameter.KEYWORD_ONLY}
        assert defaults[1:] == [(each, parameters[each].default) for each in ARGUMENTS[name]]


def test_torch_has_nothing_that_we_do_not_know():
    """An argument or a class that a new torch adds turns this red, until ours have it too."""
    layer = list(inspect.signature(nn.RNNBase.__init__).parameters)
    cell = list(inspect.signature(nn.RNNCellBase.__init__).parameters)

    assert ["self", "mode", *LAYER, "proj_size", *FACTORY] == layer
    assert ["self", *SIZES, "bias", "num_chunks", *FACTORY] == cell
    assert {*OURS, "RNNBase", "RNNCellBase"} == set(nn.modules.rnn.__all__)
