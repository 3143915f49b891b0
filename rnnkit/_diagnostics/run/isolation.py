"""A user's model is never run: copies of it are, each from the same state."""

import copy
import operator
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refuse
from rnnkit._diagnostics.run.copies import Pristine, attached_like, in_mode
from rnnkit._diagnostics.run.outputs import (
    Given,
    JoinedAxes,
    Leaves,
    Watch,
    equal,
    named_leaves,
    split_joined_axes,
)
from rnnkit._diagnostics.run.uncopied import UncopiedError, unwrapped
from rnnkit._diagnostics.run.whole_batch import refuse_for_part


class EscapedError(ArgumentError):
    """The model runs modules of the one that was given, past the copy."""


class SpentError(BaseException):
    """As many runs were made as may be; nothing takes it for an exception of the model."""


@dataclass
class Tally:
    """What a session and its sessions on wider copies have in common.

    Attributes:
        passes: how often copies ran.
        most: how often they may run; None if that is not limited.
        escaped: what a message calls a module of the user's model itself that ran; empty if none
            did.
    """

    passes: int = 0
    most: int | None = None
    escaped: str = ""

    def count(self) -> None:
        """Count a pass that begins; raise if no more may be made."""
        if self.most is not None and self.passes >= self.most:
            raise SpentError
        self.passes += 1


class Session:
    """Runs private copies of a model, each from the same state; the model itself is never run.

    Attributes:
        pristine: makes the copies.
        model: a copy that is never run, to look at.
        last: the copy that ran last.
        mode: a context that the model is called in.
        names: by leaf of the last output (one tensor of what it returned), its path there: ``[0]``.
        joined_axes: by the index of a leaf, its axis that has samples and steps in one.
        size_of: how many samples some inputs have.
        returned: the last output, as the model returned it.
        drawn: names of the sources of random numbers that runs draw from.
    """

    def __init__(self, model: torch.nn.Module, call: Callable[..., Any] | None = None) -> None:
        """Copy the model; ``call(copy, *inputs)``, if given, calls a copy in a user's own way."""
        self.pristine = Pristine(unwrapped(model))
        self.model = self.last = self.pristine.copy()  # one that is never run, and that ran last
        self.tally = Tally()
        self.mode: AbstractContextManager[Any] = nullcontext()  # in which the model is called
        self.names: list[str] = []  # of the leaves of the last output
        self.joined_axes: Mapping[int, JoinedAxes] = {}
        self.size_of: Callable[[Given], int] = len  # how many samples some inputs have
        self.returned: Any = None  # the last output, as the model returned it
        self.own_call = call  # the user's, if any
        self.call: Callable[..., Any] = call or operator.call
        self.drawn = set[str]()  # from which sources of random numbers
        self.is_first = True
        self._is_written = False
        self._start = _random_states()
        self._thread = threading.get_ident()

    def refuse(self, module: Any = None, _: Any = None) -> None:
        """Refuse to run a module of the user's model, or to go on after one ran, in this thread.

        torch calls this as a hook before each module; only those of the model itself have a name in
        ``originals``.
        """
        if threading.get_ident() != self._thread:
            return
        tally = self.tally
        tally.escaped = self.pristine.originals.get(id(module), tally.escaped)
        if tally.escaped:
            way = "through a closure, a global or a weak reference: rnnkit only runs copies of it"
            message = f"forward calls {tally.escaped}, and not its copy, {way}"
            fix = "self.head(x) in forward, not model.head(x) of a global model"
            refuse(EscapedError, "model", message, fix=fix, code="model-escaped")

    @property
    def notes(self) -> list[str]:
        """What a user should know of the copies: what they share with the model."""
        names = ", ".join(self.pristine.shared)
        return [f"not copied, but shared with the model: {names}"] if names else []

    def wider(self, least: torch.dtype, mode: AbstractContextManager[Any]) -> "Session":
        """Return a session on copies in a dtype at least as wide, run in a context ``mode``."""
        other = copy.copy(self)
        other.pristine = self.pristine.wider(least)
        other.mode = mode
        return other

    def splitting(
        self, joined_axes: Mapping[int, JoinedAxes], size_of: Callable[[Given], int]
    ) -> "Session":
        """Return a session that splits some joined axes of each output; itself without any.

        ``size_of(inputs)`` returns how many samples inputs have.
        """
        if not joined_axes:
            return self
        other = copy.copy(self)
        other.joined_axes = joined_axes
        other.size_of = size_of
        return other

    def drawn_sources(self) -> dict[str, Any]:
        """Return the sources of random numbers that the model draws from, by name."""
        return {name: source for name, source in random_sources().items() if name in self.drawn}

    def restart(self) -> None:
        """Put the sources of random numbers that the model draws from back to where they stood."""
        for name, source in self.drawn_sources().items():
            source.set_state(self._start[name])

    def fresh(self, *, training: bool = False) -> torch.nn.Module:
        """Return a copy of the model that has not run, in eval or train mode.

        The next random numbers are the first ones again.
        """
        self.restart()
        copy = self.pristine.copy()
        return in_mode(copy, training=True) if training else copy

    def attempt(self, inputs: Given, **options: Any) -> Leaves | None:
        """Return the leaves (tensors) of the output of a run, see :meth:`run`.

        None if the model raises.
        """
        try:
            return self.run(inputs, **options)
        except UncopiedError:  # which says nothing of the inputs: memory has run out
            raise
        except Exception:  # noqa: BLE001, S110 - a model may refuse as it likes
            pass
        self.refuse()
        return None

    def run(
        self, inputs: Given, *, on: torch.nn.Module | None = None, watch: Watch | None = None
    ) -> Leaves:
        """Run a copy of the model, and return the leaves of its output: its tensors in one list.

        ``on`` is a copy to run, by default a new one; ``watch`` puts hooks on it. The run is
        repeated if it wrote into weights, or if the first run is found to draw random numbers.
        """
        is_done = False
        while not is_done:
            notices = self.is_first
            self.last = self.model  # so that what the last run wrote is given back
            self.last = self.fresh() if on is None else on
            args, kwargs = copied_inputs(inputs)
            self.tally.count()
            # The mode is entered first, so that what watches sees the model's calls alone.
            with self.mode:
                hooks = watch(self.last) if watch else ()
                with self.watched(hooks, notices=notices), torch.no_grad():
                    self.returned = self.call(self.last, *args, **kwargs)
            self.is_first = False  # a run that the model refuses may draw nothing
            is_done = on is not None or not (self._is_written or (notices and self.drawn))
        found = self.leaves_of(self.returned, inputs)
        return [x.detach().clone() if isinstance(x, Tensor) else x for x in found]

    @contextmanager
    def watched(self, hooks: Iterable[Any] = (), *, notices: bool = True) -> Iterator[None]:
        """Open a context around a run that removes its hooks, and undoes its writes into weights.

        With ``notices``, it also finds out which sources of random numbers the run draws from, and
        whether it wrote into weights by ``.data``.
        """
        before = _random_states() if notices else {}
        try:
            yield
        except SystemExit as error:  # which would end the caller's program
            message = "the model calls sys.exit"
            raise RuntimeError(message) from error
        finally:
            for hook in reversed([*hooks]):
                hook.remove()
            self._is_written = self.pristine.undo_writes(thorough=notices)
            now = _random_states() if notices else {}
            drawn = {name for name in before if not equal(before[name], now[name])}
            if drawn - self.drawn and threading.active_count() > 1:
                time.sleep(0.05)  # what also moves without a run is drawn by other threads
                drawn = {name for name in drawn if equal(now[name], _random_states()[name])}
            self.drawn |= drawn
            self.refuse()

    def refuse_for_part(self, given: Given, caller: str, error: Exception) -> None:
        """Refuse inputs that raised an ``error``, if the model accepts a part of them: say which.

        ``caller`` is the public function that was called.
        """
        self.tally.most = None
        own_call = self.own_call
        forward = partial(own_call, self.model) if own_call else self.model.forward

        def accepts(inputs: Given) -> bool:
            """Return whether the model runs on some inputs."""
            return self.attempt(inputs) is not None

        refuse_for_part(accepts, given, forward, caller, error)

    def close(self) -> None:
        """Give back the copies."""
        self.returned = None
        self.pristine.close()

    def leaves_of(self, output: Any, inputs: Given) -> Leaves:
        """Return the leaves of an output: tensors, with an axis for samples and one for steps.

        ``inputs`` are those of the run: they tell how many samples a joined axis has.
        """
        named = named_leaves(output, stack=True)
        self.names = [name for name, _ in named]
        # What is on the meta device has no numbers to compare.
        found = [None if isinstance(leaf, Tensor) and leaf.is_meta else leaf for _, leaf in named]
        return split_joined_axes(found, self.joined_axes, self.size_of(inputs))


