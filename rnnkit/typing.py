"""The tensors of a recurrent net, each named once with its axes.

The axes are seq, batch and feature for sequences; a state stacks layers and directions on its
first axis: layer by layer, the forward direction before the backward one. The names are
jaxtyping's: they document a signature, and they are checked in a package that
``jaxtyping.install_import_hook`` watches.
"""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

SequenceFirst = Float[Tensor, "seq batch feature"]
"""Input or output of a layer with ``batch_first=False``: ``(seq, batch, feature)``."""

BatchFirst = Float[Tensor, "batch seq feature"]
"""Input or output of a layer with ``batch_first=True``: ``(batch, seq, feature)``."""

Unbatched = Float[Tensor, "seq feature"]
"""Input or output for one sequence without a batch axis: ``(seq, feature)``."""

Step = Float[Tensor, "batch feature"]
"""One time step, what a cell takes: ``(batch, feature)``."""

HiddenStack = Float[Tensor, "layers_directions batch hidden"]
"""A layer's state, ``(layers * directions, batch, hidden)``: rows layer by layer, forward first."""


@runtime_checkable
class Cell(Protocol):
    """What :func:`rnnkit.unroll` and :class:`rnnkit.Recurrent` run over a sequence.

    Any module will do that has these two. A state is a tensor ``(batch, hidden)`` or a tuple of
    such; its first, or only, tensor is the output of the step.
    """

    def __call__(self, input: Any, hx: Any) -> Any:
        """Run one step: from ``input`` ``(batch, feature)`` and a state to the next state."""
        ...

    def initial_state(self, batch_size: int) -> Any:
        """Return the state before the first step, for ``batch_size`` samples."""
        ...
