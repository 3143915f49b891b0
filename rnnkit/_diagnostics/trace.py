"""``trace``: which state went where, call by call, and what looks like a mistake in that.

A mark is a fact about one call, not a proof: it rests on which tensor is which. What correct
programs do as well is not marked: a state that starts two passes, windows that are not joined,
candidates that are scored from one state.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.model import check_model
from rnnkit._diagnostics.options import check_option
from rnnkit._diagnostics.run.isolation import copied_inputs, eagerly, session
from rnnkit._diagnostics.run.module_calls import (
    KINDS,
    Call,
    arguments_by_name,
    is_layer,
    is_traced,
    split_result,
    state_by_name,
    watch_forward,
)
from rnnkit._diagnostics.run.outputs import Given, tensors_of
from rnnkit._diagnostics.run.places import goes_on, place_of
from rnnkit._diagnostics.trace_table import Origin, Row, Trace, from_zeros, state_in_words


def trace(
    run: torch.nn.Module | Callable[..., Any],
    /,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    call: Callable[..., Any] | None = None,
) -> Trace:
    """Run a model once, and record where each hidden state came from and whether it was used.

    Args:
        run: a module, which is copied and runs in eval mode; or a function that calls modules, such
            as a loop over cells, or a method of a model.
        *inputs: the positional arguments of ``run``.
        kwargs: the keyword arguments of ``run``.
        call: a function ``call(run, *inputs, **kwargs)`` that calls ``run``. None means
            ``run(*inputs, **kwargs)``. With a lambda as ``run``, rows would lack module names.

    Returns:
        A table with a row for each call of a recurrent module. Marks below a row are hints at a
        mistake, not proof. They say that a state is never advanced, never used, or part of an
        earlier graph, that h and c are swapped, or that windows of a sequence start from zeros.

    Raises:
        ArgumentError: if ``run`` is a class or cannot be called, or if ``kwargs`` or ``call`` has
            the wrong type.
        Exception: any error that the run raises; its ``trace`` attribute has the rows so far.

    >>> cell = torch.nn.GRUCell(3, 4)
    >>> def loop(x, h):
    ...     return [cell(x_t, h) for x_t in x]  # h is never advanced
    >>> len(rnnkit.trace(loop, torch.ones(3, 2, 3), torch.zeros(2, 4)).marked)
    2
    """
    if isinstance(run, type) or not callable(run):
        check_model("trace", run)
    check_option("kwargs", kwargs)
    check_option("call", call)
    given = Given(inputs, dict(kwargs or {}))
    if not isinstance(run, torch.nn.Module):
        called = run if call is None else partial(call, run)
        return _Run(getattr(run, "__self__", None), []).traced(called, copied_inputs(given))
    with session(run, call, given, "trace") as opened:
        copy = opened.pristine.copy()
        traced = _Run(copy, opened.notes)
        with opened.watched(traced.follow(copy)):
            return traced.traced(partial(opened.call, copy), copied_inputs(given))


trace.__module__ = "rnnkit"


#: What a call returned: the number of its row, and output, h or c.
Returned = tuple[int, str]


class _Run:
    """Writes down the calls of recurrent modules in one thread while a model or function runs.

    Their tensors are kept alive, so that no other tensor gets their memory or id. What a call
    returned is known by its row and name, ``(0, "h")``.
    """

    def __init__(self, model: Any, notes: list[str]) -> None:
        """Take a copy of the model, for its modules' names (None of a function), and notes."""
        self.notes = notes
        named = model.named_modules() if isinstance(model, torch.nn.Module) else ()
        self.names = {id(module): name for name, module in named}
        self.thread = threading.get_ident()
        # Modules of a copy whose forward is watched, or that of a layer around them, by id.
        self.followed = set[int]()
        self.rows: list[Row] = []
        self.calls: list[Call] = []
        self.by_memory: dict[int, Returned] = {}  # what calls returned, by its memory
        self.by_node: dict[Any, Returned] = {}  # and by its place in the graph
        self.with_graph = set[Returned]()  # what of it may be learned from
        self.read = set[Returned]()  # what later calls, or the result, are made of
        self.learned = set[Returned]()  # what a backward has gone through
        self.taken_back = set[Returned]()  # what the module that returned it took back
        self.marks_if_freed: list[tuple[Row, str]] = []  # marks, if a backward fails

    def follow(self, copy: torch.nn.Module) -> list[Any]:
        """Watch ``forward`` of a copy's recurrent modules, as some call it; return the hooks."""
        handles = []
        layers: tuple[str, ...] = ()  # how names begin of what has no rows of its own
        for name, module in copy.named_modules():
            if name.startswith(layers):
                self.followed.add(id(module))
            elif is_traced(name, module):
                self.followed.add(id(module))
                handles.append(watch_forward(module, partial(self.write_down, module)))
                if not isinstance(module, KINDS) and is_layer(module):
                    layers += (f"{name}." if name else "",)
        return handles

    def traced(self, run: Callable[..., Any], given: Given) -> Trace:
        """Call ``run`` with gradients, and return its rows; if it fails, they are on the error."""

        def hook(module: torch.nn.Module, args: Any, *rest: Any) -> None:
            """Write down a call of a layer or cell of torch's, also if it raised."""
            if isinstance(module, KINDS) and id(module) not in self.followed:
                # Of a call that raised, torch passes no arguments by name.
                self.write_down(module, args, *(rest if rest[1:] else ({}, *rest)))

        handle = modules.register_module_forward_hook(hook, with_kwargs=True, always_call=True)
        try:
            with torch.enable_grad(), eagerly():
                # What has a smaller number was made before.
                node: Any = torch.ones((), requires_grad=True, device="cpu").clone().grad_fn
                self.first = node._sequence_nr()  # noqa: SLF001
                result = run(*given.args, **given.kwargs)
        except BaseException as error:
            vars(error)["trace"] = self.judged(None, error)
            error.add_note(f"rnnkit.trace: {len(self.rows)} rows until then in this error's .trace")
            raise
        finally:
            handle.remove()
            # torch would leave a mark, by which it calls all modules the slow way.
            modules._global_forward_hooks_with_kwargs.pop(handle.id, None)  # noqa: SLF001
        return self.judged(result, None)

    def write_down(self, module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        """Write down a call, and mark what looks like a mistake by then; no result: it raised."""
        if threading.get_ident() != self.thread:
            return
        if not isinstance(module, KINDS):
            self._note_read(result)  # its cells have rows of their own, and are used
        named = arguments_by_name(args, kwargs)
        kind = type(module).__name__
        input = named.get("input")
        name = self.names.setdefault(id(module), f"{kind}-{len(self.names)}")
        call = Call(len(self.rows), name, module, input, state_by_name(named.get("hx")))
        origins = {member: self.origin(x) for member, x in call.state.items()}
        self._note_read(input)
        spec = " ".join(f"{axis}={size}" for axis, size in call.sizes.items()) or "?"
        if isinstance(input, PackedSequence):
            spec = f"packed {spec}"
        row = Row(call.number, name, kind, spec, state_in_words(call.state, origins))
        if [origin.part for origin in origins.values()] == ["c", "h"]:
            row.marks += [f"its {member} is {origin.text}" for member, origin in origins.items()]
        for member, origin in origins.items():
            self._mark_origin(row, call, member, origin)
        error = sys.exc_info()[1] if result is None else None
        if error is not None:
            row.marks.append(f"it raised {type(error).__name__}")
        self._keep_returned(call, result)
        self.rows.append(row)
        self.calls.append(call)

    def _note_read(self, tree: Any) -> None:
        """Note which calls returned what some tensors are made of: that is read."""
        for tensor in tensors_of(tree):
            self.origin(tensor)

    def _mark_origin(self, row: Row, call: Call, member: str, origin: Origin) -> None:
        """Mark a row whose state's member, h or c, is of an older graph, or has seen its input."""
        x: Any = call.state[member]
        node = (x if x._base is None else x._base).grad_fn  # noqa: SLF001
        is_old = node is not None and node._sequence_nr() < self.first  # noqa: SLF001
        at = origin.row
        if at < 0 and is_old and torch.is_grad_enabled():
            row.marks.append(f"its {member} belongs to the graph of an earlier run: detach it")
        elif at >= 0 and self.calls[at].module is call.module:
            self.taken_back.add((at, origin.part))
        if not self.learned.isdisjoint((at, one) for one in ("output", "h", "c")):  # by a backward
            graph = f"the graph of row {at}, which backward has freed: detach it"
            self.marks_if_freed.append((row, f"its {member} belongs to {graph}"))
        is_end = at >= 0 and member == "h" and not (call.is_step or "computed" in origin.text)
        if is_end and place_of(self.calls[at].output) == place_of(call.input):
            end = "from its end state: step 0 has then read the whole input"
            row.marks.append(f"reads the output of row {at} {end}")

    def _keep_returned(self, call: Call, result: Any) -> None:
        """Keep what a call returned, by memory and graph, and note what of it is learned from."""
        if call.is_cell:
            call.returned = state_by_name(result)
        else:
            call.output, call.returned = split_result(call.module, result)
        number = call.number
        self.by_memory |= {place_of(x)[0]: (number, member) for member, x in call.returned.items()}
        for member, x in {"output": call.output, **call.returned}.items():
            if isinstance(x, Tensor) and x.requires_grad:
                made = (number, member)
                self.by_node[x.grad_fn, x.output_nr] = made
                self.with_graph.add(made)
                # The hook outlives the run, and must not hold it, nor return anything.
                note: Any = lambda _, made=made, learned=self.learned: learned.add(made)  # noqa: E731
                x.register_hook(note)  # type: ignore[no-untyped-call]

    def near(self, tensors: Iterable[Tensor]) -> set[Returned]:
        """Return the nearest results of calls, as (row, name), that tensors were computed from.

        The search walks back through autograd's graph; ``by_node`` has the results by their node
        there.
        """
        waiting: list[Any] = [(x.grad_fn, x.output_nr) for x in tensors]
        seen = set(waiting)
        found = set[Returned]()
        while waiting:
            one = waiting.pop()
            node, _ = one
            if one in self.by_node:
                found.add(self.by_node[one])
            elif node is not None:
                new = set(node.next_functions) - seen
                seen |= new
                waiting += new
        return found

    def origin(self, tensor: Tensor) -> Origin:
        """Return the row (-1: none) that a tensor is of, or is computed from, and its part."""
        place = place_of(tensor)[0]
        if place in self.by_memory:  # (row, part) of what calls returned
            found = {self.by_memory[place]}
            how = ""
            is_detached = not tensor.requires_grad and found <= self.with_graph
            cut = ", detached" if is_detached else ""
        else:
            # What a call returned ends the search: its c and its h are computed from the same.
            found = self.near([tensor])  # the nearest results in the graph before it
            how = "computed from "
            cut = ""
        self.read |= found  # whose origin is asked is used
        if not found:
            return Origin(-1, "", "from elsewhere")
        row = max(at for at, _ in found)
        part = " and ".join(sorted({part for at, part in found if at == row}, reverse=True))
        return Origin(row, part, f"{how}{part} of row {row}{cut}")

    def judged(self, result: Any, error: BaseException | None) -> Trace:
        """Mark states that were not passed on, or are of a freed graph; return the rows."""
        self._note_read(result)  # what the result is made of is used
        results = tensors_of(result)
        if "second time" in str(error):  # as torch says it
            for row, text in self.marks_if_freed:
                row.marks.append(text)
        before: dict[Any, Call] = {}
        for call, row in zip(self.calls, self.rows, strict=True):
            row.used = self._is_used(call, ran=error is None)  # None: nobody can tell
            last = before.get(call.module)  # the call before of the same module
            before[call.module] = call
            if last is None:
                continue
            if call.is_step and last.is_step:
                self._mark_step(call, last)  # from the same state again, or from zeros
            else:
                self._mark_chunk(call, last, results)  # from zeros, where its input goes on
        return Trace(self.rows, self.notes)

    def _is_used(self, call: Call, *, ran: bool) -> bool | None:
        """Return whether a call's returned state was read; None if nobody can tell."""
        returned = {(call.number, member) for member in call.returned}
        if returned & (self.read | self.learned):  # by a call or the result; by a backward
            return True
        has_graph = ran and any(x.grad_fn for x in call.returned.values())
        return False if has_graph else None

    def _is_dropped(self, call: Call, last: Call) -> bool:
        """Return whether a call starts from zeros while the last call's state is unused."""
        return self.rows[call.number].state == "zeros" and self.rows[last.number].used is False

    def _mark_step(self, call: Call, last: Call) -> None:
        """Mark a step that starts from what the ``last`` one started from, or again from zeros."""
        row = self.rows[call.number]
        at = last.number
        state = call.state
        # Two sequences may begin alike, and candidates from the state of another module.
        same = [
            member
            for member, x in state.items()
            if place_of(x) == place_of(last.state.get(member))
            if self.origin(x).row < 0 and (at, member) not in self.taken_back  # of no call
        ]
        if same:
            part = "state" if same == [*state] else same[0]
            row.marks.append(f"the same {part} as in row {at}: it is never advanced")
            return
        is_loop = call.is_cell or "batch=1" not in row.spec.split()  # else over the samples
        if is_loop and self._is_dropped(call, last) and self.rows[at].state == "zeros":
            row.marks.append(from_zeros(at))

    def _mark_chunk(self, call: Call, last: Call, results: Sequence[Tensor]) -> None:
        """Mark a chunk from zeros that goes on where the ``last`` one ended, in one sample.

        ``results`` are tensors of the run's result: one of them has to read both chunks.
        """
        base = getattr(last.input, "_base", None)
        if base is None or not self._is_dropped(call, last) or base.dim() != last.input.dim():
            return  # with a further axis they may be samples in their own right, as sentences are
        axis = int(call.module.batch_first and base.dim() == 3)
        at = last.number
        if not goes_on(last.input, call.input, axis):
            return
        # A result as long as the sequence reads both, and not by way of another call.
        joined = self.near(x for x in results if base.shape[axis] in x.shape)
        if {(at, "output"), (call.number, "output")} <= joined:
            onward = f"its input continues where the input of row {at} ended"
            self.rows[call.number].marks.append(f"{onward}, but it {from_zeros(at)}")