def copied_inputs(inputs: Given) -> Any:
    """Return copies of the inputs, since a model may write into them."""
    return pytree.tree_map_only(Tensor, attached_like, inputs)


def eagerly() -> AbstractContextManager[object]:
    """Return a context that runs compiled functions eagerly.

    To compile takes longer than some runs.
    """
    compiled = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def random_sources() -> dict[str, Any]:
    """Return the process's sources of random numbers by name.

    Each has ``get_state``, ``set_state``.
    """
    found: dict[str, Any] = {"torch": torch.default_generator}
    found |= {f"torch.cuda:{k}": one for k, one in enumerate(torch.cuda.default_generators)}
    if (numpy := sys.modules.get("numpy")) is not None:
        found["numpy.random"] = numpy.random
    # Last: what checks annotations at random may also draw from it.
    found["random"] = SimpleNamespace(get_state=random.getstate, set_state=random.setstate)
    return found


def _random_states() -> dict[str, Any]:
    """Return where each source of random numbers stands now, by name."""
    return {name: source.get_state() for name, source in random_sources().items()}


@contextmanager
def without_fast_attention() -> Iterator[None]:
    """Switch off the fast path of attention in eval mode, which reads a float mask as booleans."""
    backend = torch.backends.mha
    before = backend.get_fastpath_enabled()
    backend.set_fastpath_enabled(False)
    try:
        yield
    finally:
        backend.set_fastpath_enabled(before)


@contextmanager
def session(
    model: torch.nn.Module, call: Any = None, given: Given | None = None, caller: str = ""
) -> Iterator[Session]:
    """Open a session on a model for a ``with`` block.

    Leave random numbers as they were, and no copies.

    ``call`` calls a copy in a user's way; ``given``, the inputs, and ``caller``, the public
    function, are for messages.
    """
    with torch.inference_mode(mode=False), eagerly(), without_fast_attention():
        opened = Session(model, call)
        hook = register_module_forward_pre_hook(opened.refuse)
        try:
            yield opened
        except Exception as error:
            if given is not None:
                opened.refuse_for_part(given, caller, error)
            # An error of the model's own leads a debugger to the copy that it was raised in.
            if isinstance(error, ArgumentError):
                opened.close()
            raise
        else:
            opened.close()
        finally:
            hook.remove()
            opened.restart()
