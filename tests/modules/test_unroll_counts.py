"""What ``unroll`` calls, counted: a cell once a step, from a state, to a length, anew, with its hooks."""

import torch
from torch import Tensor, nn

import rnnkit


class Counter(nn.Module):
    """A cell without a network: it counts its steps."""

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's
        """Count one step more."""
        return hx + 1

    def initial_state(self, batch_size: int) -> Tensor:
        """Start to count at zero."""
        return torch.zeros(batch_size, 1)


RESET = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 0]])
#: How two samples of four steps are run; what is counted of each at each step, and at the end.
COUNTS = [
    ({}, [[1, 2, 3, 4], [1, 2, 3, 4]], [4, 4]),
    ({"hx": torch.tensor([[10.0], [20.0]])}, [[11, 12, 13, 14], [21, 22, 23, 24]], [14, 24]),
    # Beyond a length the output is zero and the state stays; backward, each begins at its last.
    ({"lengths": [3, 0]}, [[1, 2, 3, 0], [0, 0, 0, 0]], [3, 0]),
    ({"lengths": [3, 4], "reverse": True}, [[3, 2, 1, 0], [4, 3, 2, 1]], [3, 4]),
    # A reset cuts between its step and the one before, and beyond a length there is none.
    ({"reset": RESET, "lengths": [3, 4]}, [[1, 1, 2, 0], [1, 2, 1, 2]], [2, 2]),
    ({"reset": RESET, "reverse": True}, [[1, 2, 1, 1], [2, 1, 2, 1]], [1, 2]),
]


def test_counts():
    """A cell is called once a valid step, with the state of the step before, or an initial one."""
    for options, counts, last in COUNTS:
        x = torch.randn(2, 4, 3)
        output, state = rnnkit.unroll(Counter(), x, batch_first=True, **options)
        assert (output.squeeze(2).tolist(), state.squeeze(1).tolist()) == (counts, last)


def test_count_seen_after_every_step():
    """All states have a seq axis in front, in the order of the input."""
    x = torch.randn(3, 2, 1)
    _, states = rnnkit.unroll(Counter(), x, lengths=[3, 2], return_states=True)
    _, back = rnnkit.unroll(Counter(), x, lengths=[3, 2], return_states=True, reverse=True)

    assert states.squeeze(2).tolist() == [[1, 1], [2, 2], [3, 2]]
    assert back.squeeze(2).tolist() == [[3, 2], [2, 1], [1, 0]]


def test_hooks_are_called_at_each_step():
    """A cell that somebody listens to is called step by step, whatever path is faster."""
    for kind in ("forward", "forward_pre", "full_backward"):
        cell = rnnkit.GRUCell(3, 4)
        calls = []
        getattr(cell, f"register_{kind}_hook")(lambda *_, calls=calls: calls.append(1))

        output, _ = rnnkit.unroll(cell, torch.randn(7, 2, 3, requires_grad=True))
        output.sum().backward()

        assert len(calls) == 7
