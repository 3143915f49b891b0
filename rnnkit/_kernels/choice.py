"""Which path runs a call with lengths or resets: a rule of three thresholds.

With lengths, on a CPU:

- an LSTM that oneDNN runs (float32, no projection) runs over the padding, unless that computes more
  than ``WASTE`` hidden numbers in vain at each step;
- otherwise training takes the rows by hand, whose backward pass takes a half to a tenth of the time
  of torch's packed kernel, and inference the packed kernel.

With resets, on a CPU:

- an LSTM that oneDNN runs gets blank steps, if samples are reset to zeros;
- a batch of at most ``FEW`` samples with more than ``CUTS`` resets each is cut into pieces, and so
  is a batch with lengths or with initial states that are not zeros: they run as rows;
- otherwise all steps run by hand.

On other devices all is packed: cuDNN takes packed input well, and all layers at once.
``python -m benchmarks choosing`` measures how far the choice is from the best path.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from rnnkit._base.torch_tools import is_compiled_or_transformed, is_jit_traced
from rnnkit._kernels.stack import Stack, States

#: Over the padding, exactly; packed rows by hand; packed rows by torch's kernel.
PADDED = "padded"
ROWS = "rows"
PACKED = "packed"
#: Over the padding, with a blank step before each reset; all steps by hand, where all are valid.
BLANK = "blank"
STEPS = "steps"

#: Hidden numbers of padding that a step may compute before rows cost less than padding.
WASTE = 6000
#: A batch of at most ``FEW`` samples is cut into pieces if each has more than ``CUTS`` resets.
FEW = 16
CUTS = 2


class Facts(NamedTuple):
    """The facts about a call that decide its path."""

    mode: str
    hidden_size: int
    #: Whether a backward pass is recorded.
    trains: bool
    #: Whether oneDNN runs an LSTM over all steps in one kernel.
    has_onednn_kernel: bool
    #: Whether tensors can be run by hand: plain ones, in a precise dtype, without a projection.
    allows_own_loop: bool
    #: Whether something traces, transforms or lowers the call: then no path reads its values.
    is_traced: bool
    device: str  # of the input: its type


def facts_of(stack: Stack, input: Tensor, state: States) -> Facts:
    """Return the facts about a call that decide its path: which of several ways runs it.

    ``stack`` is a layer's directions, layer by layer, all of one kind; ``input`` is ``(seq, batch,
    feature)``, and ``state`` h and an LSTM's c, ``(layers * directions, batch, hidden)`` each.
    """
    first = stack.layers[0][0]
    weights = [weight for each in stack.directions for weight in each.weights]
    tensors = [input, *state, *weights]
    is_plain = all(
        type(each) in (Tensor, Parameter) and each.dtype is input.dtype for each in tensors
    )
    is_precise = input.dtype in (torch.float32, torch.float64)
    is_traced = is_compiled_or_transformed() or is_jit_traced() or torch.is_autocast_enabled("cpu")
    mkldnn = torch.backends.mkldnn
    has_onednn = bool(mkldnn.enabled and mkldnn.is_available())  # type: ignore[no-untyped-call]
    is_lstm = first.recurrence.name == "LSTM" and not first.is_projected
    return Facts(
        mode=first.recurrence.name,
        hidden_size=first.hidden_size(),
        trains=torch.is_grad_enabled() and any(each.requires_grad for each in tensors),
        has_onednn_kernel=is_lstm and input.dtype is torch.float32 and has_onednn,
        allows_own_loop=is_plain and is_precise and not first.is_projected and not is_traced,
        is_traced=is_traced,
        device=input.device.type,
    )


def for_lengths(facts: Facts, lengths: list[int]) -> str:
    """Choose a path for a padded batch: the name of the way that is expected to be fastest.

    ``lengths`` has the valid steps of each sample, and at least one of them is above 0. PADDED also
    runs over the padding; PACKED leaves it out, by torch's kernel for a PackedSequence; ROWS leaves
    it out, by rnnkit's own loop.
    """
    if facts.device in ("cuda", "meta"):
        return PACKED  # cuDNN leaves the padding out, and where there are no numbers none is sought
    if facts.device != "cpu" or facts.is_traced:
        # The kernels of other devices leave nothing out. Traced, no value may be read, and autocast
        # gives a packed LSTM another dtype than a padded one.
        return PADDED
    # Over the padding, how many steps are computed for each valid one: 1 if there is no padding.
    computed_per_valid = len(lengths) * max(lengths) / sum(lengths)
    waste = len(lengths) * facts.hidden_size * (computed_per_valid - 0.5)
    if facts.has_onednn_kernel and waste <= WASTE:
        return PADDED
    return ROWS if facts.allows_own_loop and facts.trains else PACKED


def for_resets(facts: Facts, batch: int, cuts: int, *, is_full: bool, from_zeros: bool) -> str:
    """Choose a path for a batch with resets: the name of the way that is expected to be fastest.

    ``batch`` is the number of samples, ``cuts`` the number of resets in all of them after the first
    step. ``is_full``: there is no padding; ``from_zeros``: samples are reset to zeros. BLANK runs a
    fast LSTM over one more step for each cut, which sets its state to zeros; STEPS resets the state
    between two steps of rnnkit's own loop, and ROWS runs what lies between two cuts as samples of
    their own, by that loop; PACKED does that by torch's kernel for a PackedSequence.
    """
    if facts.device != "cpu":
        return PACKED
    if from_zeros and facts.mode == "LSTM" and (facts.has_onednn_kernel or facts.is_traced):
        return BLANK
    if not facts.allows_own_loop:
        return PACKED
    # Few samples with many cuts are too narrow for one product at each step; their pieces, side by
    # side, are not.
    has_many_pieces = batch <= FEW and cuts > CUTS * batch
    if is_full and from_zeros and not has_many_pieces:
        return STEPS
    return ROWS
