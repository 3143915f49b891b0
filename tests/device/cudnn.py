"""What torch runs on a GPU for recurrent layers and cells, with the rules that cuDNN has.

The numbers are the CPU's. The rules are those that a call meets on a GPU: states are contiguous,
weights lie in one block of memory or torch warns, ``batch_sizes`` is on the CPU, there is no backward
pass in eval mode, and autocast lowers input, state and weights alike.
"""

import functools
import warnings
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._pytree import tree_map_only

from tests.device.simulated import LIBRARY
from tests.device.waiting import SCATTERED

#: torch's kernels, each in the place of cuDNN's number of its mode.
KERNELS = ("rnn_relu", "rnn_tanh", "lstm", "gru")
#: A thread of its own knows no mode of the caller's: no autocast, no function mode, nothing that
#: stops autograd, as it is stopped below an operator.
THREAD = ThreadPoolExecutor(1, initializer=LIBRARY.count_no_waits_here)
DEVICE = torch.library.Library("aten", "IMPL", "CUDA")
RECORDED = torch.library.Library("aten", "IMPL", "AutogradCUDA")
AUTOCAST = torch.library.Library("aten", "IMPL", "AutocastCUDA")
AUTOCAST_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)


def kernel(compute):
    """Make a function the device's kernel of the operator of its name; it runs in the thread."""
    DEVICE.impl(compute.__name__, lambda *args: THREAD.submit(compute, *args).result())


def above_kernels(name, compute):
    """Make a function the operator of a name, as one of operators that autograd records."""

    def run(*args):
        with torch._C.DisableTorchFunction():  # they are nothing that a function mode sees
            return compute(*args)

    for library in (RECORDED, DEVICE):  # the second in inference mode
        library.impl(name, run)


def to_host(tensor):
    """Return a copy on the CPU, in a dtype that is exact enough to compute in."""
    if tensor is None:
        return None
    return tensor.detach().cpu().to(torch.promote_types(tensor.dtype, torch.float32))


def in_order(weights):
    """Return weights in cuDNN's order: the matrices of all layers, then all biases."""
    return sorted(weights, key=lambda weight: weight.dim() == 1)


def joined(weights):
    """Return a copy of weights as one block."""
    return torch.cat([weight.detach().flatten() for weight in in_order(weights)])


def lies_in_one_block(weights):
    """Return whether weights lie one after another, from the start of their memory."""
    place = weights[0].untyped_storage().data_ptr()
    for weight in in_order(weights):
        if weight.data_ptr() != place or not weight.is_contiguous():
            return False
        place += weight.nbytes
    return True


def lower(operator, mode, input, *args):
    """Take a call of ``torch.lstm`` and its kind to cuDNN, as torch does on a GPU."""
    if not torch.backends.cudnn.enabled:  # torch's own kernel, whose steps are recorded
        moved = tree_map_only(Tensor, Tensor.cpu, (input, *args))
        return tree_map_only(Tensor, lambda one: one.to(input.device), operator(*moved))
    sizes = []
    if operator._overloadname == "data":
        batch_sizes, *rest = args
        assert batch_sizes.is_cpu, "cuDNN reads batch_sizes from the host's memory"
        sizes = batch_sizes.tolist()
        args = (*rest, False)
    state, weights, has_bias, layers, *options, batch_first = args
    parts = [state] if isinstance(state, Tensor) else state
    hidden = parts[-1].shape[2]
    proj = parts[0].shape[2] if parts[0].shape[2] != hidden else 0
    if not lies_in_one_block(weights):
        warnings.warn(SCATTERED, stacklevel=2)
    results = torch.ops.aten._cudnn_rnn.default(
        input, weights, 2 + 2 * has_bias + (proj > 0), joined(weights), *[*parts, None][:2],
        mode, hidden, proj, layers, batch_first, *options, sizes, None,
    )  # fmt: skip
    return results[: 1 + len(parts)]


