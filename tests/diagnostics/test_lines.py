"""Lines of a report on what may be meant: the wrong twin has one, and the right one has none."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import (
    COUNTS,
    PADDED,
    SEQ,
    X,
    findings,
    gru,
    layered,
    lstm,
    mask,
    model,
    numbers,
    pack,
    reported,
    tokens,
    unpack,
    within,
)


def told(line, net, *inputs, **options):
    """Return whether a report has a line with these words; nothing is found."""
    report = reported(net, *inputs, **options)
    assert report.findings == []
    return any(line in note for note in report.notes)


def assert_told(line, forward, *inputs, **parts):
    """Check that the wrong twin has a line with these words, and that the right one has none."""
    for right in (False, True):
        assert told(line, layered(forward, **parts, right=right), *inputs) != right


@settings(max_examples=6)
@given(steps=st.integers(5, 12), width=st.integers(3, 8), kernel=st.integers(1, 3))
def test_a_convolution_over_features(steps, width, kernel):
    """A convolution that takes the steps for channels is told, unless it mixes steps alone."""

    def forward(m, x):
        x = m.words(x)
        x = m.conv(x.mT) if m.right else m.conv(x)
        return m.gru(x.mT)[0][:, -1]

    for right in (False, True):
        conv = nn.Conv1d(width if right else steps, 3, kernel)
        net = layered(forward, words=nn.Embedding(11, width), conv=conv, right=right)
        is_told = told("slides over axis 2", net, tokens(4, steps))

        assert is_told == (not right and kernel > 1 and steps != width)


@pytest.mark.parametrize(
    ("cut", "lost"), [(1, "1 sample of input[0]: 0"), (2, "2 samples of input[0]: 0, 1")]
)
def test_samples_that_reach_no_loss(cut, lost):
    """A cut of the batch in the place of the steps is told, with the samples that are lost."""

    def forward(m, x, y):
        error = m.gru(x)[0] - y
        return (error[:, cut:] if m.right else error[cut:]).square().mean()

    assert_told(f"no gradient of the loss reaches {lost}", forward, X, numbers(4, 7, 6))


@settings(max_examples=8)
@given(samples=st.integers(2, 3), has_layer=st.booleans())
def test_labels_of_which_nothing_shows_whose_they_are(samples, has_layer):
    """Labels are told that are equal in all samples, or that the model takes in no other sample."""

    def forward(m, x, y):
        if m.right or len(y.unique()) == len(y):
            rows = m.gru(x)[0] if has_layer else x
            return nn.functional.cross_entropy(rows[:, -1, :3], y)
        raise ValueError

    x = X[:samples]
    classes = torch.arange(samples)
    line = "nothing shows whose it is"

    assert told(
        f"input[1] is equal in all samples: {line}", layered(forward, right=True), x, 0 * classes
    )
    assert_told(
        f"with input[1] of another sample the model fails or runs differently: {line}",
        forward,
        x,
        classes,
    )


@settings(max_examples=4)
@given(steps=st.integers(3, 12), width=st.integers(2, 6))
def test_an_order_that_nothing_sees(steps, width):
    """A mean over steps without places in it is told, and one of a recurrent layer is not."""
    x = numbers(4, steps, width)
    unseen = model(lambda m, x: m.head(x).tanh().mean(1), head=nn.Linear(width, 2))
    seen = layered(lambda m, x: m.gru(x)[0].mean(1), gru=gru(width))
    # Where each step has an output, it is that which shows the order.
    stepwise = model(lambda m, x: m.head(x), head=nn.Linear(width, 2))
    line = "the steps in a different order give the same output"

    assert [told(line, net, x) for net in (unseen, seen, stepwise)] == [True, False, False]


@pytest.mark.parametrize("make", [gru, lstm])
def test_draws_that_the_samples_share(make):
    """One mask for all samples is told; one for each, and a model without any, are not."""

    def locked(m, x):
        y = m.gru(x)[0]
        sizes = (len(y), 1, 6) if m.right else (1, *y.shape[1:])
        return y * y.new_empty(sizes).bernoulli_(0.6) if m.training else y

    line = "all samples share random numbers"
    for x in (X, X[:2]):
        assert_told(line, locked, x, gru=make())
    dropping = layered(lambda m, x: m.drop(m.gru(x)[0]), drop=nn.Dropout(0.5))
    a_loss = layered(lambda m, x: m.drop(m.gru(x)[0]).square().mean(), drop=nn.Dropout(0.5))
    for net in (make(), dropping, a_loss):
        assert not told(line, net, X)


def test_a_batch_norm_that_reads_padding():
    """In train mode it averages over padding; over the valid steps alone it tells nothing."""

    def forward(m, x, lengths):
        valid = mask(lengths, x.shape[1])
        x = m.fc(x)
        if m.right:
            x = torch.zeros_like(x).masked_scatter(valid.unsqueeze(2), m.bn(x[valid]))
        else:
            x = m.bn(x.flatten(0, 1)).view(x.shape)
        return unpack(m.gru(pack(x, lengths))[0])

    parts = {"gru": gru(6), "fc": nn.Linear(3, 6), "bn": nn.BatchNorm1d(6)}
    assert_told("bn averages over both", forward, PADDED, COUNTS, **parts)


def test_a_mode_that_computes_something_else():
    """What is judged in eval mode, and runs differently in train mode, is told."""
    assert_told("in train mode", lambda m, x: m.gru(x)[0] * (m.right or 1 + m.training), X)


def test_lengths_that_one_input_has_alone():
    """An input as long as the one with lengths is told, until it has some as well."""

    def forward(m, x, y, lengths):
        valid = mask(lengths, x.shape[1]).unsqueeze(2)
        return ((m.gru(x)[0] + m.head(y)) * valid).sum(1) / valid.sum(1)

    net = layered(forward, head=nn.Linear(2, 6))
    inputs = (PADDED, numbers(4, 7, 2), COUNTS)
    line = "no lengths were given for input[1], with as many steps as input[0]"

    assert told(line, net, *inputs, lengths=COUNTS)
    assert not told(line, net, *inputs, lengths={0: COUNTS, 1: COUNTS})


def test_a_second_batch_has_all_other_values():
    """With ``other=`` no step gets a value that neither batch has there: a loop might never end."""
    seen = set()

    def forward(m, x, parents):
        rows = parents.tolist()
        seen.update(place for row in rows if len(row) == SEQ for place in enumerate(row))
        return m.gru(x)[0] + (parents % 5).unsqueeze(2)

    net = layered(forward, gru=gru())
    both = torch.arange(8 * SEQ).view(2, 4, SEQ)
    reported(net, X, both[0], other=(X.flip(0), both[1]))

    assert seen == {place for row in both.flatten(0, 1).tolist() for place in enumerate(row)}


def test_chunks_that_nobody_asked_for():
    """A state that is taken and not used is told, and one that is used is told to be the same."""

    def forward(m, x, state=None):
        return m.gru(x, state if m.right else None)

    assert_told("pass the state along, the outputs differ", forward, X)
    assert told("pass the state along, the outputs are the same", layered(forward, right=True), X)


@pytest.mark.parametrize("channels", [5, 6])
def test_channels_that_become_pixels(channels):
    """A view of a picture as rows of channels is told; where the axes change places it is not."""

    def forward(m, x):
        x = m.conv(x)
        rows = x.flatten(2).mT if m.right else x.reshape(len(x), -1, channels)
        return m.gru(rows)[0]

    parts = {"gru": gru(channels), "conv": nn.Conv2d(3, channels, 3, stride=2)}
    assert_told("mixes channels and pixels", forward, numbers(4, 3, 9, 9), **parts)


@pytest.mark.parametrize("beams", [2, 3])
def test_beams_whose_states_stay(beams):
    """A search that picks beams and leaves the states where they are is told."""

    def forward(m, x):
        batch = len(x)
        h = m.gru(x)[1][0].repeat_interleave(beams, 0)
        tokens = torch.zeros(batch * beams, dtype=torch.long)
        scores = x.new_zeros(batch, beams)
        scores[:, 1:] = -1e4
        kept = []
        for _ in range(5):
            h = m.cell(m.words(tokens), h)
            total = scores.unsqueeze(2) + m.head(h).log_softmax(1).view(batch, beams, -1)
            scores, best = torch.topk(input=total.flatten(1), k=beams)
            first = torch.arange(batch).unsqueeze(1) * beams
            tokens = (best % 12).flatten()
            if m.right:
                h = h[(first + best // 12).flatten()]
            kept.append(scores)
        return torch.stack(kept, 2)

    parts = {"words": nn.Embedding(12, 5), "cell": nn.GRUCell(5, 6), "head": nn.Linear(6, 12)}
    assert_told(f"topk picks among {beams} beams", forward, X, **parts)


def test_a_module_whose_result_is_not_used():
    """A gate that is computed and reaches no output is found; one that a threshold uses is not."""

    def forward(m, x):
        y = m.gru(x)[0]
        gate = m.gate(y)
        if m.how == "used":
            return y * gate.sigmoid()
        return y * (gate > 0) if m.how == "by a threshold" else y

    found = {}
    for how in ("used", "by a threshold", "not at all"):
        found[how] = findings(layered(forward, gate=nn.Linear(6, 6), how=how), X)

    assert found == {"used": set(), "by a threshold": set(), "not at all": {"gradient"}}


def test_a_table_with_as_many_rows_by_chance():
    """A table whose rows happen to be as many as labels add up to stays whole for one sample."""

    def looked_up(m, x, labels, table):
        return m.gru(x)[0] + table[labels].unsqueeze(1)

    def compared(m, x, labels, table):
        h = m.gru(x)[1][0]
        return h + (h @ table.T).amax(1, keepdim=True) + labels.unsqueeze(1)

    for forward in (looked_up, compared):
        for labels in ([2, 3, 1, 0], [0, 1, 2, 3]):
            report = rnnkit.verify(layered(forward), X, torch.tensor(labels), numbers(6, 6))

            assert {"batch", "alone"} <= {*report.checked}


@pytest.mark.parametrize("extra", [0, 2])
def test_models_that_train_another_way(extra):
    """In train mode a model may return less, or other shapes, and a search may run on one sample."""

    def forward(m, x, lengths):
        y = within(m.drop(m.bn(m.gru(x)[0].mT).mT), lengths)
        if m.training:
            return y[:, :, extra:].sum(2) if extra else y.mean()
        return y, y[:, -1]

    parts = {"bn": nn.BatchNorm1d(6), "drop": nn.Dropout(0.5)}
    assert reported(layered(forward, **parts), PADDED, COUNTS, lengths=COUNTS).checked

    def searched(m, x):
        h = None
        for x_t in x[0]:
            h = m.cell(x_t, h)
            h = h + h.unsqueeze(0).topk(k=2, dim=1).values.sum()
        return m.gru(x)[0] + h

    assert reported(layered(searched, cell=nn.GRUCell(3, 6)), X).checks


@pytest.mark.parametrize("seed", range(3))
def test_columns_that_dropout_hides_are_not_idle(seed):
    """A mask that hides a feature of all samples says nothing of the weight that reads it."""
    torch.manual_seed(seed)

    def forward(m, x):
        return m.head(nn.functional.dropout(m.gru(x)[0][:, -1], 0.9, m.training))

    assert not told("no gradient reaches", layered(forward, head=nn.Linear(6, 2)), X)


@settings(max_examples=4)
@given(slots=st.integers(2, 4), width=st.integers(2, 5), steps=st.integers(6, 9))
def test_weights_of_slots_that_are_never_written(slots, width, steps):
    """A ring of states that turns too early leaves columns of the weight that reads it idle."""

    def forward(m, x):
        ring = [x.new_zeros(len(x), width)] * slots
        for t in range(x.shape[1]):
            h = m.cell(x[:, t], m.read(torch.cat(ring, 1)).tanh())
            ring[t % (slots if m.right else slots - 1)] = h
        return h

    parts = {"cell": nn.GRUCell(3, width), "read": nn.Linear(slots * width, width)}
    line = f"no gradient reaches {width} columns of read.weight"
    assert_told(line, forward, numbers(4, steps, 3), **parts)
