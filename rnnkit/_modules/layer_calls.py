"""Around a layer's call: the state that is checked, stand-ins for tensors, torch's failures."""

from typing import Any

from torch.compiler import is_compiling

from rnnkit._base.class_facts import has_own_checks
from rnnkit._base.errors import RnnkitError
from rnnkit._base.state import LSTMState
from rnnkit._base.torch_tools import foreign_call, is_foreign_call
from rnnkit._checks.call_spec import batch_of
from rnnkit._checks.calls import check_layer
from rnnkit._checks.dtype_errors import explain_missing_kernel
from rnnkit._checks.odd_tensors import explain_failure
from rnnkit._modules.starts import lacks_state, started

#: What torch raises of a kernel that is missing, and of tensors that are no plain ones.
FAILURES = (RuntimeError, ValueError, TypeError, AssertionError)


def checked_state(layer: Any, input: Any, hx: Any) -> tuple[Any, bool]:
    """Hold a call to what the layer reads.

    Returns:
        The state as torch's layer takes it; and whether torch's own forward must run, and with it
        checks that somebody has put in the place of torch's.
    """
    own = has_own_checks(layer)
    weight: Any = None
    # torch's forward runs where somebody has checks of their own, and computes the weights itself:
    # one that draws random numbers would draw them twice.
    if not own:
        if is_compiling():
            # What torch's forward does first is not written down twice.
            weight = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
        else:
            layer._update_flat_weights()  # noqa: SLF001
        if weight is None:
            weight = layer._flat_weights[0]  # noqa: SLF001
    state = check_layer(layer, input, hx, weight)
    if lacks_state(layer, hx) and not is_foreign_call(input, hx):
        first = started(layer, hx, *batch_of(layer, input))
        state = check_layer(layer, input, first, weight)
    return state, own


def explain(layer: Any, input: Any, hx: Any, error: Exception) -> None:
    """Say in our words what torch said in its own, where we can; a refusal of ours goes on."""
    if not isinstance(error, RnnkitError):
        explain_missing_kernel(layer, error)
        explain_failure(layer, input, hx, error)


def run_foreign(layer: Any, input: Any, hx: Any, **options: Any) -> Any:
    """Hand torch's class what stands in for tensors, or is none of the plain ones."""
    try:
        result = foreign_call(layer, layer.__rnnkit__.torch_class, input, hx, **options)
    except FAILURES as error:
        explain(layer, input, hx, error)
        raise
    if len(layer.__rnnkit__.state_names) > 1 and isinstance(result, tuple):
        return result[0], LSTMState(*result[1])
    return result