for mode, name in enumerate(KERNELS):
    for overload in ("input", "data"):
        operator = getattr(getattr(torch.ops.aten, name), overload)
        above_kernels(f"{name}.{overload}", functools.partial(lower, operator, mode))


def autocast(input, weights, per_layer, _block, *args):
    """Lower all that is not float64."""

    def lowered(tensor):
        is_kept = tensor is None or tensor.dtype is torch.float64
        return tensor if is_kept else tensor.to(torch.get_autocast_dtype("cuda"))

    state, options = args[:2], args[2:]
    with torch._C._ExcludeDispatchKeyGuard(AUTOCAST_KEYS), torch._C.DisableTorchFunction():
        input, *state = map(lowered, (input, *state))
        weights = [*map(lowered, weights)]
        run = torch.ops.aten._cudnn_rnn.default
        return run(input, weights, per_layer, joined(weights), *state, *options)


AUTOCAST.impl("_cudnn_rnn", autocast)


def run_layers(per_layer, options, input, h, c, *weights):
    """Run the CPU's kernel."""
    mode, _, _, layers, batch_first, dropout, train, bidirectional, sizes, _ = options
    run = getattr(torch, KERNELS[mode])
    state = h if c is None else (h, c)
    rest = (weights, per_layer >= 4, layers, dropout, train, bidirectional)
    if sizes:
        return run(input, torch.tensor(sizes), state, *rest)
    return run(input, state, *rest, batch_first)


@kernel
def _cudnn_rnn(input, weights, per_layer, block, h, c, *options):
    given = [each for each in (input, h, c, *weights) if each is not None]
    assert {(each.device, each.dtype) for each in given} == {(input.device, input.dtype)}
    assert h.is_contiguous(), "cuDNN: hx is not contiguous"
    assert c is None or c.is_contiguous(), "cuDNN: cx is not contiguous"
    # From it a backward pass draws the same dropout again.
    reserve = torch.get_rng_state().to(input.device)
    results = run_layers(per_layer, options, *map(to_host, (input, h, c, *weights)))
    return *[each.to(input) for each in (*results, torch.empty(0))[:3]], reserve, block.clone()


@kernel
def _cudnn_rnn_backward(input, weights, per_layer, _block, h, c, _output, *args):
    *on_results, options, (reserve, _mask) = *args[:3], args[3:-2], args[-2:]
    if all(each is None for each in on_results):
        return None, None, None, [None] * len(weights)
    assert options[6], "cudnn RNN backward can only be called in training mode"
    given = [to_host(each) for each in (input, h, c, *weights)]
    leaves = [each.requires_grad_() for each in given if each is not None]
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(reserve.cpu())
        results = run_layers(per_layer, options, *given)
    pairs = [pair for pair in zip(results, on_results, strict=False) if pair[1] is not None]
    total = sum((result * to_host(on_result)).sum() for result, on_result in pairs)
    total.backward(inputs=leaves)
    on_given = [None if each is None else each.grad.to(input) for each in given]
    return *on_given[:3], on_given[3:]


@kernel
def _cudnn_rnn_flatten_weight(weights, *_):
    with torch.no_grad():
        block = joined(weights)
        parts = block.split([weight.numel() for weight in in_order(weights)])
        for weight, part in zip(in_order(weights), parts, strict=True):
            weight.set_(part.view(weight.shape))
        return block


def lstm_cell(input, state, weight_ih, weight_hh, bias_ih=None, bias_hh=None):
    """Return the next h and c. On a GPU one operator follows the products."""
    h, c = state
    gates = linear(input, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh)
    i, f, g, o = gates.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_cell(input, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None):
    """Return the next h."""
    r, z, n = linear(input, weight_ih, bias_ih).chunk(3, 1)
    r_h, z_h, n_h = linear(h, weight_hh, bias_hh).chunk(3, 1)
    n = torch.tanh(n + torch.sigmoid(r + r_h) * n_h)
    return torch.lerp(n, h, torch.sigmoid(z + z_h))


above_kernels("lstm_cell", lstm_cell)
above_kernels("gru_cell", gru_cell)
