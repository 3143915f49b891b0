"""``trace`` marks no correct program, also where it comes close to a mark."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.corpus.runner import CASES
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, numbers

X = numbers(BATCH, SEQ, FEATURE)


class Parts:
    """Layers and cells of a library; each access makes a new one, which reads batch-first."""

    def __init__(self, nn: Any) -> None:
        """Take the library."""
        self.nn = nn

    def __getattr__(self, kind: str) -> Any:
        """Make layers of FEATURE features, and with ``_wide`` of HIDDEN."""
        name, _, wide = kind.partition("_")
        options = {} if name.endswith("Cell") else {"batch_first": True}
        size = HIDDEN if wide else FEATURE
        return lambda **more: getattr(self.nn, name)(size, HIDDEN, **options, **more)


def windows_with_detach(nn: Any, x: Tensor) -> Any:
    """Train over windows, the state cut from its graph between them."""
    layer = nn.LSTM()
    state = None
    for window in x.split(3, 1):
        output, state = layer(window, state)
        output.sum().backward()
        state = tuple(part.detach() for part in state)


def windows_on_their_own(nn: Any, x: Tensor) -> Any:
    """Run over windows that do not follow each other, overlap, or are copies of a loader's."""
    one, two, three = nn.LSTM(), nn.LSTM(), nn.LSTM()
    unordered = [one(x[:, k : k + 2])[0] for k in (4, 0, 2)]
    overlapping = [two(x[:, k : k + 4])[0] for k in (0, 1, 2)]
    copied = [three(part.clone())[0] for part in x.split(2, 1)]
    words = [one(x[:1, :n])[0].expand(BATCH, -1, -1) for n in (5, 1, 3)]
    return torch.cat([torch.cat(p, 1) for p in (unordered, overlapping, copied, words)], 1)


def label_for_each_window(nn: Any, x: Tensor) -> Any:
    """Classify each window on its own, by the mean of its outputs."""
    layer, head = nn.GRU(), torch.nn.Linear(HIDDEN, 2)
    return torch.cat([head(layer(w)[0].mean(1)) for w in x.split(2, 1)], 1)


def sentences_of_a_document(nn: Any, x: Tensor) -> Any:
    """Read sentences on their own, and join what was read."""
    layer = nn.GRU()
    document = torch.stack([x, x + 1], 1)
    return torch.cat([layer(document[:, k])[0] for k in range(2)], 1)


def two_paths(nn: Any, x: Tensor) -> Any:
    """Run within windows, join them, then run across them."""
    near, far = nn.GRU(), nn.GRU_wide()
    return far(torch.cat([near(w)[0] for w in x.split(2, 1)], 1))[0]


def hidden_state_for_both(nn: Any, x: Tensor) -> Any:
    """Start an LSTM from the state of a GRU, which has no c."""
    encoder, decoder = nn.GRU(), nn.LSTM()
    h = encoder(x)[1]
    return decoder(x, (h, h))[0]


def bridges(nn: Any, x: Tensor) -> Any:
    """Compute both members from h, from c, or from both of them."""
    encoder, decoder = nn.LSTM(), nn.LSTM()
    h, c = encoder(x)[1]
    both = (h + c).tanh()
    starts = ((2 * h, 3 * c), (2 * h, h.tanh()), (c.tanh(), 2 * c), (both, 2 * both))
    return [decoder(x, start)[0] for start in starts]


def leaves_of_a_tree(nn: Any, x: Tensor) -> Any:
    """Give no state to the leaves, and theirs to the node above them."""
    cell = nn.LSTMCell()
    (a, b), (c, d) = (cell(x[:, k]) for k in range(2))
    return cell(x[:, 2], (a + c, b + d))[0]


def state_by_way_of_packed_input(nn: Any, x: Tensor) -> Any:
    """Read a state again as an input, packed."""
    first, second = nn.GRU(), nn.GRU_wide()
    steps = [first(x[:, k : k + 1])[1] for k in range(2)]
    return second(pack_padded_sequence(torch.cat(steps), [2] * BATCH))[1]


def losses_of_sequences(nn: Any, x: Tensor) -> Any:
    """Train on sequences of one step, by a loss of the state that is not returned."""
    cell = nn.GRUCell()
    return [cell(step).sum().backward() for step in x.unbind(1)]


def answers_of_sequences(nn: Any, x: Tensor) -> Any:
    """Count what comes out at the end of each sequence: no tensor leads from there on."""
    cell = nn.GRUCell()
    return sum(int(cell(s[1], cell(s[0])).argmax()) for s in x)


def unrolled(_: Any, x: Tensor) -> Any:
    """Run a cell over the steps by rnnkit's loops."""
    loop = rnnkit.Recurrent([rnnkit.GRUCell(FEATURE, HIDDEN)], batch_first=True)
    cell = rnnkit.GRUCell(FEATURE, HIDDEN)
    return loop(x)[0] + rnnkit.unroll(cell, x, batch_first=True)[0]


def both_turns(nn: Any, x: Tensor) -> Any:
    """Start two loops over one cell from one state."""
    cell, start = nn.GRUCell(), x.new_zeros(len(x), HIDDEN)
    there = back = start
    for t in range(SEQ):
        there, back = cell(x[:, t], there), cell(x[:, SEQ - 1 - t], back)
    return there + back


def samples_of_one_step(nn: Any, x: Tensor) -> Any:
    """Run over samples of one step one by one, embedded beside a longer one."""
    one, two, embed = nn.GRU(), nn.GRU(), torch.nn.Linear(FEATURE, FEATURE)
    pairs = zip(x, (3, 1, 1, 1), strict=True)
    return [one(row[:1]) for row in x], [two(embed(row[:k])) for row, k in pairs]


RIGHT = [value for value in vars().values() if callable(value) and value.__module__ == __name__][1:]


@pytest.mark.parametrize("make", RIGHT, ids=lambda make: make.__name__)
def test_correct_program_is_not_marked(make: Callable[..., Any]) -> None:
    """A correct program has no mark, with torch's layers and rnnkit's."""
    for nn in (torch.nn, rnnkit.nn):
        found = rnnkit.trace(partial(make, Parts(nn)), X)

        assert len(found.rows) > 1
        assert [mark for row in found.marked for mark in row.marks] == []


@pytest.mark.filterwarnings("ignore")
def test_right_models_of_the_corpus() -> None:
    """No right model of the corpus is marked, as far as it runs with gradients."""
    traced = 0
    for case in CASES:
        subject = case.make(torch.nn, True)  # type: ignore[arg-type]
        if not {"call", "kwargs"} & {*subject.options}:
            with contextlib.suppress(Exception):
                found = rnnkit.trace(subject.model, *subject.inputs)
                marked, traced = found.marked, traced + bool(found.rows)
            assert marked == []
    assert traced > 200
