"""What ``verify`` says of axes and inputs that it cannot judge by."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers


def refused(*inputs: Any, **options: Any) -> tuple[str, str]:
    """Verify with wrong arguments; return what is said, and of which argument."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(
            nn.GRU(FEATURE, 6, batch_first=True),
            *(inputs or (numbers(BATCH, SEQ, FEATURE),)),
            **options,
        )
    return str(error.value), error.value.argument


def test_refused_axes() -> None:
    """An axis that is none is refused with the shapes, and with the argument that names it."""
    x = numbers(5, SEQ, FEATURE)

    assert refused(x, batch_dim=3) == snapshot(
        (
            """\
batch_dim=3, but the input (5, 7, 3) has axes 0 to 2
  fix       batch_dim=0
  more      python -m rnnkit explain verify-axis\
""",
            "batch_dim",
        )
    )
    assert refused(x, seq_dim=9) == snapshot(
        (
            """\
seq_dim=9, but the input (5, 7, 3) has axes 0 to 2
  fix       seq_dim=1, where the steps mostly are
  more      python -m rnnkit explain verify-axis\
""",
            "seq_dim",
        )
    )
    assert refused(x, seq_dim=0) == snapshot(
        (
            """\
seq_dim and batch_dim are both axis 0 of the input
  more      python -m rnnkit explain verify-axis\
""",
            "seq_dim",
        )
    )
    assert refused(x, seq_dim=-3) == snapshot(
        (
            """\
seq_dim and batch_dim are both axis 0 of the input
  more      python -m rnnkit explain verify-axis\
""",
            "seq_dim",
        )
    )
    assert refused(x, out_seq_dim=-4) == snapshot(
        (
            """\
the first output has no axis -4: its shape is (4, 7, 6)
  fix       leave out_seq_dim out, and the axis is found
  more      python -m rnnkit explain verify-axis\
""",
            "out_seq_dim",
        )
    )


def test_refused_equal_axes() -> None:
    """An axis of the output that is the batch cannot be seq as well, told or found."""
    assert refused(out_seq_dim=-3) == snapshot(
        (
            """\
axis -3 of the first output is its batch: its shape is (4, 7, 6)
  fix       leave out_seq_dim out, and the axis is found
  more      python -m rnnkit explain verify-axis\
""",
            "out_seq_dim",
        )
    )
    assert refused(out_seq_dim=0) == snapshot(
        (
            """\
axis 0 of the first output is its batch: its shape is (4, 7, 6)
  fix       leave out_seq_dim out, and the axis is found
  more      python -m rnnkit explain verify-axis\
""",
            "out_seq_dim",
        )
    )


def test_refused_axis_of_no_output() -> None:
    """An axis of an output that is no tensor is refused."""
    model = Model(lambda m, x: m.gru(x)[0].mean(), gru=nn.GRU(FEATURE, 6, batch_first=True))
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(model, numbers(BATCH, SEQ, FEATURE), out_seq_dim=1)

    assert str(error.value) == snapshot("""\
the first output has no axis 1: its shape is ()
  fix       leave out_seq_dim out, and the axis is found
  more      python -m rnnkit explain verify-axis\
""")


def test_refused_inputs() -> None:
    """What is no tensor, or holds no sample, is refused by what it is."""
    assert refused(numbers(4, 7, 3).numpy()) == snapshot(
        (
            """\
inputs must be tensors, got an ndarray
  more      python -m rnnkit explain verify-inputs\
""",
            "inputs",
        )
    )
    assert refused([[1.0, 2.0]]) == snapshot(
        (
            """\
inputs must be tensors, got 1.0, 2.0
  more      python -m rnnkit explain verify-inputs\
""",
            "inputs",
        )
    )
    assert refused({}) == snapshot(
        (
            """\
inputs must be tensors, got nothing
  more      python -m rnnkit explain verify-inputs\
""",
            "inputs",
        )
    )
    assert refused(torch.tensor(1.0)) == snapshot(
        (
            """\
batch_dim=0, but the input () has no axes
  more      python -m rnnkit explain verify-axis\
""",
            "batch_dim",
        )
    )
    assert refused(torch.zeros(0, 7, 3)) == snapshot(
        (
            """\
the batch is empty: the first input has shape (0, 7, 3)
  more      python -m rnnkit explain verify-batch\
""",
            "inputs",
        )
    )
    assert refused({"x": nn.utils.rnn.pack_sequence([numbers(3, 3)])}) == snapshot(
        (
            """\
a packed input has no batch axis to try: pass the padded batch and lengths
  more      python -m rnnkit explain verify-packed\
""",
            "inputs",
        )
    )
