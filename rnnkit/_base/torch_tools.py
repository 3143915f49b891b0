"""What rnnkit uses of torch's private names: who traces a call, which kernels exist, the twin.

``tests/project/test_private_names.py`` lists each, with the reason.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling

functorch: Any = torch._C._functorch  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue]


def is_jit_traced() -> bool:
    """Return whether ``torch.jit.trace`` records the call: sizes are tensors there."""
    return torch._C._get_tracing_state() is not None  # noqa: SLF001


def is_compiled_or_transformed() -> bool:
    """Return whether something traces or transforms for which torch's kernels have no rules.

    That is a compiler, a transform of ``torch.func``, or forward-mode derivatives.
    """
    return is_compiling() or is_in_transform()


def is_batched(tensor: Tensor | None) -> bool:
    """Return whether a tensor is one of many examples that vmap runs at once; False of None.

    A gradient of such a backward pass is one as well: torch's kernels, and what writes in place,
    have no rule for it.
    """
    checks = (functorch.is_batchedtensor, functorch.is_legacy_batchedtensor)
    return tensor is not None and any(check(tensor) for check in checks)


def of_every_example(tensor: Tensor) -> Tensor:
    """Return the numbers behind vmap's tensor of one example, those of all examples in front."""
    while functorch.is_batchedtensor(tensor):
        axis = functorch.maybe_get_bdim(tensor)
        tensor = functorch.get_unwrapped(tensor).movedim(axis, 0)
    return tensor


def is_in_transform() -> bool:
    """Return whether ``torch.func`` or forward mode transforms the call, compiled or not."""
    return _is_in_functorch() or forward_ad._current_level >= 0  # noqa: SLF001


def _is_in_functorch() -> bool:
    return bool(functorch.get_dynamic_layer_stack_depth())


# A compiler of torch 2.8 knows no other way to ask. torch.compiler.assume_constant_result sets
# this, and imports the whole compiler before it does.
vars(_is_in_functorch)["_dynamo_marked_constant"] = True


def is_exporting() -> bool:
    """Return whether the compiler that traces is an exporter, strict or not."""
    # A compiler of torch 2.8 takes torch.compiler.is_exporting() for true, whatever traces.
    return torch.compiler._is_exporting_flag  # noqa: SLF001


def is_dynamic_size(steps: Any) -> bool:
    """Return whether a compiler or an exporter leaves a number of steps open: for any number.

    ``steps`` is an int, which is never open, or torch's stand-in for one.
    """
    # Imported here, since few programs come here.
    from torch.fx.experimental.symbolic_shapes import has_static_value  # noqa: PLC0415

    return not has_static_value(steps)


def values_are_abstract() -> bool:
    """Return whether reading the values of a tensor would fail, or be recorded."""
    return is_compiling() or is_jit_traced() or _is_in_functorch()


def are_all(flags: Tensor, sentence: str, *, may_wait: bool = True) -> bool:
    """Return whether all flags are true, or their values cannot be read here.

    A compiler or a tracer writes the check down instead: the graph raises an error with
    ``sentence`` when it runs. Without ``may_wait`` the host does not wait for a GPU, which checks
    them itself: it stops, and each later call of it fails. Fake tensors pass.
    """
    is_later = flags.is_cuda and not may_wait
    if (is_later or is_compiling() or is_jit_traced()) and not _is_in_functorch():
        # The one check that waits for no GPU.
        torch._assert_async(flags.all(), sentence)  # noqa: SLF001  # pyright: ignore[reportPrivateImportUsage]
    return is_later or lacks_values(flags) or values_are_abstract() or bool(flags.all())


def lacks_kernel(mode: str, proj_size: int, input: Tensor) -> bool:
    """Return whether autocast asks for a fused LSTM that oneDNN does not have on this CPU.

    ``mode`` is torch's name of what is computed; ``proj_size`` is 0 without a projection.
    Autocast sends a float32 LSTM to oneDNN in half precision, whatever oneDNN has: a bfloat16 LSTM
    only on CPUs with AVX-512, a float16 one on fewer, and none that trains. Packed input, a step
    and a loop over cells do not go there.
    """
    if mode != "LSTM" or proj_size or not torch.is_autocast_enabled("cpu"):
        return False
    if input.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    lowered = torch.get_autocast_dtype("cpu")
    if input.dtype in (lowered, torch.float64):
        return False
    if lowered is torch.float16 and torch.is_grad_enabled():
        return True
    if is_jit_traced():
        return True  # the question would be recorded, and every CPU has what runs instead
    name = "_is_mkldnn_bf16_supported" if lowered is torch.bfloat16 else "_is_mkldnn_fp16_supported"
    return not getattr(torch.ops.mkldnn, name)()


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor on a device, and do not wait for a GPU that it is copied to.

    A copy from a GPU is waited for: its numbers would be read before they are there.
    """
    return tensor.to(device, non_blocking=tensor.is_cpu)


def is_proxy(value: Any) -> bool:
    """Return whether a value is a proxy of ``torch.fx``, or of a tool's own copy of it."""
    if value is None or isinstance(value, Tensor):
        return False
    return hasattr(value, "node") and hasattr(value, "tracer")


def lacks_values(tensor: Tensor) -> bool:
    """Return whether a tensor has no values: on the device meta, or under FakeTensorMode."""
    return tensor.is_meta or type(tensor).__module__ == "torch._subclasses.fake_tensor"


def leaf_node(module: torch.nn.Module, input: Any, hx: Any, **options: Any) -> Any:
    """Record a call as one node of a ``torch.fx`` graph, and return the node's proxy.

    If ``torch.fx`` records the call, ``input`` or a part of ``hx`` is a proxy; else this is None.
    A tracer enters modules that it does not take for leaves, and would record the checks of this
    one: as a ``call_module`` node it is a leaf to every tracer. A None in ``options``, or for
    ``hx``, is left out.
    """
    parts = hx if isinstance(hx, (tuple, list)) else (hx,)
    proxies = [part for part in (input, *parts) if is_proxy(part)]
    if not proxies:
        return None
    args = (input,) if hx is None else (input, hx)
    tracer = proxies[0].tracer
    kwargs = {name: value for name, value in options.items() if value is not None}
    return tracer.create_proxy("call_module", tracer.path_of_module(module), args, kwargs)


def torch_twin(module: torch.nn.Module, torch_class: type[torch.nn.Module]) -> torch.nn.Module:
    """Return a module of torch's class with the same parameters, hooks and options.

    TorchScript can compile torch's classes, but not rnnkit's, which check each call.
    ``torch_class`` is one of the module's bases. If the module is of a user's subclass, what that
    defines is put into a new class on top of torch's, and the result is of this class.
    """
    own = [kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] != "rnnkit"]
    added: dict[str, Any] = {}
    for kind in reversed(own[: own.index(torch_class)]):
        added |= vars(kind)
    for name in ("__dict__", "__weakref__", "__rnnkit__"):  # each class has its own
        added.pop(name, None)
    twin_class: Any = type(type(module).__name__, (torch_class,), added) if added else torch_class
    twin: torch.nn.Module = twin_class.__new__(twin_class)
    twin.__dict__ = module.__dict__.copy()
    return twin
