"""Mistakes of one shape each: a backward output in reverse, steps for channels, (c, h) as state."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import LSTM, BatchNorm1d, LSTMCell, ModuleDict, RNNBase, RNNCellBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import steps_from
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import Event
from rnnkit._diagnostics.experiment import run_perturbed
from rnnkit._diagnostics.module_calls import named_arguments
from rnnkit._diagnostics.probes.gradient import trained
from rnnkit._diagnostics.probes.loops import (
    calls_of,
    find_held_state,
    find_single_steps,
    would_matter,
)
from rnnkit._diagnostics.reach import poisoned
from rnnkit._diagnostics.report import fail


def find_patterns(baseline: Baseline, events: Sequence[Event]) -> int:
    """Look for each of them in one run; return how many calls of cells were looked at."""
    find_steps_as_channels(baseline, events)
    find_single_steps(baseline, events)
    find_held_state(baseline, events)
    find_shared_direction(baseline, events)
    find_state_as_input(events)
    find_swapped_states(events)
    find_lost_cells(baseline, events)
    find_reversed_outputs(baseline)
    return sum(isinstance(one.module, RNNCellBase) and one.kind == "input" for one in events)


def find_reversed_outputs(baseline: Baseline) -> None:
    """Find outputs of a backward layer that were not flipped back.

    Then the first output reads the first and the last step, and none between; the second one the
    two at each end. What is forgotten is no step that is not read: what is no number would show. Of
    a padded batch, the samples without padding are looked at.
    """
    first = baseline.first
    if first is None or "causal" in baseline.report.checked:
        return  # the first output reads no last step
    take = _taking(baseline, first)
    if take is None or not all(_reads_ends(baseline, first, edge, take) for edge in (1, 2)):
        return
    if any(_may_read_between(baseline, first, edge, take) for edge in (1, 2)):
        return
    what = f"{baseline.name(first)} of step 0 depends on the first and the last step alone"
    rows = [("cause", "outputs of a layer that ran backwards were not flipped back")]
    fail("use", what, [*rows, ("fix", "output.flip(seq_dim), before the two are joined")])


def _taking(baseline: Baseline, first: int) -> Callable[[Tensor, int], Tensor] | None:
    """Return what takes a step of the first output, of samples without padding; None if none is."""
    steps, seq, axis = baseline.batch.steps or 0, baseline.out_seq_dim, baseline.axes[first]
    if seq is None or steps < 6 or not baseline.has_steps(first):
        return None
    whole = [k for k, n in enumerate(baseline.counts or []) if n == steps]
    if baseline.normal[first].shape[seq] != steps:
        return None
    if baseline.counts is None:
        return lambda leaf, at: leaf.select(seq, at)
    if axis is None or not whole:
        return None
    return lambda leaf, at: leaf.index_select(axis, torch.tensor(whole, device=leaf.device)).select(
        seq, at
    )


def _reads_ends(baseline: Baseline, first: int, edge: int, take: Any) -> bool:
    """Say whether a step near the front reads what is at each edge, and nothing between."""
    steps = baseline.batch.steps or 0
    wanted = {
        (edge, steps - edge): False,
        (steps - edge, steps - edge + 1): True,
        (edge - 1, edge): True,
    }
    for (start, end), expected in wanted.items():
        perturbed = run_perturbed(baseline, steps_from(start, end))
        if perturbed is None or not perturbed.has(first):
            return False
        if perturbed.moves(first, lambda leaf: take(leaf, edge - 1)) != expected:
            return False
    return True


def _may_read_between(baseline: Baseline, first: int, edge: int, take: Any) -> bool:
    """Say whether what is no number comes from between the edges to a step near the front."""
    output = poisoned(baseline, steps_from(edge, (baseline.batch.steps or 0) - edge))
    if output is None or len(output) != len(baseline.normal):
        return True
    return bool(take(output[first], edge - 1).isnan().any())


def find_steps_as_channels(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find a batch norm that takes the steps of the input, or of a layer, for channels."""
    batch = baseline.batch
    sequences: list[Tensor] = []
    if batch.seq_dim == 1 and batch.may_have_steps(batch.paced):
        sequences.append(batch.leaves[batch.paced])
    for event in events:
        given = event.tensors[0] if event.tensors else None
        if not isinstance(given, Tensor) or given.dim() != 3:
            continue
        if event.kind == "output" and isinstance(event.module, RNNBase) and not event.is_packed:
            sequences += [given] if event.module.batch_first else []
        elif (
            event.kind == "input"
            and isinstance(event.module, BatchNorm1d)
            and any(_is_cast_of(given, one) for one in sequences)
        ):
            takes = "takes axis 1 of its input for channels, which is seq"
            fix = ("fix", "x.transpose(1, 2) before, and after")
            fail("use", f"{event.label} ({event.class_name}) {takes}", [fix], event.name)


def _is_cast_of(given: Tensor, one: Tensor) -> bool:
    """Say whether a tensor holds the numbers of another one, in its own dtype.

    What is the same with its axes exchanged, as zeros, may have had them exchanged.
    """
    is_cast = one.shape == given.shape and torch.equal(one.to(given.dtype), given)
    return is_cast and not torch.equal(given, given.mT)


