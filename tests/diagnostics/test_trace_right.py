"""``trace`` marks no correct program, also where it comes close to a mark."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
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


def windows_with_detach(nn: Any) -> Callable[[Tensor], Any]:
    """Train over windows, the state cut from its graph between them."""
    layer = nn.LSTM()

    def run(x: Tensor) -> None:
        state = None
        for window in x.split(3, 1):
            output, state = layer(window, state)
            output.sum().backward()
            state = tuple(part.detach() for part in state)

    return run


def graph_that_is_kept(nn: Any) -> Callable[[Tensor], Any]:
    """Differentiate on the way, and go on on the same graph."""
    cell = nn.GRUCell()

    def run(x: Tensor) -> Tensor:
        h = cell(x[:, 0])
        torch.autograd.grad(h.sum(), cell.weight_hh, create_graph=True)
        h.sum().backward(retain_graph=True)
        return cell(x[:, 1], h)

    return run


def generation_after_training(nn: Any) -> Callable[[Tensor], Any]:
    """Go on without gradients from states that hang on an old graph, freed or not."""
    cell = nn.GRUCell()
    kept = cell(X[:, 0])

    def run(x: Tensor) -> Tensor:
        h = cell(x[:, 0])
        h.sum().backward()
        with torch.no_grad():
            return cell(x[:, 1], h) + cell(x[:, 1], kept)

    return run


def weights_that_are_written(nn: Any) -> Callable[[Tensor], Any]:
    """Write a weight that a kept graph would need: no graph is freed."""
    cell = nn.GRUCell()

    def run(x: Tensor) -> Tensor:
        h = cell(x[:, 1], cell(x[:, 0]))
        with torch.no_grad():
            cell.weight_hh.mul_(2)
        return cell(x[:, 1], h)

    return run


def state_for_each_window(nn: Any) -> Callable[[Tensor], Any]:
    """Run over windows that follow each other, each from what its own context says."""
    layer, start = nn.GRU(), torch.nn.Linear(FEATURE, HIDDEN)
    return lambda x: torch.cat([layer(w, start(w.mean(1))[None])[0] for w in x.split(3, 1)], 1)


def windows_on_their_own(nn: Any) -> Callable[[Tensor], Any]:
    """Run over windows that do not follow each other, overlap, or are copies of a loader's."""
    one, two, three = nn.LSTM(), nn.LSTM(), nn.LSTM()

    def run(x: Tensor) -> Tensor:
        unordered = [one(x[:, k : k + 2])[0] for k in (4, 0, 2)]
        overlapping = [two(x[:, k : k + 4])[0] for k in (0, 1, 2)]
        copied = [three(part.clone())[0] for part in x.split(2, 1)]
        words = [one(x[:1, :n])[0].expand(BATCH, -1, -1) for n in (5, 1, 3)]
        return torch.cat([torch.cat(p, 1) for p in (unordered, overlapping, copied, words)], 1)

    return run


def label_for_each_window(nn: Any) -> Callable[[Tensor], Any]:
    """Classify each window on its own, by the mean of its outputs."""
    layer, head = nn.GRU(), torch.nn.Linear(HIDDEN, 2)
    return lambda x: torch.cat([head(layer(w)[0].mean(1)) for w in x.split(2, 1)], 1)


def sentences_of_a_document(nn: Any) -> Callable[[Tensor], Any]:
    """Read sentences on their own, and join what was read."""
    layer = nn.GRU()

    def run(x: Tensor) -> Tensor:
        document = torch.stack([x, x + 1], 1)
        return torch.cat([layer(document[:, k])[0] for k in range(2)], 1)

    return run


def two_paths(nn: Any) -> Callable[[Tensor], Any]:
    """Run within windows, join them, then run across them."""
    near, far = nn.GRU(), nn.GRU_wide()
    return lambda x: far(torch.cat([near(w)[0] for w in x.split(2, 1)], 1))[0]


def turns_of_a_dialogue(nn: Any) -> Callable[[Tensor], Any]:
    """Let a decoder begin each turn from the state of the dialogue."""
    talk, word = nn.GRUCell(), nn.GRUCell_wide()

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
    first, second = nn.GRUCell(), nn.GRUCell_wide()

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
    encoder, cell = nn.LSTM(), nn.LSTMCell_wide()

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
    encoder, low, high = nn.GRU(num_layers=2), nn.GRUCell(), nn.GRUCell_wide()

    def run(x: Tensor) -> Tensor:
        states = encoder(x)[1]
        return high(low(x[:, 0], states[0]), states[1])

    return run


