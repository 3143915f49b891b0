"""Types for annotations: jaxtyping names for the tensors of recurrent modules, with their axes.

Write them in your signatures: ``def encode(x: rnnkit.typing.BatchFirst) -> ...``. They document the
axes; with ``jaxtyping.install_import_hook``, jaxtyping also checks them when the function runs.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

SequenceFirst = Float[Tensor, "seq batch feature"]
"""The input of a layer with ``batch_first=False``: ``(seq, batch, feature)``."""

BatchFirst = Float[Tensor, "batch seq feature"]
"""The input of a layer with ``batch_first=True``: ``(batch, seq, feature)``."""

Unbatched = Float[Tensor, "seq feature"]
"""The input of a layer for one sequence, without a batch axis: ``(seq, feature)``."""

SequenceFirstOutput = Float[Tensor, "seq batch directions_hidden"]
"""The output of a layer with ``batch_first=False``: ``(seq, batch, directions * hidden)``."""

BatchFirstOutput = Float[Tensor, "batch seq directions_hidden"]
"""The output of a layer with ``batch_first=True``: ``(batch, seq, directions * hidden)``."""

UnbatchedOutput = Float[Tensor, "seq directions_hidden"]
"""The output of a layer for one sequence, without a batch axis: ``(seq, directions * hidden)``."""

Step = Float[Tensor, "batch feature"]
"""The input of a cell, which is one time step: ``(batch, feature)``."""

HiddenStack = Float[Tensor, "layers_directions batch hidden"]
"""A layer's state: ``(layers * directions, batch, hidden)``.

Its rows go layer by layer, the forward direction first. An LSTM has two such tensors, h and c.
"""

HiddenStackBatchFirst = Float[Tensor, "batch layers_directions hidden"]
"""A layer's state with ``state_batch_first=True``: ``(batch, layers * directions, hidden)``."""

CellState = Float[Tensor, "batch hidden"]
"""A cell's state: ``(batch, hidden)``. An LSTMCell has two such tensors, h and c."""

Lengths = Int[Tensor, " batch"]
"""The number of valid steps of each sample in a padded batch: integers ``(batch,)``."""

SequenceFirstMask = Bool[Tensor, "seq batch"]
"""A boolean mask with one flag for each step of each sample: ``(seq, batch)``."""

BatchFirstMask = Bool[Tensor, "batch seq"]
"""A boolean mask with one flag for each step of each sample: ``(batch, seq)``."""

LengthsLike: TypeAlias = Sequence[int] | Tensor
"""What the argument ``lengths`` accepts: one integer for each sample, as a list or a tensor."""

ResetLike: TypeAlias = Tensor | Sequence[Sequence[int]] | Sequence[int]
"""What the argument ``reset`` of a layer accepts: a flag for each step of each sample.

The flags are booleans, or 0 and 1, in a tensor or in lists: ``(seq, batch)``, or ``(batch, seq)``
with ``batch_first``. A flag is true at a step where the sample restarts.
"""

StepResetLike: TypeAlias = Tensor | Sequence[int] | bool
"""What the argument ``reset`` of ``step`` accepts: a flag for each sample, ``(batch,)``.

The flags are booleans, or 0 and 1, in a tensor or a list. Without a batch it is one flag. A flag is
true if the sample restarts at this step.
"""

StateT_co = TypeVar("StateT_co", covariant=True)


@runtime_checkable
class Cell(Protocol[StateT_co]):
    """A module that runs one time step: the type of cell that you may write yourself.

    :func:`rnnkit.unroll` and :class:`rnnkit.Recurrent` run it over a sequence. It needs the two
    methods below. A state is a tensor ``(batch, hidden)`` or a tuple of such tensors, whose first
    one is also the output of the step. A cell must not change a state in place.

    In annotations, write the type of the state in brackets: ``Cell[Tensor]``, ``Cell[LSTMState]``.
    """

    def __call__(self, input: Any, hx: Any) -> StateT_co:
        """Return the state after one step, from ``input`` ``(batch, feature)`` and state ``hx``."""
        ...

    def initial_state(self, batch_size: int, /) -> StateT_co:
        """Return the state before the first step for ``batch_size`` samples, such as zeros."""
        ...
