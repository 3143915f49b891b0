"""Inputs beside the batch: sparse ones, and some that all samples may share."""

import dataclasses
import re
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn

import rnnkit
from rnnkit._diagnostics.inputs.lengths import Named as Input
from rnnkit._diagnostics.inputs.lengths import guess_lengths, is_content
from tests.diagnostics.models_of_users import (
    FEATURE,
    SEQ,
    layered,
    mask,
    numbers,
    padded,
    reported,
    tokens,
)

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
        inputs = [Input(x, "y", x), Input(x, "x", x)]
        inputs += [Input(lengths, name, None), Input(other, "num_steps", None)]
        assert [*guess_lengths(nn.Module(), inputs, len(x))[0]] == expected


class Named(NamedTuple):
    """A batch as a named tuple."""

    x: torch.Tensor
    lengths: torch.Tensor


Data = dataclasses.make_dataclass(
    "Data", ["x", "lengths", ("size", int, dataclasses.field(init=False))]
)


@pytest.mark.parametrize("kind", [Named, Data])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_batch_with_fields(kind, by_name):
    """Its tensors are inputs, lengths are known by their names, and a call gets the batch whole."""
    x, lengths = padded()
    net = layered(lambda m, data: m.gru(data.x)[0])
    batch = kind(x, lengths)
    given = {"kwargs": {"data": batch}} if by_name else {}
    report = reported(net, *([] if by_name else [batch]), **given, causal=True)
    called = reported(net, *([] if by_name else [batch]), **given, call=lambda m, data: m(data))

    assert "causal" in report.checked
    assert len(report.axes) == len(called.axes) == 3
    assert "padding" in report.checked


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        (X.numpy(), "x = torch.as_tensor(x)"),
        (SimpleNamespace(x=X), "call=lambda model, x: model(SimpleNamespace(x))"),
        (3, "a batch of tensors"),
    ],
)
def test_inputs_without_tensors(given, fix):
    """What to type depends on what came."""
    with pytest.raises(rnnkit.ArgumentError, match=re.escape(fix)):
        rnnkit.verify(nn.GRU(3, 4), given)


@pytest.mark.parametrize("look", [rnnkit.verify, rnnkit.dependency_map])
@pytest.mark.parametrize("beside", [False, True])
def test_inputs_without_values(look, beside):
    """A tensor on the meta device has nothing to judge, as the first input or a further one."""
    net = layered(lambda m, x, y=None: m.gru(x)[0])  # noqa: ARG005
    inputs = [X, X.to("meta")] if beside else [X.to("meta")]
    with pytest.raises(rnnkit.ArgumentError, match="which has no values"):
        look(net, *inputs)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_tokens_tell_their_lengths_by_the_padding_of_an_embedding(padding, dtype):
    """A mean over padding is found though nobody passed lengths, and one over words is right."""
    lengths = torch.tensor([3, SEQ, 5, 2])
    words = (tokens(4, SEQ) + 3).masked_fill(~mask(lengths), padding).to(dtype)
    for right in (False, True):

        def forward(m, x, right=right):
            output = m.gru(m.words(x))[0]
            valid = (x != padding).unsqueeze(2)
            return (output * valid).sum(1) / (valid.sum(1) if right else x.shape[1])

        embedding = nn.Embedding(15, FEATURE, padding_idx=padding)
        report = reported(layered(forward, words=embedding), words)

        assert ("alone" in {one.probe for one in report.findings}) != right


@pytest.mark.parametrize("width", [None, FEATURE])
def test_numbers_are_no_tokens_of_an_embedding(width):
    """Zeros that numbers end in tell no lengths by the padding of an embedding for further tokens."""
    x = numbers(4, SEQ, width or 1) * mask(torch.tensor([3, SEQ, 5, 2])).unsqueeze(2)
    x = x if width else x.squeeze(2)

    def forward(m, x, words):
        return m.head(x.view(*x.shape[:2], -1)).mean(1) + m.words(words)

    net = layered(forward, head=nn.Linear(width or 1, 6), words=nn.Embedding(15, 6, padding_idx=0))
    report = rnnkit.verify(net, x, tokens(4))

    [padding] = [check for check in report.checks if check.probe == "padding"]
    assert padding.detail == "no lengths were given"


def test_a_map_and_a_trace_of_another_call():
    """They call the model as verify does, and names of modules stay; what is no call is refused."""
    net = layered(lambda m, data, *, scale: m.gru(scale * data["x"])[0])
    options = {"kwargs": {"scale": 2.0}, "call": lambda m, x, scale: m({"x": x}, scale=scale)}
    rows = rnnkit.trace(net, X, **options).rows
    loop = rnnkit.trace(lambda x, scale: net({"x": x}, scale=scale), X, kwargs={"scale": 2.0}).rows

    assert rnnkit.dependency_map(net, X, **options).finding.endswith("its own input alone")
    assert [row.module for row in rows] == ["gru"]
    assert [row.kind for row in loop] == ["GRU"]
    for look in (rnnkit.verify, rnnkit.dependency_map, rnnkit.trace):
        for wrong in ({"call": 3}, {"kwargs": [1]}, {"kwargs": {1: 2}}):
            with pytest.raises(rnnkit.ArgumentError, match=next(iter(wrong))):
                look(net, X, **wrong)


def test_a_state_that_was_detached_is_said():
    """A trace says so of the same numbers off their graph, and of no others."""
    net = layered(lambda m, x: m.gru(x[:, 3:], m.cut(m.gru(x[:, :3])[1]))[0])
    for cut, state in (
        (torch.detach, "h of row 0, detached"),
        (torch.Tensor.contiguous, "h of row 0"),
    ):
        net.cut = cut
        assert rnnkit.trace(net, X).rows[1].state == state
