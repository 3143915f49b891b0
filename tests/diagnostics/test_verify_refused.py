"""What ``verify`` refuses at the door."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn

import rnnkit
import rnnkit.testing
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, numbers

X = numbers(BATCH, SEQ, FEATURE)
HOOKED = pytest.mark.skipif(hasattr(rnnkit, "jaxtyping"), reason="the annotation refuses it first")


def refused(argument: str, model: Any = None, **options: Any) -> str:
    """Verify with a wrong argument; return what is said of it."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(model or nn.GRU(FEATURE, 6, batch_first=True), X, **options)
    assert error.value.argument == argument
    return str(error.value)


@HOOKED
def test_refused_model() -> None:
    """What is no module is refused by what it is."""
    assert refused("model", lambda x: x) == snapshot(
        """\
verify takes a model, a torch.nn.Module, got a function
  fix       rnnkit.verify(model, ..., call=lambda model, *inputs: ...), if it wraps a model
  more      python -m rnnkit explain model-type\
"""
    )


def test_refused_skip() -> None:
    """A probe that there is none of is refused with those that there are."""
    assert refused("skip", skip=["padings"]) == snapshot(
        """\
skip takes a list of probes by name, got 'padings'
  fix       skip=['padding']
  probes    repeatable, batch, alone, padding, causal, memory, coverage, use, gradient, streaming
  more      python -m rnnkit explain verify-probes\
"""
    )


def test_refused_skip_as_text() -> None:
    """A name in the place of a list of names is refused, and not read letter by letter."""
    assert refused("skip", skip="batch") == snapshot(
        """\
skip takes a list of probes by name, got 'batch'
  fix       skip=['batch']
  probes    repeatable, batch, alone, padding, causal, memory, coverage, use, gradient, streaming
  more      python -m rnnkit explain verify-probes\
"""
    )


def test_fixes_of_names() -> None:
    """What a refusal says is typed as it stands, and is taken."""
    for options in ({"skip": ["padings"]}, {"skip": "batch"}):
        (argument,) = options
        message = refused(argument, **options)
        fix = next(line for line in message.splitlines() if line.startswith("  fix"))
        call = f"rnnkit.verify(model, X, {fix.removeprefix('  fix').strip()})"
        model = nn.GRU(FEATURE, 6, batch_first=True)
        assert eval(call, {"rnnkit": rnnkit, "model": model, "X": X}).judged  # noqa: S307


@HOOKED
def test_refused_pad() -> None:
    """Padding is after or before."""
    assert refused("pad", pad="left") == snapshot("""\
pad is 'post' or 'pre', got 'left'
  more      python -m rnnkit explain verify-pad\
""")


@pytest.mark.parametrize("lengths", [(1, 2), (1, 2, 3, 8), (0, 1, 2, 3)])
def test_refused_lengths(lengths: tuple[int, ...]) -> None:
    """Lengths that do not fit the batch are refused with what fits."""
    assert refused("lengths", lengths=lengths) == snapshot(
        """\
lengths must be 4 counts from 1 to 7, one for each sample: axis 1 of the input is 7 long
  more      python -m rnnkit explain verify-lengths\
"""
    )


def test_refused_mask() -> None:
    """A mask in the place of lengths is refused with what makes lengths of it."""
    assert refused("lengths", lengths=torch.ones(BATCH, SEQ, dtype=torch.bool)) == snapshot(
        """\
lengths must be integers, one for each sample, got a Tensor of shape (4, 7); of a mask, mask.sum(1)
  more      python -m rnnkit explain verify-lengths\
"""
    )


@HOOKED
def test_refused_fractions() -> None:
    """A count with a fraction, or a flag, is refused, and not rounded."""
    assert refused("lengths", lengths=[2.7, 7, 7, 7]) == snapshot(
        """\
lengths must be integers, one for each sample, got a list
  more      python -m rnnkit explain verify-lengths\
"""
    )
    assert refused("lengths", lengths=torch.ones(4)) == snapshot(
        """\
lengths must be integers, one for each sample, got a Tensor of shape (4,)
  more      python -m rnnkit explain verify-lengths\
"""
    )
    assert refused("lengths", lengths=[True, 7, 7, 7]) == snapshot(
        """\
lengths must be integers, one for each sample, got a list
  more      python -m rnnkit explain verify-lengths\
"""
    )
    assert refused("lengths", lengths=7) == snapshot(
        """\
lengths must be integers, one for each sample, got 7
  more      python -m rnnkit explain verify-lengths\
"""
    )
    assert refused("lengths", lengths=[]) == snapshot(
        """\
lengths must be integers, one for each sample, got an empty list
  more      python -m rnnkit explain verify-lengths\
"""
    )


