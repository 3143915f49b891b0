"""Inputs beside the batch: sparse ones, and some that all samples may share."""

import re
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils import _pytree as pytree

import rnnkit
from rnnkit._diagnostics.inputs.lengths import Named as Input
from rnnkit._diagnostics.inputs.lengths import guess_lengths, is_content, shortened_lengths
from tests.diagnostics.models_of_users import (
    COUNTS,
    FEATURE,
    LOOKS,
    PADDED,
    SEQ,
    findings,
    layered,
    mask,
    model,
    numbers,
    pack,
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

        for net, edges in ((nodes, between), (samples, square)):
            found = rnnkit.dependency_map(net, X, edges).finding
            assert found == "each depends on its own input alone"
        assert {"batch", "coverage"} <= {*rnnkit.verify(nodes, X, between).checked}
        assert findings(nodes, X, between, causal=True) == {"causal"}


@settings(max_examples=4)
@given(batch=st.integers(5, 8), steps=st.integers(3, 9))
def test_flags_that_meet_features(batch, steps):
    """Flags of samples and steps that scale the features are found, where these are as many."""
    steps += steps == batch
    done = (numbers(batch, steps) > 0.5).float()

    def forward(m, x, done):
        h = x.new_zeros(len(x), batch)
        for t in range(x.shape[1]):
            keep = 1 - (done[:, t : t + 1] if m.right else done[:, t])
            h = m.cell(x[:, t], h * keep)
        return h

    for right in (False, True):
        net = model(forward, cell=nn.GRUCell(FEATURE, batch), right=right)
        report = reported(net, numbers(batch, steps, FEATURE), done)

        assert [one.probe for one in report.findings] == ([] if right else ["batch"])
        assert ("batch" in report.checked) == right
        for one in report.findings:
            assert "where      mul" in str(one)
            assert "flag[:, None]" in str(one)


@settings(max_examples=4)
@given(batch=st.integers(5, 9))
def test_a_fix_has_no_size_of_a_part_of_the_batch(batch):
    """A view of the whole batch is told with the word, since four samples run."""

    def forward(m, x):
        return m.head(x).view(2, len(x), 6)[1]

    [found] = reported(
        model(forward, head=nn.Linear(FEATURE, 12)), numbers(batch, FEATURE)
    ).findings

    assert "view(2, batch, 6)" in str(found)
    assert "x.reshape(batch, 2, ...)" in str(found)


def by_steps(advance):
    """Return what reads a rollout step by step, and advances its state so."""

    def read(m, x, h, keep):
        outputs = []
        for x_t, keep_t in zip(x, keep, strict=True):
            h = advance(m, x_t, h * keep_t)
            outputs.append(h)
        return torch.stack(outputs)

    return read


def at_once_both_ways(m, x, h, keep):
    """Read a rollout at once, then from its end: a layer reads each row twice."""
    h = (h * keep[0])[None]
    return m.gru(x, h)[0] + m.gru(x.flip(0), h)[0].flip(0)


def from_a_start_step(m, x, h, keep):
    """Read one step more than there are, in front."""
    return m.gru(torch.cat([x[:1], x]), (h * keep[0])[None])[0][1:]


#: Ways to read a rollout: with a cell, with a layer, and with weights alone, which no module shows.
READS = [
    by_steps(lambda m, x_t, h: m.cell(x_t, h)),
    by_steps(lambda m, x_t, h: m.gru(x_t[None], h[None])[0][0]),
    by_steps(lambda m, x_t, h: torch.tanh(m.head(x_t) + h)),
    at_once_both_ways,
    from_a_start_step,
]


@settings(max_examples=16)
@given(
    envs=st.sampled_from([2, 3, 4, 5]),
    steps=st.integers(3, 5),
    read=st.sampled_from(READS),
    all_start=st.booleans(),
)
def test_a_flat_rollout_is_no_batch(envs, steps, read, all_start):
    """Rows (steps * envs) accuse nobody, however they are read, and *batch* is not ok of them.

    If all episodes start at step 1, no row of step 0 shows that the rows of later steps mix. If
    there are 4 environments, four samples are one step, and show nothing of the others.
    """
    starts = (numbers(steps, envs) > 0).float()
    starts[1] = float(all_start)
    starts = starts.view(-1, 1)

    def forward(m, x, h, starts):
        x = x.view(-1, envs, FEATURE)
        keep = 1 - starts.view(len(x), envs, 1)
        return read(m, x, h, keep).flatten(0, 1)

    modules = {"gru": nn.GRU(FEATURE, 6), "cell": nn.GRUCell(FEATURE, 6)}
    net = model(forward, head=nn.Linear(FEATURE, 6), **modules)
    report = reported(net, numbers(steps * envs, FEATURE), numbers(envs, 6), starts)

    rows = steps * envs
    assert report.findings == []
    [batch] = [check for check in report.checks if check.probe == "batch"]
    assert f"takes {rows} or {2 * rows} samples, but not {rows - 1}" in batch.detail


@settings(max_examples=4)
@given(batch_size=st.integers(2, 4), fixed=st.integers(2, 4))
def test_a_fixed_batch_size_is_found_where_rows_have_steps(batch_size, fixed):
    """A view with a fixed number of samples mixes them, also of a model that refuses other sizes."""

    def forward(m, x):
        return m.gru(x.view(-1, batch_size, FEATURE))[0].view(batch_size, -1, 6)

    net = model(forward, gru=nn.GRU(FEATURE, 6))

    assert findings(net, numbers(batch_size, batch_size + fixed, FEATURE)) == {"batch"}


@settings(max_examples=4)
@given(batch_size=st.integers(2, 4), width=st.integers(2, 10))
def test_one_step_of_zeros_and_ones_is_no_mask(batch_size, width):
    """One step of ones, or of a class in each sample, is data; with lengths it has no padding."""
    lengths = torch.ones(batch_size, dtype=torch.int64)
    classes = torch.arange(batch_size) % width

    def forward(m, x, lengths):
        return m.gru(x, lengths=lengths)[1][0]

    net = model(forward, gru=rnnkit.GRU(width, 6, batch_first=True))
    for x in (torch.ones(batch_size, 1, width), nn.functional.one_hot(classes, width)[:, None]):
        report = reported(net, x.float(), lengths, lengths=lengths)

        assert report.findings == []
        assert "batch" in report.checked
        [padding] = [check for check in report.checks if check.probe == "padding"]
        assert padding.detail == "no sample has padding"


def test_lengths_as_parts_of_the_longest_are_no_content():
    """Parts of the longest are above 0; where one is 0 they may be labels, which are judged."""
    assert not is_content(torch.tensor([1.0, 0.5, 0.25]), 1)
    assert is_content(torch.tensor([1.0, 0.0, 0.25]), 1)
    assert is_content(torch.tensor([0.5, 0.25]), 1)
    # Floats that are none are counts.
    assert shortened_lengths(COUNTS.float(), COUNTS.tolist(), 4).tolist() == [3, 4, 4, 2]


def test_whose_lengths_they_are():
    """Lengths belong to the input that shares their name; those that differ, to none by its values."""
    for name, other, expected in (
        ("x_len", COUNTS, [1, 0]),
        ("lengths", COUNTS, [0, 1]),
        ("lengths", COUNTS - 1, []),
    ):
        inputs = [Input(PADDED, "y", PADDED), Input(PADDED, "x", PADDED)]
        inputs += [Input(COUNTS, name, None), Input(other, "num_steps", None)]
        assert [*guess_lengths(nn.Module(), inputs, len(PADDED))[0]] == expected


class Named(NamedTuple):
    """A batch as a named tuple."""

    x: torch.Tensor
    lengths: torch.Tensor


def test_a_batch_with_fields():
    """Its tensors are inputs, lengths are known by their names, and a call gets the batch whole."""
    net = layered(lambda m, data: m.gru(data.x)[0])
    batch = Named(PADDED, COUNTS)
    for look in (partial(reported, net, batch), partial(reported, net, kwargs={"data": batch})):
        report = look(causal=True)
        called = look(call=lambda m, data: m(data))

        assert {"causal", "padding"} <= {*report.checked}
        assert len(report.axes) == len(called.axes) == 3


def test_a_list_with_a_sequence_of_each_sample():
    """It is not judged, and the reason says what to type, which judges it."""
    rows = [x[:n] for x, n in zip(PADDED, COUNTS.tolist(), strict=True)]
    right = layered(lambda m, rows: [m.gru(x[None])[0][0] for x in rows])
    wrong = layered(lambda m, rows: m.gru(pad_sequence([*rows], batch_first=True))[1][-1])

    reason = reported(right, rows).checks[0].detail
    call = eval(reason.partition("call=")[2])  # noqa: S307 - our own message
    padded = pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])

    def judged(net):
        """Type it."""
        return reported(net, padded, lengths, lengths=lengths, call=call)

    assert not reported(wrong, rows).judged
    assert "alone" in judged(layered(lambda m, rows: m.gru(pad_sequence([*rows], True))[0])).checked
    assert [one.probe for one in judged(wrong).findings] == ["alone"]


