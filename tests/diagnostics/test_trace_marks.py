"""Each mark of ``trace``, on layers and cells, torch's and rnnkit's."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)
LIBRARIES = pytest.mark.parametrize("library", [nn, rnnkit.nn], ids=["torch", "rnnkit"])


def marks(model: Any, *inputs: Any) -> list[list[str]]:
    """Return the marks of each row that has some."""
    return [row.marks for row in rnnkit.trace(model, *inputs).marked]


@LIBRARIES
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_windows_from_zeros(library: Any, kind: str) -> None:
    """Windows of one sequence, joined again, each from zeros, are marked where they go on."""
    layer = getattr(library, kind)(FEATURE, HIDDEN, batch_first=True)
    model = Model(lambda m, x: torch.cat([m.rnn(w)[0] for w in x.split(3, 1)], 1), rnn=layer)

    assert marks(model, X) == snapshot(
        [
            [
                "its input goes on where that of row 0 ended, but it starts from zeros, and the state of row 0 is unused"
            ],
            [
                "its input goes on where that of row 1 ended, but it starts from zeros, and the state of row 1 is unused"
            ],
        ]
    )


@LIBRARIES
def test_windows_of_steps_first(library: Any) -> None:
    """Windows along axis 0, behind a head, with zeros that are made anew, are marked as well."""
    layer, head = library.GRU(FEATURE, HIDDEN), nn.Linear(HIDDEN, 2)

    def run(x: Tensor) -> Tensor:
        zeros = [torch.zeros(1, x.shape[1], HIDDEN) for _ in range(2)]
        parts = [head(layer(w, h)[0]) for w, h in zip(x.chunk(2), zeros, strict=True)]
        return torch.cat(parts)

    assert len(marks(run, X.transpose(0, 1))) == 1


@LIBRARIES
def test_windows_from_one_state(library: Any) -> None:
    """Windows that all start from a state that was given are marked."""
    layer = library.LSTM(FEATURE, HIDDEN, batch_first=True)
    state = layer(X)[1]
    state = tuple(part.detach() for part in state)
    found = marks(lambda x: torch.cat([layer(w, state)[0] for w in x.split(4, 1)], 1), X)

    assert found == snapshot(
        [
            [
                "its input goes on where that of row 0 ended, but it starts from the same state: it is never advanced"
            ]
        ]
    )


@LIBRARIES
def test_windows_beside_other_calls(library: Any) -> None:
    """Windows are marked, and not the cells and the packed input beside them."""
    layer = library.GRU(FEATURE, HIDDEN, batch_first=True)
    cell = library.GRUCell(FEATURE, HIDDEN)

    def run(x: Tensor) -> Any:
        h = cell(x[:, 1], cell(x[:, 0]))
        packed = pack_padded_sequence(x, [3] * BATCH, batch_first=True)
        return (
            torch.cat([layer(w)[0] for w in x.split(4, 1)], 1),
            h,
            layer(packed)[1],
            layer(packed)[1],
        )

    assert [row.number for row in rnnkit.trace(run, X).marked] == [3]


@LIBRARIES
def test_steps_from_zeros_that_are_given(library: Any) -> None:
    """A state of zeros, made anew at each step, is no other than none."""
    layer = library.GRU(FEATURE, HIDDEN, batch_first=True)
    found = marks(
        lambda x: [layer(x_t, torch.zeros(1, BATCH, HIDDEN))[0] for x_t in x.split(1, 1)], X[:, :2]
    )

    assert found == snapshot([["starts from zeros, and the state of row 0 is unused"]])


@LIBRARIES
def test_cell_from_zeros(library: Any) -> None:
    """An LSTM cell that is given no state is marked, though its h is the output: c is unused."""
    cell = library.LSTMCell(FEATURE, HIDDEN)

    assert marks(lambda x: [cell(x_t)[0] for x_t in x.unbind(1)], X[:, :3]) == snapshot(
        [
            ["starts from zeros, and c of row 0 is unused"],
            ["starts from zeros, and c of row 1 is unused"],
        ]
    )


@LIBRARIES
def test_one_member_never_advanced(library: Any) -> None:
    """Where only c goes from step to step, h is named."""
    cell, h = library.LSTMCell(FEATURE, HIDDEN), numbers(BATCH, HIDDEN)

    def run(x: Tensor) -> Tensor:
        c = torch.zeros(BATCH, HIDDEN)
        for x_t in x.unbind(1):
            new, c = cell(x_t, (h, c))
        return new

    assert marks(run, X[:, :2]) == snapshot([["the same h as in row 0: it is never advanced"]])


@LIBRARIES
def test_graph_that_backward_has_freed(library: Any) -> None:
    """Windows of a training loop without detach: the row before the error says which state it is."""
    layer = library.LSTM(FEATURE, HIDDEN, batch_first=True)

    def train(x: Tensor) -> None:
        state = None
        for window in x.split(3, 1):
            output, state = layer(window, state)
            output.sum().backward()

    with pytest.raises(RuntimeError, match="second time") as caught:
        rnnkit.trace(train, X)

    found = caught.value.trace  # type: ignore[attr-defined]
    assert [row.marks for row in found.rows] == snapshot(
        [
            [],
            [
                "its h belongs to the graph of row 0, which backward has freed: detach it",
                "its c belongs to the graph of row 0, which backward has freed: detach it",
            ],
        ]
    )
    assert caught.value.__notes__ == snapshot(
        ["rnnkit.trace: 2 rows until then, in this error's .trace"]
    )


@LIBRARIES
def test_state_kept_in_a_closure(library: Any) -> None:
    """A state of an earlier graph is marked wherever a function finds it, cells' too."""
    cell = library.GRUCell(FEATURE, HIDDEN)
    kept = cell(X[:, 0])
    view = cell(X[:, 0]).unsqueeze(0)

    def run(x: Tensor) -> Tensor:
        return cell(x, kept) + cell(x, view[0])

    assert marks(run, X[:, 1]) == snapshot(
        [
            ["its h belongs to the graph of an earlier run: detach it"],
            ["its h belongs to the graph of an earlier run: detach it"],
        ]
    )


