"""The causes and fixes that findings name: true of the model, and typed as they stand."""
# ruff: noqa: ANN001, ANN202

import random

import numpy as np
import pytest
import torch
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import X, layered

#: What a model may change from call to call, and how; the name that the cause has to say.
KEPT = {
    "source": (lambda: np.random.default_rng(1), lambda m: m.source.random()),
    "chance": (lambda: random.Random(1), lambda m: m.chance.random()),  # noqa: S311
    "weight": (lambda: nn.Parameter(torch.ones(6)), lambda m: m.weight.data.mul_(0.9).sum()),
    "count": (lambda: 0, lambda m: setattr(m, "count", m.count + 1) or m.count),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_from_call_to_call_is_named(name):
    """The cause names the attribute that a call changes: a generator, a weight, or a number."""
    make, change = KEPT[name]

    def forward(m, x):
        return m.gru(x)[0] + change(m)

    net = layered(forward, **{name: make()})
    [finding] = rnnkit.verify(net, X, raises=False).findings

    assert finding.probe == "repeatable"
    assert f"the model keeps model.{name} from call to call" in str(finding)


def test_a_report_has_the_rows_of_its_findings():
    """Below the row of a finding stand its cause and its fix, which can be typed."""
    report = rnnkit.verify(nn.GRU(3, 4), X, raises=False)

    assert "fix        GRU(..., batch_first=True), or input.transpose(0, 1)" in str(report)
    assert "cause      the model reads axis 0 of its input as seq" in str(report)
    assert "--  padding     no lengths were given" in str(report)
