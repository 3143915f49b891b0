"""What is run: layers upon layers, in one direction or two."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rnnkit._kernels.compiled.operators import run_operator
from rnnkit._kernels.cudnn import in_one_block
from rnnkit._kernels.recurrences import Recurrence

#: h, and an LSTM's c beside it.
States = tuple[Tensor, ...]

#: An output and last states. Named, since a compiler cannot trace how an annotation is made.
Run = tuple[Tensor, States]


class Direction(NamedTuple):
    """One layer in one direction: what torch's kernel wants to know."""

    recurrence: Recurrence
    weights: list[Tensor]
    bias: bool
    training: bool
    #: Whether it runs from the last valid step to the first.
    reverse: bool = False
    #: Whether a compiler traces it, and rnnkit's operator replaces torch's kernel.
    by_operator: bool = False

    def hidden_size(self) -> int:
        """Features of the state; of an LSTM with a projection, of its c."""
        return self.weights[0].shape[0] // self.recurrence.gates

    @property
    def is_projected(self) -> bool:
        """Whether an LSTM's h is projected: its weights are then one more."""
        return len(self.weights) % 2 == 1

    def run(self, input: Tensor, state: States, *, reverse: bool = False) -> tuple[Tensor, States]:
        """Run over ``(seq, batch, feature)`` from states ``(1, batch, hidden)``.

        Returns the output and the last states, in the same shapes. Where a compiler traces
        (``by_operator``), rnnkit's operator takes it as one node, and runs from the last step to
        the first if ``reverse``. Else torch's kernel runs, which has no such direction: a caller
        that wants it flips the input before.
        """
        if self.by_operator:
            return run_operator(
                self.recurrence.name,
                self.weights,
                input,
                state,
                bias=self.bias,
                reverse=reverse,
            )
        return Stack([[self]]).run(input, state)


class Stack(NamedTuple):
    """Layers upon layers; each reads the output of the one below, both directions side by side."""

    #: Layer by layer, the forward direction first; or one layer that runs only backward.
    layers: list[list[Direction]]
    #: Probability of dropping a feature between two layers, in training.
    dropout: float = 0.0
    #: Whether autocast asks for a fused LSTM that this CPU does not have.
    lacks_kernel: bool = False

    @property
    def directions(self) -> list[Direction]:
        """All layers' directions, in the order of a state's axis 0."""
        return [direction for layer in self.layers for direction in layer]

    @property
    def recurrence(self) -> Recurrence:
        """What all directions compute."""
        return self.layers[0][0].recurrence

    @property
    def is_backward(self) -> bool:
        """Whether it is one layer that runs only backward, which torch does not have."""
        return self.layers[0][0].reverse

    def run(self, input: Tensor, state: States, sizes: Tensor | None = None) -> Run:
        """Run all layers by torch's kernel in one call; return the output and the last states.

        ``input`` is a padded batch ``(seq, batch, feature)`` or, with ``sizes``, the data of a
        PackedSequence ``(rows, feature)``, where ``sizes`` are its ``batch_sizes``. ``state`` is h
        and an LSTM's c, ``(layers * directions, batch, hidden)``.
        """
        first, *others = self.layers[0]
        weights: Any = [weight for direction in self.directions for weight in direction.weights]
        if input.is_cuda and len(self.directions) == 1:  # a cell's, or one of a layer's several
            weights = in_one_block(weights, self.recurrence)
        depth = len(self.layers)
        options = (weights, first.bias, depth, self.dropout, first.training, bool(others))
        h, *c = state
        hx: Any = (h, *c) if c else h
        kernel = first.recurrence.kernel
        if sizes is None:
            output, *ends = kernel(input, hx, *options, False)
        else:
            output, *ends = kernel(input, sizes, hx, *options)
        return output, tuple(ends)

    def map_state(self, run: Callable[..., Tensor], state: States, others: States | None) -> States:
        """Return the state that ``run`` makes, direction by direction, of two states.

        A state is a tuple of tensors, h and an LSTM's c, ``(layers * directions, batch, hidden)``.
        For each of its tensors and each direction, ``run`` takes the direction, its row ``(batch,
        hidden)`` of ``state`` and that of ``others``, or None if there are no others, and returns
        its row of the result.
        """
        whole = []
        for place, tensor in enumerate(state):
            other = [None] * len(tensor) if others is None else others[place]
            rows = zip(self.directions, tensor, other, strict=False)
            whole.append(torch.stack([run(*row) for row in rows]))
        return tuple(whole)

    def run_each(
        self, input: Tensor, run: Callable[..., Run], *states: States | None
    ) -> tuple[Tensor, States]:
        """Run each direction of each layer on the output of the layer below.

        ``run`` takes a direction, its input, and its part of each state; it returns output and last
        state. A state is a tuple of tensors, h and an LSTM's c, ``(layers * directions, ...)``; its
        part is the tuple of their rows, or None if the state is None. Returns the last layer's
        output, its directions side by side, and the last states, stacked in the same order.
        """
        ends: list[States] = []
        for place, layer in enumerate(self.layers):
            if place and self.dropout:
                input = functional.dropout(input, self.dropout, training=layer[0].training)
            outputs = []
            for direction in layer:
                parts = [_row(state, len(ends)) for state in states]
                output, end = run(direction, input, *parts)
                outputs.append(output)
                ends.append(end)
            input = side_by_side(outputs)
        return input, tuple(torch.stack(tensors) for tensors in zip(*ends, strict=True))


def _row(state: States | None, row: int) -> States | None:
    """Return a state's part of one direction: that row of each tensor; None if it is None."""
    return None if state is None else tuple([tensor[row] for tensor in state])


def side_by_side(outputs: list[Tensor]) -> Tensor:
    """Return the output of a layer: those of its directions, joined on their last axis."""
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
