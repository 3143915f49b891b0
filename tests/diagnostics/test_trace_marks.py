"""Marks of ``trace``: each wrong program has its own, and no correct one has any."""

import contextlib
from functools import partial

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.corpus.runner import CASES, subject
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, X, zero_state


class Parts:
    """Layers and cells of a library; each access makes a new one, which reads batch-first."""

    def __init__(self, nn):
        """Take the library."""
        self.nn = nn

    def __getattr__(self, kind):
        """Make layers of FEATURE features, and with ``_wide`` of HIDDEN."""
        name, _, wide = kind.partition("_")
        options = {} if name.endswith("Cell") else {"batch_first": True}
        size = HIDDEN if wide else FEATURE
        return lambda **more: getattr(self.nn, name)(size, HIDDEN, **{**options, **more})


def windows_with_detach(nn, x):
    """Train over windows, the state cut from its graph between them."""
    layer = nn.LSTM()
    state = None
    for window in x.split(3, 1):
        output, state = layer(window, state)
        output.sum().backward()
        state = tuple(part.detach() for part in state)


def windows_on_their_own(nn, x):
    """Run over windows that do not follow each other, overlap, or are copies of a loader's."""
    one = nn.LSTM()
    two = nn.LSTM()
    three = nn.LSTM()
    unordered = [one(x[:, k : k + 2])[0] for k in (4, 0, 2)]
    overlapping = [two(x[:, k : k + 4])[0] for k in (0, 1, 2)]
    copied = [three(part.clone())[0] for part in x.split(2, 1)]
    words = [one(x[:1, :n])[0].expand(BATCH, -1, -1) for n in (5, 1, 3)]
    return torch.cat([torch.cat(p, 1) for p in (unordered, overlapping, copied, words)], 1)


def hidden_state_for_both(nn, x):
    """Start an LSTM from the state of a GRU, which has no c."""
    encoder = nn.GRU()
    decoder = nn.LSTM()
    h = encoder(x)[1]
    return decoder(x, (h, h))[0]


def leaves_of_a_tree(nn, x):
    """Give no state to the leaves, and theirs to the node above them."""
    cell = nn.LSTMCell()
    (a, b), (c, d) = (cell(x[:, k]) for k in range(2))
    return cell(x[:, 2], (a + c, b + d))[0]


def state_by_way_of_packed_input(nn, x):
    """Read a state again as an input, packed."""
    first = nn.GRU()
    second = nn.GRU_wide()
    steps = [first(x[:, k : k + 1])[1] for k in range(2)]
    return second(pack_padded_sequence(torch.cat(steps), [2] * BATCH))[1]


def losses_of_sequences(nn, x):
    """Train on sequences of one step, by a loss of the state that is not returned."""
    cell = nn.GRUCell()
    return [cell(step).sum().backward() for step in x.unbind(1)]


def answers_of_sequences(nn, x):
    """Count what comes out at the end of each sequence: no tensor leads from there on."""
    cell = nn.GRUCell()
    return sum(int(cell(s[1], cell(s[0])).argmax()) for s in x)


def both_turns(nn, x):
    """Start two loops over one cell from one state."""
    cell = nn.GRUCell()
    there = back = zero_state(x)
    for t in range(SEQ):
        there, back = cell(x[:, t], there), cell(x[:, SEQ - 1 - t], back)
    return there + back


def samples_one_by_one(nn, x):
    """Run over one sample after another, each from zeros: of many steps, in either layout, or of one."""
    one = nn.GRU()
    two = nn.GRU(batch_first=False)
    three = nn.GRU()
    batch_first = [one(sample)[0] for sample in x.split(1)]
    seq_first = [two(sample)[0] for sample in x.split(1, 1)]
    steps = [three(sample)[0] for sample in x[:, :1].split(1)]
    return torch.cat(batch_first), torch.cat(seq_first, 1), torch.cat(steps)


RIGHT = [value for value in vars().values() if callable(value) and value.__module__ == __name__][1:]


def traces(make):
    """Trace a program with torch's layers, and with rnnkit's."""
    return [rnnkit.trace(partial(make, Parts(library)), X) for library in (torch.nn, rnnkit.nn)]


