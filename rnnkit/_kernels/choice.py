"""Which path is expected to be fastest: a formula for what each costs, and its measured numbers.

What a call on a path costs is a sum:

- a fixed cost;
- a cost for the weights, which a kernel may copy into another order;
- a cost for each step: the kernel starts, and reads the weights of the hidden side;
- a cost for each row, a step of a sample: for its numbers, and for their products with the weights.

Which steps and rows a path computes is known beforehand. What they cost is measured, in nanoseconds
of one thread, by

    python -m benchmarks.fit_choice

which writes ``costs.py``.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from rnnkit._base.torch_tools import is_jit_traced, is_transformed
from rnnkit._kernels.costs import COSTS
from rnnkit._kernels.stack import Stack, States

#: Over the padding, exactly, in groups of samples of like length.
PADDED = "padded"
#: Packed rows by hand.
ROWS = "rows"
#: Packed rows by torch's kernel.
PACKED = "packed"
#: Over the padding, with a blank step before each step at which a sample starts again.
BLANK = "blank"

#: All steps by hand, where samples start again on the way from zeros and all steps are valid.
STEPS = "steps"

#: What another path must be expected to save for packing, which is what people do by hand, to be
#: given up: a share of its cost. About as far is the formula from what is measured.
DOUBT = 0.05

#: What a group that is cut in two must be expected to take of what it takes whole, at most: its
#: samples are copied apart, and their outputs together again.
CUT = 0.85

#: What it takes to find all pieces of a small batch, in nanoseconds: spent for nothing where they
#: turn out to be so long that another path is taken.
LOOK = 100_000

#: What is added to the name of a path whose pieces have to be found in a mask, which costs more.
OF_PIECES = " of pieces"

#: The paths that are there for samples that start again on the way.
OF_RESETS = (BLANK, STEPS)

#: Modes that do not run over padding as the others do: an LSTM can be set to zero on the way, and
#: a relu may run away to infinity where a tanh stays.
OVER_PADDING = {"LSTM": (PADDED, BLANK), "RNN_RELU": ()}

#: How many hidden units oneDNN computes at once, by what the CPU can do: 17 of them cost as 32 do.
LANES = {"AVX512": 16}

#: What rows by hand take: numbers that bear sums in any order, and tensors that are no more.
PRECISE = (torch.float32, torch.float64)
PLAIN = (Tensor, Parameter)


class Facts(NamedTuple):
    """What is known of a call before its lengths are."""

    #: The recurrence; an LSTM without its fast kernel is another one.
    kind: str
    #: Whether a backward pass is recorded.
    gradients: bool
    #: The paths that give what they must.
    paths: tuple[str, ...]
    #: ``(input_size, hidden_size)`` of each layer in each direction.
    sizes: tuple[tuple[int, int], ...]


class Choice(NamedTuple):
    """A path; and the samples of each group, from the longest to the shortest.

    There is one group but where the path is padded.
    """

    path: str
    groups: list[list[int]]


def facts_of(stack: Stack, input: Tensor, state: States) -> Facts:
    """Look at a call: what runs, where, and who watches."""
    first, directions = stack.layers[0][0], stack.directions
    mode, dtype = first.mode, input.dtype
    tensors = [input, *state, *(weight for each in directions for weight in each.weights)]
    gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    projected = first.is_projected
    kind = mode if mode in {"LSTM", "GRU"} else "RNN"
    if mode == "LSTM" and (projected or dtype is not torch.float32 or not _has_fast_lstm()):
        kind = "LSTM by steps"
    by_hand = not projected and _are_plain(tensors)
    paths = paths_of(input, mode, by_hand=by_hand)
    sizes = tuple((each.weights[0].shape[1], each.hidden_size()) for each in directions)
    return Facts(kind, gradients, paths, sizes)


def _has_fast_lstm() -> bool:
    backend = torch.backends.mkldnn
    return bool(backend.enabled and backend.is_available())  # type: ignore[no-untyped-call]


def _are_plain(tensors: Sequence[Tensor]) -> bool:
    dtype = tensors[0].dtype
    return dtype in PRECISE and all(
        tensor.dtype is dtype and type(tensor) in PLAIN for tensor in tensors
    )


def paths_of(input: Tensor, mode: str, *, by_hand: bool) -> tuple[str, ...]:
    """Return the paths that give what they must, the one that is always there last.

    Args:
        input: what the layer reads.
        mode: torch's name of the recurrence.
        by_hand: whether it can be run by hand.
    """
    if input.device.type != "cpu":
        # cuDNN takes packed input well, and all layers at once.
        return (PACKED,)
    padded = OVER_PADDING.get(mode, (PADDED,))
    if is_transformed() or is_jit_traced() or torch.is_autocast_enabled("cpu"):
        # Under autocast a packed LSTM returns another dtype than a padded one.
        return padded or (PACKED,)
    if not by_hand:
        return (*padded, PACKED)
    return (*padded, ROWS, STEPS, PACKED)


def cost(facts: Facts, path: str, steps: int, rows: int) -> float:
    """Return the nanoseconds that a path is expected to take for so many steps and rows."""
    call, by_step, by_row = _terms(facts, path)
    return call + steps * by_step + rows * by_row


def names_of_cpu() -> tuple[str, ...]:
    """Return what the table of costs may call this CPU, the narrower name first.

    MKL, which multiplies the matrices of packed steps, is nearly twice as fast on the CPUs of its
    maker, Intel; oneDNN, which runs an LSTM over padding, is as fast on those of others.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    facts: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch 2.6
    is_of_intel = str(facts.get("cpu_name")).startswith("Intel")
    return (f"{capability} Intel", capability) if is_of_intel else (capability,)