def both_directions(nn: Any) -> Callable[[Tensor], Any]:
    """Decode in two directions from the two of an encoder."""
    encoder, left, right = nn.GRU(bidirectional=True), nn.GRUCell(), nn.GRUCell()

    def run(x: Tensor) -> Tensor:
        h = encoder(x)[1]
        return left(x[:, 0], h[-2]) + right(x[:, 1], h[-1])

    return run


def forward_rows_of_all_layers(nn: Any) -> Callable[[Tensor], Any]:
    """Decode with as many layers, from each layer's forward direction."""
    encoder, decoder = nn.GRU(num_layers=2, bidirectional=True), nn.GRU(num_layers=2)
    return lambda x: decoder(x, encoder(x)[1][::2])[0]


def sum_of_directions(nn: Any) -> Callable[[Tensor], Any]:
    """Decode from the sum of both directions."""
    encoder, decoder = nn.GRU(bidirectional=True), nn.GRU()
    return lambda x: decoder(x, hx=encoder(x)[1].sum(0, keepdim=True))[0]


def hidden_state_for_both(nn: Any) -> Callable[[Tensor], Any]:
    """Start an LSTM from the state of a GRU, which has no c."""
    encoder, decoder = nn.GRU(), nn.LSTM()

    def run(x: Tensor) -> Tensor:
        h = encoder(x)[1]
        return decoder(x, (h, h))[0]

    return run


def candidates_of_one_state(nn: Any) -> Callable[[Tensor], Any]:
    """Score words, or decode horizons, each from the encoder's state."""
    encoder, cell = nn.GRU(), nn.GRUCell()

    def run(x: Tensor) -> Tensor:
        h = encoder(x)[1][0]
        return torch.stack([cell(candidate, h) for candidate in X.unbind(1)])

    return run


def leaves_of_a_tree(nn: Any) -> Callable[[Tensor], Any]:
    """Give no state to the leaves, and theirs to the node above them."""
    cell = nn.LSTMCell()

    def run(x: Tensor) -> Tensor:
        (a, b), (c, d) = (cell(x[:, k]) for k in range(2))
        return cell(x[:, 2], (a + c, b + d))[0]

    return run


def state_by_way_of_packed_input(nn: Any) -> Callable[[Tensor], Any]:
    """Read a state again as an input, packed."""
    first, second = nn.GRU(), nn.GRU_wide()

    def run(x: Tensor) -> Tensor:
        steps = [first(x[:, k : k + 1])[1] for k in range(2)]
        return second(pack_padded_sequence(torch.cat(steps), [2] * BATCH))[1]

    return run


def losses_of_sequences(nn: Any) -> Callable[[Tensor], Any]:
    """Train on sequences of one step, by a loss of the state that is not returned."""
    cell = nn.GRUCell()
    return lambda x: [cell(step).sum().backward() for step in x.unbind(1)]


def answers_of_sequences(nn: Any) -> Callable[[Tensor], Any]:
    """Count what comes out at the end of each sequence: no tensor leads from there on."""
    cell = nn.GRUCell()
    return lambda x: sum(int(cell(s[1], cell(s[0])).argmax()) for s in x)


def one_start_for_two_passes(nn: Any) -> Callable[[Tensor], Any]:
    """Read two sequences from one state, the second behind the first in memory, or backward."""
    layer, start = nn.GRU(), numbers(1, BATCH, HIDDEN)

    def run(x: Tensor) -> Tensor:
        parts = x[:, :3], x[:, 3:], x.flip(1)
        one, two, three = (layer(part, start)[1] for part in parts)
        return one - two + three

    return run


def unrolled(_: Any) -> Callable[[Tensor], Any]:
    """Run a cell over the steps by rnnkit's loops."""
    loop = rnnkit.Recurrent([rnnkit.GRUCell(FEATURE, HIDDEN)], batch_first=True)
    cell = rnnkit.GRUCell(FEATURE, HIDDEN)
    return lambda x: loop(x)[0] + rnnkit.unroll(cell, x, batch_first=True)[0]


RIGHT = [value for value in vars().values() if callable(value) and value.__module__ == __name__][1:]


@pytest.mark.parametrize("make", RIGHT, ids=lambda make: make.__name__)
def test_correct_program_is_not_marked(make: Callable[..., Any]) -> None:
    """A correct program has no mark, with torch's layers and rnnkit's."""
    for nn in (torch.nn, rnnkit.nn):
        found = rnnkit.trace(make(Parts(nn)), X)

        assert len(found.rows) > 1
        assert [mark for row in found.marked for mark in row.marks] == []
