"""``trace`` marks no right program that comes close to one of its marks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, numbers

X = numbers(BATCH, SEQ, FEATURE)
BOTH = pytest.mark.parametrize("nn", [nn, rnnkit.nn], ids=["torch", "rnnkit"])


def windows_with_detach(nn: Any) -> Callable[[Tensor], Any]:
    """Train over windows, the state cut from its graph between them."""
    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=True)

    def run(x: Tensor) -> None:
        state = None
        for window in x.split(3, 1):
            output, state = layer(window, state)
            output.sum().backward()
            state = tuple(part.detach() for part in state)

    return run


def graph_that_is_kept(nn: Any) -> Callable[[Tensor], Any]:
    """Differentiate on the way, and go on on the same graph."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> Tensor:
        h = cell(x[:, 0])
        torch.autograd.grad(h.sum(), cell.weight_hh, create_graph=True)
        h.sum().backward(retain_graph=True)
        return cell(x[:, 1], h)

    return run


def generation_after_training(nn: Any) -> Callable[[Tensor], Any]:
    """Go on without gradients from states that hang on a graph of old, freed or not."""
    cell = nn.GRUCell(FEATURE, HIDDEN)
    kept = cell(X[:, 0])

    def run(x: Tensor) -> Tensor:
        h = cell(x[:, 0])
        h.sum().backward()
        with torch.no_grad():
            return cell(x[:, 1], h) + cell(x[:, 1], kept)

    return run


def weights_that_are_written(nn: Any) -> Callable[[Tensor], Any]:
    """Write a weight that a kept graph would need: no graph is freed."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> Tensor:
        h = cell(x[:, 1], cell(x[:, 0]))
        with torch.no_grad():
            cell.weight_hh.mul_(2)
        return cell(x[:, 1], h)

    return run


def state_for_each_window(nn: Any) -> Callable[[Tensor], Any]:
    """Run over windows that follow each other, each from what its own context says."""
    layer, start = nn.GRU(FEATURE, HIDDEN, batch_first=True), torch.nn.Linear(FEATURE, HIDDEN)

    def run(x: Tensor) -> Tensor:
        windows = x.split(3, 1)
        return torch.cat([layer(w, start(w.mean(1)).unsqueeze(0))[0] for w in windows], 1)

    return run


def learned_state(nn: Any) -> Callable[[Tensor], Any]:
    """Start from a weight, which has no graph of its own."""
    layer, start = nn.GRU(FEATURE, HIDDEN), torch.nn.Parameter(torch.zeros(1, 1, HIDDEN))
    return lambda x: [layer(part, start.expand(-1, SEQ, -1)) for part in x.split(2)]


def windows_in_random_order(nn: Any) -> Callable[[Tensor], Any]:
    """Run over windows that do not follow each other."""
    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=True)
    return lambda x: torch.cat([layer(x[:, k : k + 2])[0] for k in (4, 0, 2)], 1)


def windows_that_overlap(nn: Any) -> Callable[[Tensor], Any]:
    """Run over windows with a stride that is less than their length."""
    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=True)
    return lambda x: torch.cat([layer(x[:, k : k + 4])[0] for k in (0, 1, 2)], 1)


def windows_of_a_loader(nn: Any) -> Callable[[Tensor], Any]:
    """Run over copies, as a loader makes them."""
    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=True)
    return lambda x: torch.cat([layer(part.clone())[0] for part in x.split(2, 1)], 1)


def label_for_each_window(nn: Any) -> Callable[[Tensor], Any]:
    """Classify each window on its own, by the mean of its outputs."""
    layer, head = nn.GRU(FEATURE, HIDDEN, batch_first=True), torch.nn.Linear(HIDDEN, 2)
    return lambda x: torch.stack([head(layer(w)[0].mean(1)) for w in x.split(2, 1)], 1)


def sentences_of_a_document(nn: Any) -> Callable[[Tensor], Any]:
    """Read sentences on their own, and join what was read."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)

    def run(x: Tensor) -> Tensor:
        document = torch.stack([x, x + 1], 1)
        return torch.cat([layer(document[:, k])[0] for k in range(2)], 1)

    return run


def sentences_of_one_step(nn: Any) -> Callable[[Tensor], Any]:
    """Read sentences of which one has a single word."""
    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=True)
    return lambda x: [layer(x[:1, :n])[0].mean(1) for n in (5, 1, 3)]


def two_paths(nn: Any) -> Callable[[Tensor], Any]:
    """Run within windows, join them, then run across them."""
    near, far = nn.GRU(FEATURE, HIDDEN, batch_first=True), nn.GRU(HIDDEN, HIDDEN, batch_first=True)
    return lambda x: far(torch.cat([near(w)[0] for w in x.split(2, 1)], 1))[0]


def turns_of_a_dialogue(nn: Any) -> Callable[[Tensor], Any]:
    """Let a decoder begin each turn from the state of the dialogue."""
    talk, word = nn.GRUCell(FEATURE, HIDDEN), nn.GRUCell(HIDDEN, HIDDEN)

    def run(x: Tensor) -> list[Tensor]:
        context, outputs = None, []
        for turn in x.unbind(1)[:3]:
            context = talk(turn, context)
            h = word(context, context)
            for _ in range(2):
                h = word(h, h)
            outputs.append(h)
        return outputs

    return run