class Rows(dict[str, torch.Tensor]):
    """Tensors by name that iterate over their samples, as a TensorDict of tensordict does."""

    def __iter__(self):
        """Iterate over the samples."""
        return iter(range(BATCH))


pytree.register_pytree_node(
    Rows,
    pytree._dict_flatten,
    lambda tensors, names: Rows(zip(names, tensors, strict=True)),
    flatten_with_keys_fn=pytree._dict_flatten_with_keys,
)


def test_a_mapping_that_iterates_over_samples():
    """Its tensors are those of its items, in what a model is given and in what it returns."""
    net = layered(lambda m, data: Rows(x=data["x"], y=m.gru(data["x"])[0]))
    mixed = layered(lambda m, data: Rows(y=m.gru(data["x"])[0].cumsum(0)))
    named = [line.partition(" ")[0] for line in reported(net, Rows(x=X), causal=True).axes]

    assert named == ["input", "output['x']", "output['y']"]
    assert findings(mixed, Rows(x=X)) == {"batch"}
    assert len(rnnkit.trace(net, Rows(x=X)).rows) == 1


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        (X.numpy(), "x = torch.as_tensor(x)"),
        (
            SimpleNamespace(x=X, n=1, _kept=0),
            "call=lambda model, x, n: model(SimpleNamespace(x=x, n=n))",
        ),
        (3, "a list with a tensor for each sample"),
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
    with pytest.raises(rnnkit.ArgumentError, match="which stores none"):
        look(net, *inputs)


