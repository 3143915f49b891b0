"""Calls that torch's tools make and change: functional calls, hooks, devices and dtypes.

As in test_interop.py, torch's module and ours carry the same weights, go through the same hands,
and must give the same numbers bit for bit.
"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

import rnnkit
from tests.torch.side_by_side import HIDDEN, INPUT, assert_same, carried, pair, sample, six


def total(result: object) -> Tensor:
    """One number from all tensors of a result, each with another weight."""
    leaves = pytree.tree_leaves(result)
    return torch.stack([n * leaf.square().sum() for n, leaf in enumerate(leaves, start=1)]).sum()


@six
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functional_call(name: str, dtype: torch.dtype) -> None:
    """A call with borrowed parameters uses those, also of another dtype, and leaves no trace."""
    torch.manual_seed(0)
    theirs, ours = pair(name)
    x, state = sample(name), carried(name)
    borrowed = {key: 2 * value.to(dtype) for key, value in theirs.state_dict().items()}
    cast = pytree.tree_map(lambda tensor: tensor.to(dtype), (x, state))

    for args in [cast, cast[:1]]:
        expected = torch.func.functional_call(theirs, borrowed, args)
        assert_same(expected, torch.func.functional_call(ours, borrowed, args))

    assert_same(theirs(x, state), ours(x, state))


@six
def test_functional_gradient(name: str) -> None:
    """torch.func.grad sees the same gradient through both."""
    torch.manual_seed(0)
    x, state = sample(name), carried(name)
    grads = []
    for module in pair(name):

        def loss(weights: dict[str, Tensor], module: nn.Module = module) -> Tensor:
            return total(torch.func.functional_call(module, weights, (x, state)))

        grads.append(torch.func.grad(loss)({k: v.detach() for k, v in module.named_parameters()}))

    assert_same(*grads)


@six
# torch maps the cells by a slow fallback and says so.
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_vmap_is_no_worse(name: str) -> None:
    """Where torch's module can be mapped over an extra axis, ours gives the same."""
    torch.manual_seed(0)
    theirs, ours = pair(name)
    stacked = torch.stack([sample(name) for _ in range(4)])
    if name in ("RNNCell", "GRUCell"):
        assert_same(torch.vmap(theirs)(stacked), torch.vmap(ours)(stacked))
    else:
        with pytest.raises(RuntimeError, match="Batching rule not implemented"):
            torch.vmap(theirs)(stacked)


@six
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpoint(name: str, use_reentrant: bool) -> None:
    """Recomputing a call in the backward pass gives the same gradients."""
    torch.manual_seed(0)
    x, state = sample(name), carried(name)
    grads = []
    for module in pair(name):
        start = x.clone().requires_grad_()
        result = checkpoint(module, start, state, use_reentrant=use_reentrant)
        pytree.tree_leaves(result)[0].sum().backward()
        grads.append([start.grad, *(parameter.grad for parameter in module.parameters())])

    assert_same(*grads)


@six
def test_pre_hook_may_mend_the_input(name: str) -> None:
    """A pre-hook that brings the axes into order runs before anything is checked."""
    torch.manual_seed(0)
    theirs, ours = pair(name)
    x = sample(name)

    def fix(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:  # noqa: ARG001 - torch's form
        return (args[0].movedim(0, -1),)

    ours.register_forward_pre_hook(fix)

    assert_same(theirs(x), ours(x.movedim(-1, 0)))


class Seen(NamedTuple):
    """What the hooks of one call were shown."""

    before: list[object]
    after: list[object]


def watch(module: nn.Module) -> Seen:
    """Note what the hooks with keyword arguments see."""
    seen = Seen([], [])
    module.register_forward_pre_hook(
        lambda _, args, kwargs: seen.before.append((args, dict(kwargs))), with_kwargs=True
    )
    module.register_forward_hook(
        lambda _, args, kwargs, result: seen.after.append((args, dict(kwargs), result)),
        with_kwargs=True,
    )
    return seen


@six
def test_hooks_see_the_same(name: str) -> None:
    """Hooks see the arguments as the caller wrote them, and the result, once for each call."""
    torch.manual_seed(0)
    theirs, ours = pair(name)
    x, state = sample(name), carried(name)
    seen = watch(theirs), watch(ours)
    for module in (theirs, ours):
        module(x)
        module(x, state)
        module(x, hx=state)
        module(input=x, hx=state)

    for expected, actual in zip(*seen, strict=True):
        assert len(actual) == len(expected) == 4
        for one, other in zip(expected, actual, strict=True):
            assert [len(part) for part in one[:2]] == [len(part) for part in other[:2]]
            assert_same(one, other)


@six
def test_forward_hook_may_replace_the_result(name: str) -> None:
    """What a forward hook returns is what the caller gets."""
    _, ours = pair(name)
    ours.register_forward_hook(lambda *_: "replaced")

    assert ours(sample(name)) == "replaced"


@six
def test_global_hook_fires_once(name: str) -> None:
    """A hook on every module of the process sees one call of ours, not two."""
    _, ours = pair(name)
    calls = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: calls.append(module))
    try:
        ours(sample(name))
    finally:
        hook.remove()

    assert calls == [ours]