def find_state_as_input(events: Sequence[Event]) -> None:
    """Find a cell whose state is the output of another one, which is also its input."""
    made: dict[tuple[int, ...], str] = {}
    for event in events:
        if event.kind == "output" and isinstance(event.module, RNNCellBase):
            made[_ids(event.tree)] = event.name
        elif event.kind == "input" and isinstance(event.module, RNNCellBase):
            given = named_arguments(*event.tree)
            state = _ids(given.get("hx"))
            source = made.get(state, event.name)
            if state[:1] == _ids(given.get("input")) and source != event.name:
                what = f"{event.name} takes the output of {source} as its input, and as its state"
                rows = [("fix", "a state for each cell: h[0], h[1]")]
                fail("use", f"{what}, too", rows, event.name)


def _ids(state: Any) -> tuple[int, ...]:
    """Return which tensors a state holds: h, and c if there is one."""
    return tuple(map(id, state)) if isinstance(state, tuple | list) else (id(state),)


def find_swapped_states(events: Sequence[Event]) -> None:
    """Find an LSTM that takes the c of another call, or of its own, as its h, and h as its c."""
    made: list[tuple[str, list[Any]]] = []
    for event in events:
        pair = event.tensors[-2:]
        if not isinstance(event.module, LSTM | LSTMCell) or not all(map(is_number, pair)):
            continue
        if event.kind == "output":
            made.append((event.label, pair))
        elif len(event.tensors) > 2:
            for source, (h, c) in made:
                if _equal(pair, [c, h]) and not torch.equal(h, c):
                    what = f"{event.label} takes the c of {source} as its h, and the h as its c"
                    rows = [
                        ("fix", "output, (h, c) = layer(input): h comes first, as in hx=(h, c)")
                    ]
                    fail("use", what, rows, event.name)


def find_lost_cells(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find an LSTM whose h goes from call to call, and whose c is zeros each time."""
    returned = calls_of(events, "output")
    for name, given in calls_of(events).items():
        calls = [*zip(returned[name], given[1:], strict=False)]
        is_lost = len(calls) > 1 and all(_loses_c(*call) for call in calls)
        if is_lost and would_matter(baseline, name):
            kind = type(given[0].module).__name__
            what = f"{name} ({kind}) is given the h that it returned, and zeros for c, each time"
            fail("use", what, [("fix", "y, (h, c) = layer(x, (h, c)): both are the state")], name)


def _loses_c(before: Event, after: Event) -> bool:
    """Say whether a call takes h of the one before, and zeros in place of its c."""
    made, taken = before.tensors[-2:], after.tensors[1:]
    are_pairs = len(made) == len(taken) == 2 and all(map(is_number, [*made, *taken]))
    if not are_pairs or not isinstance(before.module, LSTM | LSTMCell):
        return False
    lost = bool(made[1].any()) and not bool(taken[1].any())
    return lost and bool(made[0].any()) and torch.equal(made[0], taken[0])


def find_shared_direction(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find a cell or layer that reads the steps both ways, while its twin is never called.

    A twin that does not learn, beside one that does, follows it for another purpose.
    """
    modules = dict(baseline.session.model.named_modules())
    calls = calls_of(events)
    for name, given in calls.items():
        if not _reads_both_ways(given):
            continue
        parent, _, _ = name.rpartition(".")
        for other, module in modules.items():
            alike = type(module) is type(modules[name]) and _sizes(module) == _sizes(modules[name])
            if (
                alike
                and other not in calls
                and other.rpartition(".")[0] == parent
                # Of what is chosen by a key, others are for other inputs.
                and not isinstance(modules[parent], ModuleDict)
                and (trained(module) or not trained(modules[name]))
                and other != name
            ):
                kind = type(module).__name__
                what = f"{name} reads the steps in both directions, and {other} is never called"
                rows = [
                    ("evidence", f"both are a {kind} with weights of the same sizes"),
                    ("fix", f"call {other} for one of the directions"),
                ]
                fail("use", what, rows, other)


def _sizes(module: torch.nn.Module) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in module.parameters()]


def _reads_both_ways(calls: list[Event]) -> bool:
    """Say whether the same steps go in twice, the second time the last one first."""
    given: list[Any] = [event.tensors[0] if event.tensors else None for event in calls]
    count = len(given)
    if not all(map(is_number, given)) or count < 2 or count % 2:
        return False
    if isinstance(calls[0].module, RNNBase):
        seq = 1 if calls[0].module.batch_first else 0
        one, other = given[0], given[1]
        both = count == 2 and one.dim() == 3 and one.shape == other.shape
        return both and torch.equal(one.flip(seq), other) and not torch.equal(one, other)
    half = count // 2
    return any(
        half > 2 and _equal(there[::-1], back) and not _equal(there, back)
        for there, back in ((given[:half], given[half:]), (given[::2], given[1::2]))
    )


def _equal(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(map(torch.equal, ones, others))
