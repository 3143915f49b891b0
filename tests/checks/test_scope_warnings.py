"""``axes=`` with names that the caller's scope has not bound: told once, where a typo is likely."""

import re
import warnings
from typing import Any

import beartype
import jaxtyping
import pytest
import torch
from jaxtyping import jaxtyped

import rnnkit
from tests.checks.test_scope import call

pytestmark = pytest.mark.unhooked("rnnkit's own functions are the scope")


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"seq": "tmie", "batch": "n"}, "no tmie and no n, so"),
        ({"seq": "zzz"}, "no zzz, so"),
        ({"batch": "zzz"}, "no zzz, so"),
    ],
)
def test_unbound_names_are_told_once(axes: dict[str, str], told: str) -> None:
    """A name of seq or batch that is bound nowhere is told at the first call."""
    model = rnnkit.GRU(3, 4, batch_first=True, axes=axes)

    with pytest.warns(UserWarning, match=told):
        call(model, torch.zeros(2, 5, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(model, torch.zeros(2, 5, 3))


CALLS: dict[str, tuple[Any, torch.Tensor]] = {
    "a layer": (lambda: rnnkit.GRU(3, 4, axes={"seq": "time", "batch": "b"}), torch.ones(5, 2, 3)),
    "batch-first": (
        lambda: rnnkit.LSTM(3, 4, batch_first=True, axes={"seq": "time", "feature": "f"}),
        torch.ones(2, 5, 3),
    ),
    "unbatched": (lambda: rnnkit.RNN(3, 4, axes={"seq": "time", "batch": "b"}), torch.ones(5, 3)),
    "a cell": (lambda: rnnkit.GRUCell(3, 4, axes={"batch": "b"}), torch.ones(2, 3)),
    "Recurrent": (
        lambda: rnnkit.Recurrent(rnnkit.GRUCell(3, 4), axes={"seq": "time"}),
        torch.ones(5, 2, 3),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_without_a_scope_it_is_told_once_what_to_type(name: str) -> None:
    """Nothing is checked there; what is typed around the call makes a scope."""
    make, x = CALLS[name]
    module = make()

    with pytest.warns(UserWarning, match="no @jaxtyped function") as caught:
        module(x)
    typed = re.findall(r": (@.*), and (x: .*)\n", str(caught[0].message))[0]
    known: dict[str, Any] = {"beartype": beartype, "jaxtyping": jaxtyping, "torch": torch}
    exec(f"{typed[0]}\ndef caller(module, {typed[1]}): return module(x)", known)  # noqa: S102
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module(x)
        known["caller"](make(), x)


def test_nothing_is_told_beside_a_scope() -> None:
    """A layer that was checked runs again, as checkpointing does; no axis is read; jaxtyping is off."""
    gru = rnnkit.GRU(3, 4, axes={"seq": "time", "batch": "b"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with jaxtyped("context"):
            gru(torch.ones(5, 2, 3))
        gru(torch.ones(5, 2, 3))
        rnnkit.GRU(3, 4, axes={"batch": "b"})(torch.ones(5, 3))
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            rnnkit.GRU(3, 4, axes={"batch": "b"})(torch.ones(5, 2, 3))
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)


def test_features_are_told_if_they_look_like_a_name_that_is_bound() -> None:
    """A feature axis is the module's own, unless its name is nearly that of a bound one."""
    near = rnnkit.GRU(3, 4, batch_first=True, axes={"feature": "faet"})
    own = rnnkit.GRU(3, 4, batch_first=True, axes={"hidden": "units"})

    with pytest.warns(UserWarning, match="no faet"):
        call(near, torch.zeros(2, 5, 3))
    call(own, torch.zeros(2, 5, 3))
