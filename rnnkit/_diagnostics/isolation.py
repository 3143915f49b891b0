"""A user's model is never run: copies of it are, each from the same state.

The first run shows which weights it writes, and from which sources it draws random numbers: those
start each run alike. The others are left to other threads.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal
from rnnkit._diagnostics.copies import Pristine, unwrapped
from rnnkit._diagnostics.outputs import Flat, Given, Leaves, Watch, equal, named_leaves, split_flats

#: Calls a model in another way than by its ``forward``.
Call = Callable[..., Any]

#: So many seconds show whether other threads draw random numbers.
WAIT = 0.05


class EscapedError(ArgumentError):
    """The model runs modules of the one that was given, past the copy."""

    __module__ = "rnnkit"


class Session:
    """A model whose copies can be run any number of times, in eval mode."""

    def __init__(self, model: torch.nn.Module, call: Call | None = None) -> None:
        """Copy the model; a call, if there is one, calls a copy with what is given."""
        self.pristine = Pristine(unwrapped(model))
        self.model = self.last = self.pristine.model  # one that is never run, and that ran last
        self.passes = 0
        self.names: list[str] = []  # of the leaves of the last output
        self.flats: dict[int, Flat] = {}  # leaves in which samples and steps are one axis
        self.size_of: Callable[[Given], int] = len  # how many samples some inputs have
        self.returned: Any = None  # the last output, as the model returned it
        self.is_wrapped = call is not None
        self.call = call or (lambda model, *args, **kwargs: model(*args, **kwargs))
        self.drawn: set[str] = set()  # from which sources of random numbers
        self._start = states()  # of these
        self.stack = ExitStack()  # closed with the session
        self.wider: list[Session] = []  # on copies in a wider dtype
        self._is_first, self._is_written = True, False
        self._thread = threading.get_ident()
        self._escaped = ""  # a module of the model itself that ran

    def refuse(self, module: torch.nn.Module, _: Any) -> None:
        """Refuse to run a module of the model itself in the thread of the session."""
        name = self.pristine.originals.get(id(module))
        if name is not None and threading.get_ident() == self._thread:
            self._escaped = name
            self._check_escaped()

    def _check_escaped(self) -> None:
        if self._escaped:
            way = "by way of a closure, a global or a weak reference: only a copy is run"
            message = f"forward calls {self._escaped}, and not its copy, {way}"
            refusal(EscapedError, "model", message, code="model-escaped")

    def fresh(self) -> torch.nn.Module:
        """Return a copy that has not run, and let what is drawn be the same again."""
        self.restart()
        return self.pristine.copy()[0]

    def restart(self) -> None:
        """Put the sources that the model draws from back to where they stood."""
        for name in self.drawn:
            sources()[name].write(self._start[name])

    def attempt(self, inputs: Given, watch: Watch | None = None) -> Leaves | None:
        """Run a copy of the model, see :meth:`run`; None if it refuses."""
        with suppress(Exception):  # a model may refuse as it likes
            return self.run(inputs, watch=watch)
        self._check_escaped()
        return None

    def run(
        self, inputs: Given, *, on: torch.nn.Module | None = None, watch: Watch | None = None
    ) -> Leaves:
        """Run a copy of the model, or a second time if that writes or draws; return the leaves."""
        if self._is_first:
            self._is_first = False
            with self.watched():
                output = self._run(self.fresh(), inputs)
            if not (self._is_written or self.drawn or on or watch):
                return output
        while True:
            with self.watched(notices=False):
                output = self._run(self.fresh() if on is None else on, inputs, watch)
            if on is not None or not self._is_written:
                return output

    @contextmanager
    def watched(self, *, notices: bool = True) -> Iterator[None]:
        """Undo what a run writes into weights, and notice what it draws, or writes unseen."""
        before = {n: x for n, x in states().items() if n not in self.drawn} if notices else {}
        try:
            yield
        finally:
            self._is_written = self.pristine.written(thorough=notices)
            self.drawn |= drawn_since(before)
            self._check_escaped()

    def _run(self, copy: torch.nn.Module, inputs: Given, watch: Watch | None = None) -> Leaves:
        self.passes += 1
        self.last = copy
        given, _ = private(inputs)
        hooks = watch(copy) if watch else []
        try:
            with torch.no_grad():
                self.returned = self.call(copy, *given.args, **given.kwargs)
        finally:
            for hook in reversed(hooks):
                hook.remove()
        found = self.leaves_of(self.returned, inputs)
        return [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in found]

    def leaves_of(self, output: Any, inputs: Given) -> Leaves:
        """Return the leaves of what a run on some inputs returned."""
        named = named_leaves(output, stack=True)
        self.names = [name for name, _ in named]
        # What is on the meta device has no numbers to compare.
        found = [None if isinstance(leaf, Tensor) and leaf.is_meta else leaf for _, leaf in named]
        return split_flats(found, self.flats, self.size_of(inputs)) if self.flats else found


def private(inputs: Given) -> tuple[Given, list[Tensor]]:
    """Copy what a model is given, since it may write into that; list copies of what had a graph."""
    attached: list[Tensor] = []

    def copied(tensor: Tensor) -> Tensor:
        twin = tensor.detach().clone()
        if tensor.grad_fn is not None:
            attached.append(twin)
        return twin.requires_grad_(tensor.requires_grad)

    return pytree.tree_map_only(Tensor, copied, inputs), attached


def eagerly() -> AbstractContextManager[object]:
    """Let what was compiled run as it was written: a compiler is of no use to a few runs."""
    compiled = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _refuse_batch(opened: Session, given: Given, caller: str, error: Exception) -> None:
    """Refuse a loader's batch that was given as one input, if the model takes only its parts."""
    batch = given.args[0] if len(given.args) == 1 else None
    if not isinstance(batch, list | tuple) or opened.attempt(given) is not None:
        return
    kind = f"a {type(batch).__name__} of {len(batch)}"
    message = f"the model does not take {kind} as one input: it takes the parts of a batch"
    for count in range(len(batch), 0, -1):
        if opened.attempt(Given(tuple(batch[:count]), given.kwargs)) is not None:
            part = "batch[0]" if count == 1 else f"*batch[:{count}]"
            typed = f"{part}), if the rest is not for the model" if batch[count:] else "*batch)"
            fix = ("fix", f"rnnkit.{caller}(model, {typed}")
            refusal(ArgumentError, "inputs", message, "", fix, code="batch-whole", source=error)