def test_lengths_without_steps() -> None:
    """Lengths of inputs that have no steps are refused with the reason."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(nn.Flatten(0), numbers(4), lengths=[1, 1, 1, 1])

    assert str(error.value) == snapshot("""\
lengths were given, but no input has an axis 1 for seq
  more      python -m rnnkit explain verify-lengths\
""")


@HOOKED
@pytest.mark.parametrize("skip", [None, 3, ["batch", 3], [None]], ids=repr)
def test_refused_names_of_another_kind(skip: Any) -> None:
    """What is no list of names is named, and not printed at length."""
    assert "skip takes a list of probes by name, got " in refused("skip", skip=skip)
    assert len(refused("skip", skip=["x" * 10**5])) < 2000


@HOOKED
@pytest.mark.parametrize("dim", ["0", 1.5, True, None], ids=repr)
def test_refused_axes_of_another_kind(dim: Any) -> None:
    """An axis is an int."""
    assert "batch_dim is the axis of the batch, an int, got" in refused("batch_dim", batch_dim=dim)
    if dim is not None:
        assert "seq_dim is an axis, an int or None, got" in refused("seq_dim", seq_dim=dim)


@HOOKED
def test_refused_where_no_model_is() -> None:
    """A class, weights or nothing in the place of a model is told what it is."""
    for act in (
        lambda: rnnkit.verify(nn.LSTM, X),  # type: ignore[arg-type]
        lambda: rnnkit.dependency_map(nn.LSTM, X),  # type: ignore[arg-type]
        lambda: rnnkit.trace(nn.LSTM, X),
        lambda: rnnkit.trace(None, X),  # type: ignore[arg-type]
        lambda: rnnkit.dependency_map({}, X),  # type: ignore[arg-type]
    ):
        with pytest.raises(rnnkit.ArgumentError) as error:
            act()
        assert (error.value.argument, error.value.code) == ("model", "model-type")


@HOOKED
def test_refused_call() -> None:
    """What calls the model is a function, and inputs by name are a dictionary."""
    assert refused("call", call=3) == snapshot("""\
call is a function of the model and its inputs, got 3
  fix       call=lambda model, *inputs: model.encode(*inputs)
  more      python -m rnnkit explain verify-call\
""")
    assert refused("kwargs", kwargs=[1]) == snapshot("""\
kwargs is a dictionary of inputs by their names, got a list
  fix       kwargs={"mask": mask}, by the name that forward has
  more      python -m rnnkit explain verify-kwargs\
""")


@HOOKED
@pytest.mark.parametrize("dim", ["1", 1.0, True])
@pytest.mark.parametrize("argument", ["dim", "out_dim", "seq_dim", "out_seq_dim"])
def test_refused_axis_kinds(argument: str, dim: Any) -> None:
    """An axis is an integer, wherever it is given."""
    streams = argument.endswith("seq_dim")
    judge: Any = rnnkit.testing.assert_streams if streams else rnnkit.dependency_map
    with pytest.raises(rnnkit.ArgumentError, match=f"{argument} is an axis, an int") as error:
        judge(nn.GRU(FEATURE, 6, batch_first=True), X, **{argument: dim})
    assert (error.value.argument, error.value.code) == (argument, "verify-axis-kind")


@HOOKED
def test_refused_map_without_axis() -> None:
    """A map has an axis; that of the output may be left out."""
    with pytest.raises(rnnkit.ArgumentError, match="dim is an axis, an int, got None"):
        rnnkit.dependency_map(nn.GRU(FEATURE, 6), X, dim=None)  # type: ignore[arg-type]
