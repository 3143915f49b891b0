"""Inputs beside the batch: sparse ones, and some that all samples may share."""

import pytest
import torch
from torch import nn

import rnnkit
from rnnkit._diagnostics.inputs.lengths import guess_lengths, is_content
from tests.diagnostics.models_of_users import FEATURE, SEQ, layered, numbers, padded, reported

BATCH = 5
X = numbers(BATCH, SEQ, FEATURE)


@pytest.mark.filterwarnings("ignore:Sparse CSR")  # to make one warns
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_second_input_that_is_sparse(layout):
    """A graph beside the batch may be sparse, of any dtype, whatever its sizes are alike."""
    nodes = layered(lambda m, x, edges: edges.to_dense().to(x.dtype) @ m.gru(x)[0])
    samples = layered(lambda m, x, edges: m.gru(x)[0] + edges.to_dense().sum())
    for kind in (torch.bool, torch.int64, torch.float32):
        between = torch.eye(SEQ).roll(1, 0).to(kind).to_sparse(layout=layout)
        square = torch.eye(BATCH).to(kind).to_sparse(layout=layout)

        for model, edges in ((nodes, between), (samples, square)):
            found = rnnkit.dependency_map(model, X, edges).finding
            assert found == "each depends on its own input alone"
        assert {"batch", "coverage"} <= {*rnnkit.verify(nodes, X, between).checked}
        report = reported(nodes, X, between, causal=True)
        assert [error.probe for error in report.findings] == ["causal"]


def test_a_second_input_that_all_samples_may_share():
    """Rows that broadcast over the samples may mix them: the row and the first line say it is unknown."""
    shared = layered(lambda m, x, y: m.gru(x)[0] - y.mean(0))
    own = layered(lambda m, x, y: m.gru(x)[0] - y.unsqueeze(1))
    report = rnnkit.verify(shared, X, numbers(BATCH, 6))

    assert "batch" not in report.checked
    assert "input[1] has as many rows as the batch" in report.headline
    assert "batch" in rnnkit.verify(shared, X, numbers(BATCH + 1, 6)).checked
    assert "batch" in rnnkit.verify(own, X, numbers(BATCH, 6)).checked


def test_lengths_as_parts_of_the_longest_are_no_content():
    """Parts of the longest are above 0; where one is 0 they may be labels, which are judged."""
    assert not is_content(torch.tensor([1.0, 0.5, 0.25]), 1)
    assert is_content(torch.tensor([1.0, 0.0, 0.25]), 1)
    assert is_content(torch.tensor([0.5, 0.25]), 1)


def test_whose_lengths_they_are():
    """Lengths belong to the input that shares their name; those that differ, to none by its values."""
    x, lengths = padded()
    for name, other, expected in (
        ("x_len", lengths, [1, 0]),
        ("lengths", lengths, [0, 1]),
        ("lengths", lengths - 1, []),
    ):
        inputs = [(x, "y", x), (x, "x", x), (lengths, name, None), (other, "num_steps", None)]
        assert [*guess_lengths(nn.Module(), inputs, len(x))[0]] == expected
