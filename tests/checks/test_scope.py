"""``axes=``: a module is held to the axis names that its caller's jaxtyping scope has bound."""

import contextlib
import functools
import io
import re
import sys
import threading

import beartype as beartype_module
import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor

import rnnkit
from tests.copies import COPIES
from tests.strategies import CELLS, LAYERS

BATCH = 2
SEQ = 5
STEPS_FIRST = torch.ones(SEQ, BATCH, 3)
AXES = {"seq": "time", "batch": "b"}
MODULES = [*LAYERS, "Recurrent"]

#: With the hook on, each function of rnnkit's has a scope of its own, and the caller's is hidden.
unhooked = pytest.mark.unhooked("rnnkit's own functions are the scope")
every_layer = pytest.mark.parametrize("name", MODULES)


def module(name, axes, **options):
    """Make a module of a class of rnnkit's."""
    args = [rnnkit.GRUCell(3, 4)] if name == "Recurrent" else [3, 4]
    return getattr(rnnkit, name)(*args, axes=axes, **options)


gru_with = functools.partial(module, "GRU", batch_first=True)


@jaxtyped(typechecker=beartype)
def call(inner, x: Float[Tensor, "b time feat"]):
    """Hand an input on, the batch in front."""
    return inner(x)


def x(batch=BATCH, seq=SEQ):
    """Make a batch-first input whose axes differ in size."""
    return torch.randn(batch, seq, 3)


@unhooked
@every_layer
def test_a_layer_is_held_to_its_callers_layout(name):
    """A layer that reads what the annotation promises runs as without axes; the other is refused."""
    right = module(name, AXES, batch_first=True)
    given = x()

    checked, _ = call(right, given)
    right.axes = None
    assert torch.equal(checked, call(right, given)[0])
    with pytest.raises(rnnkit.LayoutError) as caught:
        call(module(name, AXES, batch_first=False), given)
    error = caught.value
    assert (error.argument, error.expected, error.actual) == ("input", (SEQ,), (BATCH,))


@unhooked
@every_layer
def test_without_axes_nothing_is_bound(name):
    """A layer without axes neither binds nor checks the caller's names."""
    with jaxtyped("context"):
        module(name, None)(x())
        assert isinstance(torch.empty(11, 12), Float[Tensor, "seq batch"])
        assert isinstance(torch.empty(13, 14), Float[Tensor, "feature hidden"])


@pytest.mark.parametrize("name", [*MODULES, *CELLS])
def test_a_copy_keeps_our_options(name):
    """They are copied when a module is made; each copy of it has them, and prints them."""
    axes = {"batch": "b"} if name in CELLS else dict(AXES)
    options = {"state_batch_first": True} if name in LAYERS else {}
    made = module(name, axes, **options)
    expected = {"axes": dict(axes), **options}
    axes["batch"] = "other"

    for make in COPIES:
        again = make(made)
        for option, value in expected.items():
            assert getattr(again, option) == value
            assert f"{option}={value}" in again.extra_repr()


@unhooked
def test_a_context_without_a_function():
    """``with jaxtyped("context")`` is a scope, too; a refused call binds nothing in it."""
    gru, fresh = (module("GRU", {"seq": seq, "batch": "b"}) for seq in ("time", "fresh"))
    with jaxtyped("context"):
        gru(STEPS_FIRST)
        gru(STEPS_FIRST)
        for layer, text in ((gru, "time is 5 in"), (fresh, "b is 2 in")):
            with pytest.raises(rnnkit.ShapeError, match=text):
                layer(torch.ones(SEQ + 1, BATCH + (layer is fresh), 3))
        assert isinstance(torch.empty(6), Float[Tensor, " fresh"])

    gru(torch.ones(SEQ + 1, BATCH, 3))


@unhooked
def test_scopes_are_apart():
    """Names bound outside mean nothing in a nested function; two layers name their own lengths."""
    gru = gru_with(AXES)
    encoder, decoder = (gru_with({"seq": seq, "batch": "b"}) for seq in ("time", "target"))

    @jaxtyped(typechecker=beartype)
    def outer(x: Float[Tensor, "b time 3"], y: Float[Tensor, "b target 3"]):
        call(gru, x[:, 1:])
        encoder(x)
        decoder(y)
        return encoder(y)

    with pytest.raises(rnnkit.ShapeError, match="time is 5 in the caller's annotations, but 7"):
        outer(x(), x(seq=7))


@unhooked
def test_threads_have_scopes_of_their_own():
    """Two threads inside the same function do not disturb each other, or the program's output."""
    gru = gru_with(AXES)
    meet = threading.Barrier(2, timeout=20)
    seen = []

    def run(batch, seq):
        def turns(x):
            for _ in range(5):
                meet.wait()
                gru(x)
                with contextlib.suppress(rnnkit.ShapeError):
                    gru(x[:, 1:])
                seen.append(sys.stdout)

        try:
            call(turns, x(batch, seq))
        except BaseException as error:  # noqa: BLE001 - a thread cannot fail a test by itself
            seen.append(error)

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        mine = sys.stdout
        threads = [threading.Thread(target=run, args=sizes) for sizes in ((2, 5), (7, 6))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seen == [mine] * 10
    assert out.getvalue() == ""


@unhooked
@pytest.mark.filterwarnings("error")
def test_unbound_names_are_told_once():
    """A name that is bound nowhere is told at the first call: of seq or batch."""
    for axes, told in (
        ({"seq": "tmie", "batch": "n"}, "no tmie and no n, which"),
        ({"batch": "zzz"}, "no zzz, which"),
    ):
        model = gru_with(axes)
        with pytest.warns(UserWarning, match=told):
            call(model, x())
        call(model, x())
    call(gru_with({"hidden": "units"}), x())


@unhooked
@pytest.mark.filterwarnings("error")
def test_without_a_scope_it_is_told_once_what_to_type():
    """Nothing is checked there; what is typed around the call makes a scope."""
    cases = [
        (lambda: module("GRU", AXES), STEPS_FIRST),
        (lambda: module("LSTM", {"seq": "time", "feature": "f"}, batch_first=True), x()),
        (lambda: module("RNN", AXES), torch.ones(5, 3)),
        (lambda: module("GRUCell", {"batch": "b"}), torch.ones(2, 3)),
        (lambda: module("Recurrent", {"seq": "time"}), STEPS_FIRST),
    ]
    for made, given in cases:
        one = made()
        with pytest.warns(UserWarning, match="no @jaxtyped function") as caught:
            one(given)
        typed = re.findall(
            r"with (@.*), and annotate its input as (x: .*)\n", str(caught[0].message)
        )[0]
        known = {"beartype": beartype_module, "jaxtyping": jaxtyping, "torch": torch}
        exec(f"{typed[0]}\ndef caller(module, {typed[1]}): return module(x)", known)  # noqa: S102
        one(given)
        known["caller"](made(), given)


@unhooked
@pytest.mark.filterwarnings("error")
def test_nothing_is_told_beside_a_scope():
    """A layer that was checked runs again, as checkpointing does; no axis is read; jaxtyping is off."""
    gru = module("GRU", AXES)
    with jaxtyped("context"):
        gru(STEPS_FIRST)
    gru(STEPS_FIRST)
    module("GRU", {"batch": "b"})(torch.ones(5, 3))
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        module("GRU", {"batch": "b"})(STEPS_FIRST)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
