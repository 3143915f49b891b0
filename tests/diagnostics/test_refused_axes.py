"""What ``verify`` says of axes and inputs that it cannot judge by."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers

X = numbers(5, SEQ, FEATURE)
SCALAR = Model(lambda m, x: m.gru(x)[0].mean(), gru=nn.GRU(FEATURE, 6, batch_first=True))

#: Wrong arguments, and the argument that is named.
WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (X, {"batch_dim": 3}, "batch_dim"),
    (X, {"seq_dim": 9}, "seq_dim"),
    (X, {"seq_dim": 0}, "seq_dim"),
    (X, {"seq_dim": -3}, "seq_dim"),
    (X, {"out_seq_dim": -4}, "out_seq_dim"),
    (X, {"out_seq_dim": -3}, "out_seq_dim"),
    (X, {"out_seq_dim": 0}, "out_seq_dim"),
    (numbers(4, 7, 3).numpy(), {}, "inputs"),
    ([[1.0, 2.0]], {}, "inputs"),
    ({}, {}, "inputs"),
    (torch.tensor(1.0), {}, "batch_dim"),
    (torch.zeros(0, 7, 3), {}, "inputs"),
    ({"x": nn.utils.rnn.pack_sequence([numbers(3, 3)])}, {}, "inputs"),
]


def refused(model: nn.Module, given: Any, **options: Any) -> rnnkit.ArgumentError:
    """Verify with wrong arguments; return what is raised."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(model, given, **options)
    return error.value


def test_refused() -> None:
    """An axis that is none, or no input, is refused by what it is, and by the argument's name."""
    texts = []
    for given, options, argument in WRONG:
        error = refused(nn.GRU(FEATURE, 6, batch_first=True), given, **options)
        assert error.argument == argument
        texts.append("\n".join(str(error).splitlines()[:-1]))

    assert "\n".join(texts) == snapshot("""\
batch_dim=3, but the input (5, 7, 3) has axes 0 to 2
  fix       batch_dim=0
seq_dim=9, but the input (5, 7, 3) has axes 0 to 2
  fix       seq_dim=1, where the steps mostly are
seq_dim and batch_dim are both axis 0 of the input
seq_dim and batch_dim are both axis 0 of the input
the first output has no axis -4: its shape is (4, 7, 6)
  fix       leave out_seq_dim out, and the axis is found
axis -3 of the first output is its batch: its shape is (4, 7, 6)
  fix       leave out_seq_dim out, and the axis is found
axis 0 of the first output is its batch: its shape is (4, 7, 6)
  fix       leave out_seq_dim out, and the axis is found
inputs must be tensors, got an ndarray
inputs must be tensors, got 1.0, 2.0
inputs must be tensors, got nothing
batch_dim=0, but the input () has no axes
the batch is empty: the first input has shape (0, 7, 3)
a packed input has no batch axis to try: pass the padded batch and lengths\
""")


def test_refused_axis_of_no_output() -> None:
    """An axis of an output that is no tensor is refused."""
    error = refused(SCALAR, numbers(BATCH, SEQ, FEATURE), out_seq_dim=1)
    assert str(error) == snapshot("""\
the first output has no axis 1: its shape is ()
  fix       leave out_seq_dim out, and the axis is found
  more      python -m rnnkit explain verify-axis\
""")
