"""The constructors of the six classes: torch's arguments, in this torch and in the next one."""

import inspect
import typing

import pytest
from torch import nn

import rnnkit

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
OURS = {name: getattr(rnnkit, name) for name in LAYERS + CELLS}
THEIRS = {name: getattr(nn, name) for name in LAYERS + CELLS}

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
OWN_OPTIONS = {name: {"state_batch_first", "axes"} if name in LAYERS else {"axes"} for name in OURS}

each_class = pytest.mark.parametrize("name", OURS)


@each_class
def test_constructor_is_torch_s(name: str) -> None:
    """The constructor names torch's arguments in torch's order; then only our keywords follow."""
    parameters = inspect.signature(OURS[name]).parameters.values()

    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert list(ARGUMENTS[name]) == positional
    assert OWN_OPTIONS[name] == keywords
    assert len(positional) + len(keywords) == len(parameters)


@each_class
def test_defaults_are_torch_s(name: str) -> None:
    """Each argument has the default that torch documents."""
    documented = [*typing.get_overloads(THEIRS[name].__init__), THEIRS[name].__init__][0]
    theirs = [p for p in inspect.signature(documented).parameters.values() if p.name != "self"]
    ours = inspect.signature(OURS[name]).parameters

    assert [(p.name, p.default) for p in theirs] == [
        (argument, ours[argument].default) for argument in ARGUMENTS[name]
    ]


def test_torch_has_no_argument_that_we_do_not_know() -> None:
    """A constructor argument that a new torch adds turns this red, until our classes take it."""
    layer = list(inspect.signature(nn.RNNBase.__init__).parameters)
    cell = list(inspect.signature(nn.RNNCellBase.__init__).parameters)

    assert ["self", "mode", *LAYER, "proj_size", *FACTORY] == layer
    assert ["self", *SIZES, "bias", "num_chunks", *FACTORY] == cell


def test_torch_has_no_class_that_we_do_not_know() -> None:
    """A recurrent class that a new torch adds turns this red, until we have one too."""
    assert {*OURS, "RNNBase", "RNNCellBase"} == set(nn.modules.rnn.__all__)