@LIBRARIES
def test_members_of_two_cells(library: Any) -> None:
    """An h of one cell beside a c of another is marked."""
    low, high = library.LSTMCell(FEATURE, HIDDEN), library.LSTMCell(HIDDEN, HIDDEN)

    def compute(m: Any, x: Tensor) -> Tensor:
        one, two = m.low(x[:, 0]), m.high(m.low(x[:, 0])[0])
        return m.high(one[0], (two[0], one[1]))[0]

    assert marks(Model(compute, low=low, high=high), X) == snapshot(
        [["its h is of high, row 2, its c of low, row 0"]]
    )


@LIBRARIES
@pytest.mark.parametrize("kind", ["GRUCell", "LSTMCell"])
def test_state_of_the_cell_below(library: Any, kind: str) -> None:
    """The upper of two cells, which starts each step from the state of the lower, is marked."""
    low, high = getattr(library, kind)(FEATURE, HIDDEN), getattr(library, kind)(HIDDEN, HIDDEN)

    def compute(m: Any, x: Tensor) -> list[Tensor]:
        state, outputs = None, []
        for x_t in x.unbind(1):
            state = m.low(x_t, state)
            top = state[0] if isinstance(state, tuple) else state
            outputs.append(m.high(top, state))
        return outputs

    found = marks(Model(compute, low=low, high=high), X[:, :3])
    assert [row[0] for row in found] == snapshot(
        [
            "its h is h of low, row 0, as its input is",
            "its h is h of low, row 2, as its input is",
            "its h is h of low, row 4, as its input is",
        ]
    )


@LIBRARIES
def test_state_of_the_layer_below(library: Any) -> None:
    """So is the upper of two layers that run step by step."""
    options = {"batch_first": True}
    low, high = library.LSTM(FEATURE, HIDDEN, **options), library.LSTM(HIDDEN, HIDDEN, **options)

    def compute(m: Any, x: Tensor) -> list[Tensor]:
        state, outputs = None, []
        for x_t in x.split(1, 1):
            y, state = m.low(x_t, state)
            y, state = m.high(y, state)
            outputs.append(y)
        return outputs

    assert len(marks(Model(compute, low=low, high=high), X[:, :3])) == 3


@LIBRARIES
@pytest.mark.parametrize("decoder", ["GRU", "GRUCell"])
def test_lower_layer_for_a_decoder(library: Any, decoder: str) -> None:
    """A decoder that starts from the first of two layers is marked, in one direction too."""
    encoder = library.GRU(FEATURE, HIDDEN, num_layers=2, batch_first=True)
    right = getattr(library, decoder)(FEATURE, HIDDEN)
    step, part = (X[:, 0], 0) if decoder == "GRUCell" else (X.transpose(0, 1), slice(0, 1))
    last = -1 if decoder == "GRUCell" else slice(1, 2)

    assert marks(lambda x: right(step, encoder(x)[1][part]), X) == snapshot(
        [["its h begins with layer 0 of row 0"]]
    )
    assert marks(lambda x: right(step, encoder(x)[1][last]), X) == []


@LIBRARIES
def test_backward_direction_for_a_cell(library: Any) -> None:
    """A decoder cell that starts from ``h_n[-1]`` of a bidirectional encoder is marked."""
    encoder = library.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=True)
    cell = library.GRUCell(FEATURE, HIDDEN)

    assert marks(lambda x: cell(x[:, 0], encoder(x)[1][-1]), X) == snapshot(
        [["its h begins with the backward direction of layer 0 of row 0"]]
    )