@six
def test_always_called_hook_sees_a_refused_call(name: str) -> None:
    """A forward hook that wants to see failures too is called when the input is refused."""
    _, ours = pair(name)
    calls = []
    ours.register_forward_hook(lambda *_: calls.append("failed"), always_call=True)

    with pytest.raises(RuntimeError):
        ours(sample(name)[..., :-1])

    assert calls == ["failed"]


@six
def test_backward_hooks(name: str) -> None:
    """Full backward hooks see the same gradients, and the state keeps its type on the way."""
    torch.manual_seed(0)
    x, seen, types = sample(name), [], []
    for module in pair(name):
        grads: list[object] = []
        module.register_full_backward_pre_hook(lambda _, out, grads=grads: grads.append(out))
        module.register_full_backward_hook(lambda _, *both, grads=grads: grads.append(both))
        start = x.clone().requires_grad_()
        result = module(start)
        types.append([type(part) for part in result] if isinstance(result, tuple) else [])
        total(result).backward()
        seen.append((grads, start.grad))

    assert len(seen[1][0]) == 2
    assert_same(*seen)
    if name == "LSTM":
        assert types == [[Tensor, tuple], [Tensor, rnnkit.LSTMState]]


@six
def test_state_dict_hooks(name: str) -> None:
    """Hooks around state_dict and load_state_dict fire in the same order on the same keys."""
    notes = []
    for module in pair(name):
        note: list[object] = []
        module.register_state_dict_pre_hook(lambda *_, note=note: note.append("before save"))
        module.register_state_dict_post_hook(lambda _, d, *__, note=note: note.append([*d]))
        module.register_load_state_dict_pre_hook(
            lambda _, d, *__, note=note: note.append(["before load", *d])
        )
        module.register_load_state_dict_post_hook(
            lambda _, keys, note=note: note.append([*keys.missing_keys, *keys.unexpected_keys])
        )
        saved = module.state_dict()
        saved["extra"] = saved.popitem()[1]
        module.load_state_dict(saved, strict=False)
        notes.append(note)

    assert notes[0] == notes[1]
    assert len(notes[0]) == 4


@six
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtype(name: str, dtype: torch.dtype) -> None:
    """A module that was moved to another dtype computes in it, with and without a state."""
    torch.manual_seed(0)
    theirs, ours = (module.to(dtype) for module in pair(name))
    x, state = pytree.tree_map(lambda tensor: tensor.to(dtype), (sample(name), carried(name)))

    assert_same(theirs(x), ours(x))
    assert_same(theirs(x, state), ours(x, state))


@six
def test_meta_and_back(name: str) -> None:
    """On the meta device a call gives shapes; after to_empty and loading it gives numbers."""
    torch.manual_seed(0)
    theirs, ours = pair(name)
    x = sample(name)

    shapes = ours.to("meta")(x.to("meta"))
    ours.to_empty(device="cpu").load_state_dict(theirs.state_dict())

    assert_same(pytree.tree_map(lambda tensor: tensor.to("meta"), theirs(x)), shapes)
    assert_same(theirs(x), ours(x))


@six
def test_share_memory(name: str) -> None:
    """Parameters in shared memory are the ones that the call uses."""
    torch.manual_seed(0)
    theirs, ours = (module.share_memory() for module in pair(name))
    x = sample(name)
    for module in (theirs, ours):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(0.5)

    assert all(parameter.is_shared() for parameter in ours.parameters())
    assert_same(theirs(x), ours(x))


@six
def test_frozen(name: str) -> None:
    """With requires_grad_(False) no result asks for a gradient."""
    _, ours = pair(name)

    results = pytree.tree_leaves(ours.requires_grad_(requires_grad=False)(sample(name)))

    assert not any(result.requires_grad for result in results)


@six
def test_load_by_assignment(name: str) -> None:
    """load_state_dict(assign=True) takes tensors over without a copy, and the call uses them."""
    torch.manual_seed(0)
    theirs, _ = pair(name)
    x, state = sample(name), theirs.state_dict()
    with torch.device("meta"):
        ours = getattr(rnnkit, name)(INPUT, HIDDEN)

    ours.load_state_dict(state, assign=True)

    assert_same(theirs(x), ours(x))
    pointers = [{k: v.data_ptr() for k, v in each.items()} for each in (state, ours.state_dict())]
    assert pointers[0] == pointers[1]
