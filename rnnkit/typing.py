"""The tensors of a recurrent net, each named once with its axes.

A state stacks layers and directions on its first axis: layer by layer, the forward direction first.
The names document a signature; ``jaxtyping.install_import_hook`` has a package check them.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

SequenceFirst = Float[Tensor, "seq batch feature"]
"""Input of a layer with ``batch_first=False``: ``(seq, batch, feature)``."""

BatchFirst = Float[Tensor, "batch seq feature"]
"""Input of a layer with ``batch_first=True``: ``(batch, seq, feature)``."""

Unbatched = Float[Tensor, "seq feature"]
"""Input for one sequence without a batch axis: ``(seq, feature)``."""

SequenceFirstOutput = Float[Tensor, "seq batch directions_hidden"]
"""Output of a layer with ``batch_first=False``: ``(seq, batch, directions * hidden)``."""

BatchFirstOutput = Float[Tensor, "batch seq directions_hidden"]
"""Output of a layer with ``batch_first=True``: ``(batch, seq, directions * hidden)``."""

UnbatchedOutput = Float[Tensor, "seq directions_hidden"]
"""Output for one sequence without a batch axis: ``(seq, directions * hidden)``."""

Step = Float[Tensor, "batch feature"]
"""One time step, what a cell takes: ``(batch, feature)``."""

HiddenStack = Float[Tensor, "layers_directions batch hidden"]
"""A layer's state: ``(layers * directions, batch, hidden)``, layer by layer, forward first."""

HiddenStackBatchFirst = Float[Tensor, "batch layers_directions hidden"]
"""A layer's state with ``state_batch_first=True``: ``(batch, layers * directions, hidden)``."""

CellState = Float[Tensor, "batch hidden"]
"""A cell's state: ``(batch, hidden)``."""

Lengths = Int[Tensor, " batch"]
"""Valid steps of each sample: ``(batch,)``."""

SequenceFirstMask = Bool[Tensor, "seq batch"]
"""A mask over the steps, true where something holds: ``(seq, batch)``."""

BatchFirstMask = Bool[Tensor, "batch seq"]
"""The same with the batch first: ``(batch, seq)``."""

LengthsLike: TypeAlias = Sequence[int] | Tensor
"""Valid steps of each sample, as callers give them."""

ResetLike: TypeAlias = Tensor | Sequence[Sequence[int]] | Sequence[int]
"""1 or true at the steps before which a sample starts again; it has the input's batch and seq."""

StepResetLike: TypeAlias = Tensor | Sequence[int] | bool
"""1 or true for the samples that start again before one step; ``(batch,)``, or one flag."""

StateT_co = TypeVar("StateT_co", covariant=True)


@runtime_checkable
class Cell(Protocol[StateT_co]):
    """What :func:`rnnkit.unroll` and :class:`rnnkit.Recurrent` run over a sequence.

    Any module with these two methods is a cell. A state is a tensor ``(batch, hidden)`` or a tuple
    of such tensors. Its first, or only, tensor is the output of the step. A step never writes into
    the state that it is given. The protocol is generic in the state: ``Cell[Tensor]``,
    ``Cell[LSTMState]``.
    """

    def __call__(self, input: Any, hx: Any) -> StateT_co:
        """Run one step: from ``input`` ``(batch, feature)`` and a state to the next state."""
        ...

    def initial_state(self, batch_size: int, /) -> StateT_co:
        """Return the state before the first step, for ``batch_size`` samples."""
        ...
