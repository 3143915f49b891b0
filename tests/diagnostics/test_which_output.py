"""A report says which outputs and samples it speaks of, where there are several."""

from typing import Any

import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers
from tests.diagnostics.small import gru, said

X = numbers(BATCH, SEQ, FEATURE)


def both(m: Any, x: Tensor) -> Any:
    """Return the outputs of two layers."""
    return m.one(x)[0], m.other(x)[0]


def details(model: nn.Module, probe: str, **options: Any) -> tuple[str, list[str]]:
    """Return what the report says of a probe, and its notes."""
    report = rnnkit.verify(model, X, **options)
    (detail,) = (check.detail for check in report.checks if check.probe == probe)
    assert probe in report.checked
    return detail, report.notes


def test_causal_names_the_outputs() -> None:
    """Of several outputs, those that were judged are named; a state has no steps."""
    alike = Model(both, one=gru(), other=gru())
    assert details(alike, "causal", causal=True) == (
        f"output[0] and output[1]: no step of {SEQ} depends on a later one",
        [],
    )
    assert details(gru(), "causal", causal=True) == (
        f"output[0]: no step of {SEQ} depends on a later one",
        [],
    )
    only = Model(lambda m, x: m.gru(x)[0], gru=gru())
    assert details(only, "causal", causal=True) == (f"no step of {SEQ} depends on a later one", [])


def test_causal_is_said_of_the_first_output() -> None:
    """A later output may read all steps, as an encoder's does: it is noted, and no failure."""
    model = Model(both, one=gru(), other=gru(bidirectional=True))
    assert details(model, "causal", causal=True) == (
        f"output[0]: no step of {SEQ} depends on a later one",
        ["output[1] of step 0 depends on later steps of the input; causal is judged of output[0]"],
    )
    turned = Model(both, one=gru(bidirectional=True), other=gru())
    assert "output[0] of step 0 depends on input of step" in said(turned, causal=True)


def test_batch_counts_what_it_compared() -> None:
    """A sample whose change gives outputs of other shapes is not counted as one on its own."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y: Tensor = m.gru(x)[0]
        same = bool((x[-1] == X[BATCH - 1]).all()) or len(x) < BATCH
        return y if same else torch.cat([y, y], dim=2)

    model = Model(compute, gru=gru())
    detail, _ = details(model, "batch", skip=["alone", "memory", "coverage", "use"])
    assert detail == (
        f"{BATCH - 1} of {BATCH} samples, each on its own; the others change the shapes"
    )
