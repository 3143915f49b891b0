"""What ``unroll`` calls, counted: a cell once a step, from a state, to a length, anew, with its hooks."""

from typing import Any

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


def counted(**options: Any) -> tuple[list[list[float]], list[float]]:
    """Count over two samples of four steps; return the counts of each, and the last ones."""
    output, state = rnnkit.unroll(Counter(), torch.randn(2, 4, 3), batch_first=True, **options)
    return output.squeeze(2).tolist(), state.squeeze(1).tolist()


def test_count_every_step() -> None:
    """A cell is called once a step, with the state of the step before."""
    assert counted() == ([[1, 2, 3, 4], [1, 2, 3, 4]], [4, 4])


def test_count_from_a_state() -> None:
    """A state that is given is where the count goes on."""
    hx = torch.tensor([[10.0], [20.0]])

    assert counted(hx=hx) == ([[11, 12, 13, 14], [21, 22, 23, 24]], [14, 24])


def test_count_valid_steps() -> None:
    """Beyond a length the output is zero and the state stays what it was."""
    assert counted(lengths=[3, 0]) == ([[1, 2, 3, 0], [0, 0, 0, 0]], [3, 0])


def test_count_from_the_last_valid_step() -> None:
    """Reversed, the count begins at each sample's own last step."""
    assert counted(lengths=[3, 4], reverse=True) == ([[3, 2, 1, 0], [4, 3, 2, 1]], [3, 4])


def test_count_anew() -> None:
    """A reset cuts between its step and the one before, and beyond a length there is none."""
    reset = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 0]])

    assert counted(reset=reset, lengths=[3, 4]) == ([[1, 1, 2, 0], [1, 2, 1, 2]], [2, 2])
    assert counted(reset=reset, reverse=True) == ([[1, 2, 1, 1], [2, 1, 2, 1]], [1, 2])


def test_count_seen_after_every_step() -> None:
    """All states have a seq axis in front, in the order of the input."""
    x = torch.randn(3, 2, 1)
    _, states = rnnkit.unroll(Counter(), x, lengths=[3, 2], return_states=True)
    _, back = rnnkit.unroll(Counter(), x, lengths=[3, 2], return_states=True, reverse=True)

    assert states.squeeze(2).tolist() == [[1, 1], [2, 2], [3, 2]]
    assert back.squeeze(2).tolist() == [[3, 2], [2, 1], [1, 0]]


def test_hooks_are_called_at_each_step() -> None:
    """A cell that somebody listens to is called step by step, whatever path is faster."""
    for kind in ("forward", "forward_pre", "full_backward"):
        cell, calls = rnnkit.GRUCell(3, 4), list[int]()
        getattr(cell, f"register_{kind}_hook")(lambda *_, calls=calls: calls.append(1))

        output, _ = rnnkit.unroll(cell, torch.randn(7, 2, 3, requires_grad=True))
        output.sum().backward()

        assert len(calls) == 7
