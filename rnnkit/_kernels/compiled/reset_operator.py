"""``rnnkit::resets``: one layer in one direction with resets.

A compiler does not know a mask's values: it would write down a loop over all steps. Here it sees
one operator, which reads the mask when it runs and takes the path that an eager call takes. Its
backward operator runs that path once more, recorded.
"""

from typing import Any

import torch
from torch import Tensor

from rnnkit._base.torch_tools import is_exporting
from rnnkit._kernels.compiled.direction import nothing
from rnnkit._kernels.compiled.operators import define, register
from rnnkit._kernels.derivatives import derive_again
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.paths import run
from rnnkit._kernels.recurrences import RECURRENCES
from rnnkit._kernels.stack import Direction, Run, Stack, States

#: Arguments of both operators: the first six have gradients.
GIVEN = (
    "Tensor input, Tensor h, Tensor? c, Tensor[] weights, Tensor? first_h, Tensor? first_c,"
    " Tensor reset, Tensor? lengths, str mode, bool has_bias, bool reverse"
)
DERIVED = 6
IS_NEW = define(f"resets({GIVEN}) -> (Tensor, Tensor, Tensor)")
define(
    f"resets_backward(Tensor? on_output, Tensor? on_h, Tensor? on_c, {GIVEN})"
    " -> (Tensor, Tensor, Tensor, Tensor[], Tensor, Tensor)"
)


def takes_reset_operator(stack: Stack, input: Tensor) -> bool:
    """Return whether a compiler that traces a call with resets is to see rnnkit's operators.

    ``stack`` is a layer's directions; ``by_operator`` of each says whether a compiler traces it.
    An exported program is a loop or a scan, which runs without rnnkit; and under autocast each path
    mixes dtypes in its own way, which no compiler could know.
    """
    if not stack.layers[0][0].by_operator or is_exporting():
        return False
    return not torch.is_autocast_enabled(input.device.type)


def run_reset_operators(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths | None,
    reset: Tensor,
    initial: States | None,
) -> tuple[Tensor, States]:
    """Run a stack, a layer's directions, with resets: one operator for each direction.

    ``input`` is ``(seq, batch, feature)``; ``state``, and ``initial``, to which a sample is reset
    (None for zeros), are h and an LSTM's c, ``(layers * directions, batch, hidden)``; ``reset``
    is ``(seq, batch)``; ``lengths`` None: every step is valid. Returns output and last states.
    """
    each = None if lengths is None else lengths.each

    def run_one(direction: Direction, input: Tensor, start: States, first: Any) -> Run:
        """Run a direction from its part of the state; ``first`` is that of ``initial``, or None."""
        recurrence, weights, bias, _, reverse, _ = direction
        output, *ends = torch.ops.rnnkit.resets.default(
            input, *_pair(start), list(weights), *_pair(first or ()), reset, each,
            recurrence.name, bias, reverse,
        )  # fmt: skip
        return output, tuple(tensor.squeeze(0) for tensor in ends[: len(start)])

    return stack.run_each(input, run_one, state, initial)


def _pair(tensors: States) -> list[Tensor | None]:
    """Return h and c, or None for each that there is not, with an axis of one layer in front."""
    return [*(tensor.unsqueeze(0) for tensor in tensors), None, None][:2]


def _run_one_direction(*args: Any, training: bool) -> list[Tensor]:
    """Return output and last states of one direction, by the path that an eager call takes.

    ``args`` are the operator's: ``first_h`` and ``first_c`` are what a sample is reset to, None for
    zeros, and ``each`` is the lengths ``(batch,)``, None if every step is valid.
    """
    input, h, c, weights, first_h, first_c, reset, each, mode, bias, reverse = args
    stack = Stack([[Direction(RECURRENCES[mode], list(weights), bias, training, reverse)]])
    lengths = None if each is None else Lengths(each, each.tolist(), input.shape[0])
    state = tuple(tensor for tensor in (h, c) if tensor is not None)
    initial = tuple(tensor for tensor in (first_h, first_c) if tensor is not None) or None
    output, ends = run(stack, input, state, lengths, reset, initial)
    return [output, *ends]


def _reset_operator(*args: Any) -> tuple[Tensor, ...]:
    """Return output, last h and last c of one direction: what ``rnnkit::resets`` computes.

    ``args`` are the operator's arguments; an empty tensor stands for the c of a module without one.
    """
    with torch.no_grad():
        output, *ends = _run_one_direction(*args, training=False)
    # An operator's outputs are no views, of each other or of an input.
    ends = [end.clone() for end in ends]
    return output.contiguous(), *[*ends, nothing(output)][:2]


def _fake_resets(input: Tensor, h: Tensor, c: Tensor | None, *_: Any) -> tuple[Tensor, ...]:
    """Return tensors as the operator does, not computed: a compiler reads their shapes."""
    output = input.new_empty((*input.shape[:2], h.shape[2]))
    return output, h.new_empty(h.shape), nothing(h) if c is None else c.new_empty(c.shape)


def _derive_resets(on_output: Any, on_h: Any, on_c: Any, *args: Any) -> Any:
    """Return gradients of the operator's first six arguments, which may have some.

    ``on_`` is short for the gradient of: those of the results, None for zeros. ``args`` are the
    operator's; it runs once more, recorded, and is differentiated.
    """
    given = args[:DERIVED]
    others = args[DERIVED:]
    return derive_again(
        lambda *given: _run_one_direction(*given, *others, training=True),
        given,
        (on_output, on_h, on_c),
    )


if IS_NEW:
    register(
        "resets",
        _reset_operator,
        _fake_resets,
        _derive_resets,
        derived=DERIVED,
        results=0,
        others=5,
    )
