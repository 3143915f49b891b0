"""How a model is called, and what becomes of what is found."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers, text
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)


class Keyword(nn.Module):
    """A model that takes its input by keyword."""

    def __init__(self, **options: Any) -> None:
        """Make the layer."""
        super().__init__()
        self.gru = gru(**options)

    def forward(self, *, x: Tensor, scale: float = 1.0) -> Tensor:
        """Run."""
        y: Tensor = self.gru(x)[0]
        return scale * y

    def encode(self, x: Tensor) -> Tensor:
        """Return the last state."""
        h: Tensor = self.gru(x)[1][0]
        return h


def test_keywords() -> None:
    """What a model takes by keyword is changed as what it takes by position."""
    report = rnnkit.verify(Keyword(), kwargs={"x": X, "scale": 2.0}, causal=True)
    assert {"batch", "alone", "causal", "memory"} <= {*report.checked}
    with pytest.raises(rnnkit.LeakError, match="batch_first=True"):
        rnnkit.verify(Keyword(batch_first=False), kwargs={"x": X})


def test_call() -> None:
    """A model may be called in another way than by its forward."""
    report = rnnkit.verify(Keyword(), X, call=lambda model, x: model.encode(x))
    assert {"batch", "alone", "memory"} <= {*report.checked}
    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(Keyword(), X, call=lambda model, x: model(x=x.transpose(0, 1)))


def several(m: Any, x: Tensor) -> Tensor:
    """Make two mistakes."""
    first, state = m.one(x)
    return m.two(x + x.mean(0), state)[0][:, -1:] + first


def test_all_that_is_found() -> None:
    """What is found stands in the report, if it is not raised; a message lists the others."""
    model = Model(several, one=gru(bidirectional=False), two=gru(bidirectional=False))
    report = rnnkit.verify(model, X, causal=True, raises=False)
    assert [error.probe for error in report.findings] == ["batch", "causal"]
    assert "batch" not in report.checked
    head, *lines = str(report).splitlines()
    assert head.partition(" (")[0] == snapshot("rnnkit.verify: 2 findings")
    assert [line for line in lines if "!!" in line] == snapshot(
        [
            "  !!  batch       output of sample 1 depends on input of sample 0",
            "  !!  causal      output of step 0 depends on input of step 3 or later",
        ]
    )
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, X, causal=True)

    assert text(error.value) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      two (GRU), input of call 0
  cause      between the output of one and the input of two
  by         add
  at         test_verify_calls.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  also       causal: output of step 0 depends on input of step 3 or later
  more       python -m rnnkit explain batch\
""")


def test_padding_is_told_once() -> None:
    """Padding that a sample alone has shown is not told again."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:  # noqa: ARG001
        y: Tensor = m.gru(x)[0].mean(1)
        return y

    n = torch.tensor([3, 7, 5, 2])
    report = rnnkit.verify(Model(compute, gru=gru()), X, n, lengths=n, raises=False)

    assert [error.probe for error in report.findings] == ["alone"]


def masked(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Run, and leave out what is beyond a length."""
    y: Tensor = m.gru(x)[0] * (torch.arange(x.shape[1]) < n.unsqueeze(1)).unsqueeze(2)
    return y


LABELS, LENGTHS = torch.arange(BATCH), torch.tensor([7, 2, 5, 3])

#: A loader's batch, what is computed of its parts, and what is typed for it.
LOADED: dict[str, tuple[Any, Any, str]] = {
    "all parts": (masked, (X, LENGTHS), "*batch"),
    "one part": (lambda m, x: m.gru(x)[0], [X], "*batch"),
    "with labels": (lambda m, x: m.gru(x)[0], [X, LABELS], "batch[0]"),
    "lengths, with labels": (masked, [X, LENGTHS, LABELS], "*batch[:2]"),
}
TOOLS = ("verify", "trace", "dependency_map")


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", LOADED)
def test_batch_of_a_loader(name: str, tool: str) -> None:
    """A batch that was given as one input is refused with what to type, and that runs."""
    compute, batch, typed = LOADED[name]
    model = Model(compute, gru=gru())
    with pytest.raises(rnnkit.ArgumentError) as error:
        getattr(rnnkit, tool)(model, batch)

    (fix,) = (row[6:].strip() for row in str(error.value).splitlines() if row.startswith("  fix"))
    assert fix.startswith(f"rnnkit.{tool}(model, {typed})")
    assert eval(fix.partition(", if")[0], {"rnnkit": rnnkit, "model": model, "batch": batch})  # noqa: S307


def test_text_of_a_batch_of_a_loader() -> None:
    """The message says what the model takes."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(gru(), [X, LABELS])

    assert str(error.value) == snapshot("""\
the model does not take a list of 2 as one input: it takes the parts of a batch
  fix       rnnkit.verify(model, batch[0]), if the rest is not for the model
  more      python -m rnnkit explain batch-whole\
""")


@pytest.mark.parametrize("tool", TOOLS)
def test_lists_that_a_model_takes(tool: str) -> None:
    """A list of tensors is given to a model that takes it."""
    run = getattr(rnnkit, tool)

    assert run(Model(lambda m, xs: m.gru(xs[0] + xs[1])[0], gru=gru()), [X, X])
    assert run(Model(lambda m, xs: m.gru(xs[0])[0] + xs[1].view(-1, 1, 1), gru=gru()), (X, LABELS))


#: Lists that a layer does not take, nor their parts as a batch.
UNTAKEN: dict[str, tuple[Any, ...]] = {
    "parts that do not run": ([LABELS, X],),
    "two batches": ([X, LABELS], [X, LABELS]),
    "sequences of several lengths": ([X[0], X[1, :3]],),
    "many sequences": ([X[0]] * 9,),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", UNTAKEN)
def test_lists_that_a_model_does_not_take(name: str, tool: str) -> None:
    """What a model raises of a list that is no batch stays."""
    with pytest.raises((TypeError, AttributeError)) as error:
        getattr(rnnkit, tool)(Model(lambda m, x: m.gru(x)[0], gru=gru()), *UNTAKEN[name])
    assert not isinstance(error.value, rnnkit.RnnkitError)