def computed_units(kind: str, path: str, hidden_size: int) -> int:
    """Return how many hidden units a path computes, whole vectors of them."""
    is_onednn = kind == "LSTM" and path in (PADDED, BLANK)
    lanes = LANES.get(torch.backends.cpu.get_cpu_capability(), 1) if is_onednn else 1
    return -(-hidden_size // lanes) * lanes


@lru_cache
def _terms(facts: Facts, path: str) -> tuple[float, float, float]:
    table = next(COSTS[name] for name in (*names_of_cpu(), "DEFAULT") if name in COSTS)
    call, call_weights, step, step_weights, row, row_weights = table[
        facts.kind, facts.gradients, path
    ]
    by_call = by_step = by_row = 0.0
    for input_size, hidden_size in facts.sizes:
        hidden = computed_units(facts.kind, path, hidden_size)
        weights = hidden * (input_size + hidden)
        by_call += call + call_weights * weights
        by_step += step + step_weights * hidden * hidden
        by_row += row * hidden + row_weights * weights
    return by_call, by_step, by_row


def for_lengths(facts: Facts, lengths: Sequence[int]) -> Choice:
    """Choose a path for a padded batch.

    Args:
        facts: what is known of the call.
        lengths: the valid steps of each sample.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    values = [lengths[sample] for sample in order]
    paths = [path for path in facts.paths if path not in OF_RESETS]
    if len(paths) == 1:
        return Choice(paths[0], [order])
    steps, rows = values[0], sum(values)
    best = {path: cost(facts, path, steps, rows) for path in paths if path != PADDED}
    best[PACKED] *= 1 - DOUBT
    if PADDED not in paths or cost(facts, PADDED, steps, rows) > min(best.values()):
        # Not even without any padding.
        return Choice(min(best, key=best.__getitem__), [order])
    cuts = grouped(values, *_terms(facts, PADDED))
    best[PADDED] = sum(
        cost(facts, PADDED, values[start], values[start] * (stop - start)) for start, stop in cuts
    )
    path = min(best, key=best.__getitem__)
    if path != PADDED:
        return Choice(path, [order])
    return Choice(path, [order[start:stop] for start, stop in cuts])


def for_resets(
    facts: Facts,
    pieces: tuple[int, int],
    blank: tuple[int, int] | None,
    whole: tuple[int, int] | None,
    *,
    found: bool,
) -> str:
    """Choose a path for samples that start again on the way.

    Args:
        facts: what is known of the call.
        pieces: the steps of the longest piece, at least, and of all together.
        blank: the same of samples with their blank steps, all as long as the longest; None where
            blank steps cannot be.
        whole: the same of samples as they are; None where they cannot be run so.
        found: whether all pieces are found.
    """
    sizes = {BLANK: blank, STEPS: whole}
    best: dict[str, float] = {}
    for path in facts.paths:
        if path in sizes:
            size = sizes[path]
            if size is not None:
                best[path] = cost(facts, path, *size)
        elif path != PADDED:
            best[path] = cost(facts, path + OF_PIECES, *pieces) + (0 if found else LOOK)
    return min(best, key=best.__getitem__, default=PACKED)


def grouped(
    values: Sequence[int], call: float, by_step: float, by_row: float
) -> list[tuple[int, int]]:
    """Cut samples, sorted from the longest to the shortest, into groups that cost least.

    A group takes the steps of its longest sample for each of its own. It is cut in two where that
    saves most, and so are its parts, as long as it saves enough.
    """
    done: list[tuple[int, int]] = []
    todo = [(0, len(values))]
    while todo:
        start, stop = todo.pop()
        whole = values[start] * (by_step + by_row * (stop - start))
        # What a cut before this sample would cost.
        cuts = [
            values[start] * (by_step + by_row * (cut - start))
            + values[cut] * (by_step + by_row * (stop - cut))
            for cut in range(start + 1, stop)
        ]
        least = min(cuts, default=whole)
        if call + least < CUT * whole:
            cut = start + 1 + cuts.index(least)
            todo += [(cut, stop), (start, cut)]
        else:
            done.append((start, stop))
    return done