@pytest.mark.parametrize("make", RIGHT, ids=lambda make: make.__name__)
def test_correct_program_is_not_marked(make):
    """A correct program has no mark, with torch's layers and rnnkit's."""
    for found in traces(make):
        assert len(found.rows) > 1
        assert [mark for row in found.marked for mark in row.marks] == []


@pytest.mark.filterwarnings("ignore")
def test_right_models_of_the_corpus():
    """No right model of the corpus is marked, as far as it runs with gradients."""
    traced = 0
    for case in CASES:
        model, inputs, options = subject(case.name)
        if "kwargs" not in options:
            with contextlib.suppress(Exception):
                found = rnnkit.trace(model, *inputs)
                marked = found.marked
                traced += bool(found.rows)
            assert marked == []
    assert traced > 200


UNUSED = "starts from zeros, and the state of row {} is unused"
AFRESH = f"its input continues where the input of row 0 ended, but it {UNUSED.format(0)}"
#: Wrong models of the corpus, how many of their rows are marked, and the marks of the first.
WRONG = {
    "never_advanced": (6, ["the same state as in row 0: it is never advanced"]),
    "cell_state_that_is_forgotten": (6, ["the same c as in row 0: it is never advanced"]),
    "decoder_that_forgets": (4, [UNUSED.format(1)]),
    "chunks_that_start_afresh": (2, [AFRESH]),
    "members_unpacked_the_wrong_way": (6, ["its h is c of row 0", "its c is h of row 0"]),
    "bridge: each from its own": (
        1,
        ["its h is computed from c of row 0", "its c is computed from h of row 0"],
    ),
}


def test_wrong_models_of_the_corpus():
    """A wrong model is marked where it goes wrong, with torch's layers and rnnkit's."""
    for name, expected in WRONG.items():
        for library in (torch.nn, rnnkit.nn):
            model, inputs, _ = subject(name, right=False, library=library)
            marked = rnnkit.trace(model, *inputs).marked

            assert (len(marked), marked[0].marks) == expected


def dropped(nn, x):
    """Call a cell for each step, and make a number of its state."""
    cell = nn.GRUCell()
    return [int(cell(x_t).sum()) for x_t in x[:, :2].unbind(1)]


def zeros_each_time(nn, x):
    """Give a layer zeros at each step."""
    layer = nn.GRU()
    return [layer(w, torch.zeros(1, BATCH, HIDDEN))[0] for w in x.split(1, 1)[:2]]


def output_from_its_end(nn, x):
    """Read a layer's output from its end state."""
    first = nn.LSTM()
    second = nn.LSTM_wide()
    return second(*first(x))[0]


def chunks_of_one_sample(nn, _):
    """Run over one chunk after another of a sample, which lies behind two other steps."""
    layer = nn.GRU()
    x = torch.ones(1, SEQ + 2, FEATURE)[:, 2:].detach()
    return torch.cat([layer(chunk)[0] for chunk in x.split(4, 1)], 1)


MARKED = {
    dropped: UNUSED.format(0),
    zeros_each_time: UNUSED.format(0),
    chunks_of_one_sample: AFRESH,
    output_from_its_end: "reads the output of row 0 from its end state: step 0 has then read the whole input",
}


def test_marks():
    """What no model of the corpus does is marked, too."""
    for make, mark in MARKED.items():
        for found in traces(make):
            assert [row.marks for row in found.marked] == [[mark]]


def test_training_without_detach():
    """Of a training loop without detach, the row that goes on from a freed graph says so."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def train(x):
        state = None
        loss = torch.tensor(0.0)
        for t, x_t in enumerate(x[:, :4].unbind(1)):
            state = cell(x_t, state)
            loss = loss + state.sum()
            if t % 2:
                loss.backward()
                loss = torch.tensor(0.0)

    with pytest.raises(RuntimeError, match="second time") as caught:
        rnnkit.trace(train, X)

    found = caught.value.trace
    assert [row.marks for row in found.rows] == snapshot(
        [
            [],
            [],
            ["its h belongs to the graph of row 1, which backward has freed: detach it"],
            [],
        ]
    )
    assert caught.value.__notes__ == snapshot(
        ["rnnkit.trace: 4 rows until then in this error's .trace"]
    )