@pytest.mark.parametrize("way", ["packed", "lengths="])
@pytest.mark.parametrize("kind", [tokens, numbers])
def test_what_a_model_packs_tells_the_lengths(way, kind):
    """A model that counts its steps and packs by that knows padding: a mean over it is found."""
    x = tokens(4, SEQ) * mask(COUNTS) if kind is tokens else PADDED

    def forward(m, x):
        valid = x.view(*x.shape[:2], -1).ne(0).any(2, keepdim=True)
        n = valid.sum((1, 2))
        words = m.words(x) if kind is tokens else m.fc(x)
        _, h = m.gru(pack(words, n)) if way == "packed" else m.gru(words, lengths=n)
        return h[0] + (words * valid if m.right else words).sum(1)

    for right in (False, True):
        parts = {"words": nn.Embedding(15, 6), "fc": nn.Linear(FEATURE, 6)}
        net = layered(forward, **parts, gru=rnnkit.GRU(6, 6, batch_first=True), right=right)

        assert ("alone" in findings(net, x)) != right
        assert not findings(net, x, lengths=False)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("axes", [(4, 1, SEQ), (4, SEQ, 1), (4, 1, 1, SEQ)])
def test_masks_with_axes_of_one_tell_lengths(dtype, axes):
    """A mask laid out for attention, or to scale features, is no content: it tells the lengths."""
    valid = mask(COUNTS).view(axes).to(dtype)

    def forward(m, x, mask):
        rows = mask.reshape(len(x), x.shape[1], 1).float()
        y = m.gru(x)[0]
        return (y * rows).sum(1) / rows.sum(1) if m.right else y.mean(1)

    for right in (False, True):
        report = reported(layered(forward, right=right), PADDED, valid)

        assert [one.probe for one in report.findings] == ([] if right else ["alone"])
        assert ("alone" in report.checked) == right
        assert any("no output depends on" in note for note in report.notes) != right


def test_a_map_and_a_trace_of_another_call():
    """They call the model as verify does, and names of modules stay; what is no call is refused."""
    net = layered(lambda m, data, *, scale: m.gru(scale * data["x"])[0])
    options = {"kwargs": {"scale": 2.0}, "call": lambda m, x, scale: m({"x": x}, scale=scale)}
    rows = rnnkit.trace(net, X, **options).rows
    loop = rnnkit.trace(lambda x, scale: net({"x": x}, scale=scale), X, kwargs={"scale": 2.0}).rows

    assert rnnkit.dependency_map(net, X, **options).finding.endswith("its own input alone")
    assert [row.module for row in rows] == ["gru"]
    assert [row.kind for row in loop] == ["GRU"]
    for look in LOOKS:
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
