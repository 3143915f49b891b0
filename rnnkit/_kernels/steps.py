"""Short sequences step by step: what a loop over torch's cells does, where that is cheapest.

A plan of pieces costs more than a few steps of a loop. A state is looked at only where some sample
starts again.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._kernels.stack import Direction, Run, Stack, States

#: torch's function for one step, by torch's name of the recurrence.
CELLS: dict[str, Callable[..., Any]] = {
    "LSTM": torch.lstm_cell,
    "GRU": torch.gru_cell,
    "RNN_TANH": torch.rnn_tanh_cell,
    "RNN_RELU": torch.rnn_relu_cell,
}


def run_steps(
    stack: Stack, input: Tensor, state: States, starts: Tensor, initial: States | None
) -> tuple[Tensor, States]:
    """Run a stack step by step; all steps of all samples are valid.

    Args:
        stack: the layers, without a projection.
        input: ``(seq, batch, feature)``.
        state: the tensors of the first state, each ``(layers * directions, batch, hidden)``.
        starts: ``(seq, batch)``, true where a sample is cut before that step.
        initial: what it starts again from, as ``state``; None for zeros.
    """
    restart = tuple(map(torch.zeros_like, state)) if initial is None else initial

    def run(direction: Direction, input: Tensor, own: States, new: States) -> Run:
        return _run_direction(direction, input, own, starts, new)

    return stack.run_each(input, run, state, restart)


def _run_direction(
    direction: Direction, input: Tensor, state: States, starts: Tensor, restart: States
) -> tuple[Tensor, States]:
    cell, weights = CELLS[direction.mode], direction.weights
    steps = len(input)
    cut = starts.any(dim=1).tolist()
    masks = starts.to(input.device).unsqueeze(2).unbind(0)
    inputs, outputs = input.unbind(0), [state[0]] * steps
    for step in reversed(range(steps)) if direction.reverse else range(steps):
        # Run backward, the cut before a step is met after it.
        met = step + direction.reverse
        if met < steps and cut[met]:
            pairs = zip(restart, state, strict=True)
            state = tuple(torch.where(masks[met], new, old) for new, old in pairs)
        after = cell(inputs[step], state[0] if len(state) == 1 else state, *weights)
        state = after if isinstance(after, tuple) else (after,)
        outputs[step] = state[0]
    return torch.stack(outputs), state
