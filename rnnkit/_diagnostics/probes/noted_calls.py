"""What the calls of layers do that is often a mistake, and that some models intend: notes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

from torch import Tensor
from torch.nn import RNNBase, RNNCellBase

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.probes.starts import LOOP
from rnnkit._diagnostics.run.module_calls import Call
from rnnkit._diagnostics.run.outputs import are_bit_equal, gradient_arrives


def notes_of_calls(baseline: Baseline, calls: Sequence[Call]) -> Iterator[str]:
    """Yield a note for each module whose calls lose a state, or start from an odd one.

    ``calls`` are the recurrent calls of a run; a family are those of one module, in order.
    ``baseline`` is the model, a batch, and what it returned for that.
    """
    families = defaultdict[str, list[Call]](list)
    for call in calls:
        for family in families.values():
            yield from _states_of_other_layers(family[-1], call)
        families[call.name].append(call)
    for family in families.values():
        yield from _cell_state_of_the_last_step(baseline, family[-1])
        if len(family) >= LOOP:
            yield from _steps_in_both_directions(family)
            yield from _windows_from_zeros(baseline, family)
        if len(family) > LOOP:
            yield from _calls_from_the_state_of_the_first(family)


def _cell_state_of_the_last_step(baseline: Baseline, call: Call) -> Iterator[str]:
    """Yield a note if outputs read c, and not h, of what an LSTM cell's last call returned.

    The gradients of the outputs of ``baseline`` (a model, a batch, its output) show what they read.
    """
    if not isinstance(call.module, RNNCellBase) or "c" not in call.returned:
        return
    [slopes] = gradients_of(baseline).of_calls([call])
    read = [part for part, slope in slopes.items() if bool(gradient_arrives(slope).any())]
    if read == ["c"]:
        kind = type(call.module).__name__
        yield f"{call.label} ({kind}) returns (h, c), but only c of its last call is used"


def _states_of_other_layers(source: Call, call: Call) -> Iterator[str]:
    """Yield a note if a layer starts from the state of another layer of an encoder's.

    ``source`` is a call of the encoder and ``call`` a later one, of the decoder. The encoder's last
    layers have the states for as many layers of a decoder.
    """
    encoder = source.module
    decoder = call.module
    if not _has_layers_first(encoder) or not _has_layers_first(decoder):
        return
    surplus = encoder.num_layers - decoder.num_layers
    if source.name == call.name or encoder.num_layers < 2 or surplus < 0:
        return
    rows = _rows_in(call.state.get("h"), source.returned.get("h"))
    for place, row in enumerate(rows):
        layer = place // _directions(decoder)
        if row // _directions(encoder) != layer + surplus:
            start = f"{call.label} starts its layer {layer} from h_n[{row}] of {source.label}"
            of = f"a state of layer {row // _directions(encoder)}"
            yield f"{start}, {of}: rnnkit.states.bridge makes one state for each layer"
            return


def _has_layers_first(module: Any) -> TypeGuard[RNNBase]:
    """Return whether a module is a layer whose states are ``(layers * directions, batch, ...)``."""
    return isinstance(module, RNNBase) and not getattr(module, "state_batch_first", False)


def _directions(layer: RNNBase) -> int:
    return 2 if layer.bidirectional else 1


def _rows_in(given: Tensor | None, made: Tensor | None) -> list[int]:
    """Return which row of a returned state each given row is; empty if one is none of them.

    Both are ``(layers * directions, batch, hidden)``, or None.
    """
    if given is None or made is None or given.shape[1:] != made.shape[1:]:
        return []
    equal = (given.unsqueeze(1) == made).flatten(2).all(2)
    return equal.int().argmax(1).tolist() if bool((equal.sum(1) == 1).all()) else []


def _steps_in_both_directions(family: Sequence[Call]) -> Iterator[str]:
    """Yield a note if a layer of both directions is called step by step, with its state passed on.

    ``family`` are all calls of that layer.
    """
    call = family[0]
    is_both = isinstance(call.module, RNNBase) and call.module.bidirectional
    if not is_both or not all(one.is_step for one in family):
        return
    if all(map(_goes_on, family, family[1:])):
        what = f"{call.label} ({type(call.module).__name__}) has two directions"
        yield f"{what}, but is called step by step: its backward direction reads one step at a time"


def _goes_on(before: Call, after: Call) -> bool:
    """Return whether a call starts from the state that the call before returned."""
    return are_bit_equal([*after.state.values()], [*before.returned.values()])


def _windows_from_zeros(baseline: Baseline, family: Sequence[Call]) -> Iterator[str]:
    """Yield a note if a layer's calls, a ``family``, are windows that each start from zeros.

    They are windows if their steps are together as many as the batch of ``baseline`` has.
    """
    call = family[0]
    sizes = [one.sizes.get("seq", 1) for one in family]
    steps = baseline.batch.steps
    has_state = any(bool(part.any()) for one in family for part in one.state.values())
    if has_state or max(sizes) == 1 or sum(sizes) != steps:
        return
    what = f"{call.label} ({type(call.module).__name__}) reads {len(family)} windows of the"
    yield f"{what} {steps} steps, each from zeros: no window passes its state to the next"


def _calls_from_the_state_of_the_first(family: Sequence[Call]) -> Iterator[str]:
    """Yield a note if each later call of a module starts from the state that its first returned.

    ``family`` are all calls of that module, in order.
    """
    first, *later = family
    if all(_goes_on(first, call) for call in later):
        call = family[0]
        what = f"{call.label} ({type(call.module).__name__}) is called {len(later)} times from the"
        yield f"{what} state that its first call returned: no later call passes its state on"