def two_cells_a_step(nn: Any) -> Callable[[Tensor], Any]:
    """Let two cells advance one state in turn, with attention in between."""
    first, second = nn.GRUCell(FEATURE, HIDDEN), nn.GRUCell(HIDDEN, HIDDEN)

    def run(x: Tensor) -> list[Tensor]:
        h, outputs = x.new_zeros(len(x), HIDDEN), []
        for step in x.unbind(1):
            h = first(step, h)
            h = second(h.softmax(1), h)
            outputs.append(h)
        return outputs

    return run


def fed_by_its_own_output(nn: Any) -> Callable[[Tensor], Any]:
    """Decode from an encoder's state, each output the next input."""
    encoder, cell = nn.LSTM(FEATURE, HIDDEN, batch_first=True), nn.LSTMCell(HIDDEN, HIDDEN)

    def run(x: Tensor) -> list[Tensor]:
        _, (h, c) = encoder(x)
        h, c, outputs = h[0], c[0], []
        for _ in range(3):
            h, c = cell(h, (h, c))
            outputs.append(h)
        return outputs

    return run


def cell_for_each_layer(nn: Any) -> Callable[[Tensor], Any]:
    """Decode with cells that continue the encoder's layers, each its own."""
    encoder = nn.GRU(FEATURE, HIDDEN, num_layers=2, batch_first=True)
    low, high = nn.GRUCell(FEATURE, HIDDEN), nn.GRUCell(HIDDEN, HIDDEN)

    def run(x: Tensor) -> Tensor:
        states = encoder(x)[1]
        return high(low(x[:, 0], states[0]), states[1])

    return run


def both_directions_of_a_bidirectional_one(nn: Any) -> Callable[[Tensor], Any]:
    """Decode in two directions from the two of an encoder."""
    encoder = nn.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=True)
    left, right = nn.GRUCell(FEATURE, HIDDEN), nn.GRUCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> Tensor:
        h = encoder(x)[1]
        return left(x[:, 0], h[-2]) + right(x[:, 1], h[-1])

    return run


def leaves_of_a_tree(nn: Any) -> Callable[[Tensor], Any]:
    """Give no state to the leaves, and theirs to the node above them."""
    cell = nn.LSTMCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> Tensor:
        (a, b), (c, d) = (cell(x[:, k]) for k in range(2))
        return cell(x[:, 2], (a + c, b + d))[0]

    return run


def state_by_way_of_packed_input(nn: Any) -> Callable[[Tensor], Any]:
    """Read a state again as an input, packed."""
    first, second = nn.GRU(FEATURE, HIDDEN), nn.GRU(HIDDEN, HIDDEN)

    def run(x: Tensor) -> Tensor:
        steps = [first(x[k : k + 1])[1] for k in range(2)]
        lengths = [2] * SEQ
        return second(pack_padded_sequence(torch.cat(steps), lengths))[1]

    return run


def losses_of_sequences(nn: Any) -> Callable[[Tensor], Any]:
    """Train on sequences of one step, by a loss of the state that is not returned."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> None:
        for step in x.unbind(1):
            cell(step).sum().backward()

    return run


def answers_of_sequences(nn: Any) -> Callable[[Tensor], Any]:
    """Count what comes out at the end of each sequence: no tensor leads from there on."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> int:
        right = 0
        for sample in x:
            h = cell(sample[1], cell(sample[0]))
            right += int(h.argmax())
        return right

    return run


def first_state_given_twice(nn: Any) -> Callable[[Tensor], Any]:
    """Read two sequences from one state, the second behind the first in memory."""
    layer, start = nn.GRU(FEATURE, HIDDEN, batch_first=True), numbers(1, BATCH, HIDDEN)
    return lambda x: layer(x[:, :3], start)[1] - layer(x[:, 3:], start)[1]


RIGHT = [
    windows_with_detach,
    graph_that_is_kept,
    generation_after_training,
    weights_that_are_written,
    state_for_each_window,
    learned_state,
    windows_in_random_order,
    windows_that_overlap,
    windows_of_a_loader,
    label_for_each_window,
    sentences_of_a_document,
    sentences_of_one_step,
    two_paths,
    turns_of_a_dialogue,
    two_cells_a_step,
    fed_by_its_own_output,
    cell_for_each_layer,
    both_directions_of_a_bidirectional_one,
    leaves_of_a_tree,
    state_by_way_of_packed_input,
    losses_of_sequences,
    answers_of_sequences,
    first_state_given_twice,
]


@BOTH
@pytest.mark.parametrize("make", RIGHT, ids=lambda make: make.__name__)
def test_right_program_is_not_marked(make: Callable[..., Any], nn: Any) -> None:
    """A right program has no mark."""
    found = rnnkit.trace(make(nn), X)

    assert len(found.rows) > 1
    assert [mark for row in found.marked for mark in row.marks] == []
