"""The other way of a call, which does not fit its guard: what is wrong with it.

``diagnose`` gets the whole call once and raises. If it finds nothing, ``torch.fx`` records the
call, or a tensor is not dense: torch's class takes it as it is, with torch's own checks. A compiler
traces this, so that the same error is raised.
"""

from typing import Any

from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import RnnkitError
from rnnkit._base.message import raise_for
from rnnkit._base.state import PAIR, filled, has_missing_part, zeros
from rnnkit._base.torch_tools import is_fx_call
from rnnkit._checks.call_spec import CallSpec, spec_of_cell, spec_of_layer, spec_of_unrolled
from rnnkit._checks.causes.inputs import (
    diagnose_dtype_and_device,
    diagnose_input,
    diagnose_shape,
    refuse_type,
)
from rnnkit._checks.causes.states import check_batch, diagnose_sizes, diagnose_state
from rnnkit._checks.objects import check_cell_object
from rnnkit._checks.odd_tensors import goes_to_torch, not_dense
from rnnkit._checks.packed import check_packed


def diagnose(module: Any, input: Any, hx: Any, weight: Tensor | None) -> None:
    """Raise what is wrong with the call of a layer or a cell; return if torch's class takes it."""
    if is_fx_call(input, hx):
        return
    is_layer = issubclass(type(module), RNNBase)
    data: Any = input
    if is_layer and isinstance(input, PackedSequence):
        check_packed(module, input, given=hx is not None)
        data = input.data
    elif not isinstance(input, Tensor):
        refuse_type(module, input, batch_first=is_layer and module.batch_first)
    odd = goes_to_torch(module, input, hx)
    spec_of: Any = spec_of_layer if is_layer else spec_of_cell
    spec = spec_of(module, input)
    judge = data if odd or weight is None else weight
    # torch reads a cell's state before it compares dtypes.
    cause = (diagnose_shape if odd or not is_layer else diagnose_input)(spec, data, judge)
    if cause is None and hx is not None:
        state = completed(spec, hx, data)
        # Sizes, where torch's class takes the call: on packed input it would read beyond a state.
        cause = diagnose_sizes(spec, state) if odd else diagnose_state(spec, state, data)
    raise_for(cause or diagnose_dtype_and_device(spec, data, judge))


def diagnose_unrolled(
    cell: Any,
    input: Any,
    hx: Any,
    weight: Tensor | None,
    caller: str,
    *,
    batch_first: bool,
    state: str,
) -> None:
    """Raise what is wrong with a cell that is run over a sequence; return if it runs by steps.

    ``weight`` is None for a cell of a user's, ``caller`` the name of the caller in messages, and
    ``state`` how it writes the state.
    """
    if weight is None:
        check_cell_object(cell, input)
    if not isinstance(input, Tensor):
        refuse_type(cell, input, unrolled=True, batch_first=batch_first)
    if input.is_nested:
        raise_for(not_dense(cell, input))
    known = weight is not None and not goes_to_torch(cell, input, hx)
    spec = spec_of_unrolled(cell, input, caller, known=known, batch_first=batch_first, state=state)
    # A user's cell may take integers; of our own we know what they take.
    cause = diagnose_input(spec, input, weight if known and weight is not None else input)
    if cause is None and hx is not None and known:
        cause = diagnose_state(spec, completed(spec, hx, input), input)
    raise_for(cause)
    if hx is not None and not known and spec.batch is not None:
        check_batch(spec, hx)


def completed(spec: CallSpec, hx: Any, like: Tensor) -> Any:
    """Put zeros where a pair has None; any other state stays as it is."""
    if not isinstance(hx, (tuple, list)) or len(hx) != len(spec.state_axes) or len(hx) != PAIR:
        return hx
    if not has_missing_part(hx):
        return tuple(hx)
    front = [axis.size or 0 for axis in spec.state_axes[0][:-1]]
    return tuple(filled(hx, zeros(spec.module, like, *front)))


def diagnose_initial_state(spec: CallSpec, initial: Any, like: Tensor) -> None:
    """Raise what is wrong with the state that a module's own ``initial_state`` returned."""
    try:
        raise_for(diagnose_state(spec, completed(spec, initial, like), like))
    except RnnkitError as error:
        # The caller may have given a state, which is right.
        error.add_note("hx is what initial_state returned")
        raise