class Source(NamedTuple):
    """How to read and write the state of a source of random numbers."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def sources() -> dict[str, Source]:
    """Return the sources of the process, by name."""
    generator, cuda, numpy = torch.default_generator, torch.cuda, sys.modules.get("numpy")
    found = {"torch": Source(generator.get_state, generator.set_state)}
    if cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["torch.cuda"] = Source(cuda.get_rng_state_all, cuda.set_rng_state_all)
    if numpy is not None:
        found["numpy.random"] = Source(numpy.random.get_state, numpy.random.set_state)
    # Last: what checks annotations at random may draw from it, too.
    found["random"] = Source(random.getstate, random.setstate)
    return found


def states() -> dict[str, Any]:
    """Return where the sources stand."""
    return {name: source.read() for name, source in sources().items()}


def drawn_since(before: dict[str, Any]) -> set[str]:
    """Return the sources that a run drew from; what moves without a run, other threads draw."""
    now = states() if before else {}
    drawn = {name for name, state in before.items() if not equal(state, now[name])}
    if drawn and threading.active_count() > 1:
        time.sleep(WAIT)
        later = states()
        drawn = {name for name in drawn if equal(now[name], later[name])}
    return drawn


@contextmanager
def session(
    model: torch.nn.Module, call: Call | None = None, given: Given | None = None, caller: str = ""
) -> Iterator[Session]:
    """Open a session on a model; leave random numbers as they were, if it draws any."""
    with torch.inference_mode(mode=False), eagerly():
        opened = Session(model, call)
        with opened.stack:
            opened.stack.callback(opened.restart)
            opened.stack.callback(register_module_forward_pre_hook(opened.refuse).remove)
            try:
                yield opened
            except Exception as error:
                if given is not None:
                    _refuse_batch(opened, given, caller, error)
                raise
