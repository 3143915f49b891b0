"""The recurrent calls of one run: what each is given, and whether what it returns is read."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Conv1d, Embedding, ModuleDict, RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, steps_at
from rnnkit._diagnostics.events import Event, Recorder
from rnnkit._diagnostics.module_calls import Call, arguments, changing, each_call, from_state
from rnnkit._diagnostics.outputs import Leaves, Watch, alike, is_number, leaves, same, shape_of
from rnnkit._diagnostics.read_steps import steps_read
from rnnkit._diagnostics.report import FIXES, fail

#: Fewer calls may be anything, as two tries from one state; the order of more rows is not known.
LOOP, ROWS = 3, 256


def find_wrong_starts(baseline: Baseline, calls: Sequence[Call]) -> None:
    """Fail if calls start from a wrong state: the output changes when they get the right one."""

    def matched(state: Any, before: Any) -> Any:
        order = _order(state[0], before[0]) if before else None
        return None if order is None else (state[0], before[1][..., order, :])

    def suspect(call: Call, what: str, fix: str, right: Any = lambda _, before: before) -> None:
        """Fail if the right state, made of the given and the last one, changes the output."""
        returned: list[Any] = [None]

        def start(_: int, args: Any, kwargs: Any) -> Any:
            state = right(arguments(args, kwargs).get("hx"), returned[-1])
            return None if state is None else from_state(args, kwargs, state)

        def keep(_: int, result: Any) -> None:
            returned.append(result if call.is_cell else result[1])

        watch = each_call(call.name, start, keep)
        output = baseline.session.attempt(baseline.batch.tree(), watch=watch)
        if output is not None and not alike(baseline.normal, output):
            fail("use", what, [("fix", fix)], call.name)

    families = defaultdict[str, list[Call]](list)
    for call in calls:
        label, state, family = call.label, [*call.state.values()], families[call.name]
        for source in [made[-1] for made in families.values() if made]:
            its, made = source.label, [*source.returned.values()]
            is_swapped = alike(state, made[::-1]) and not alike(state, made)
            is_first = call.number == (source.name == call.name)
            if len(made) == 2 and (is_swapped or (is_first and _crosses(baseline, source, call))):
                what = f"{label} takes its h from the c of {its}, and its c from the h"
                names = "h, c = cell(x_t, (h, c))" if call.is_cell else "y, (h, c) = layer(x)"
                fix = f"{names}: h comes first"
                suspect(call, what, fix, lambda state, _: state and tuple(state)[::-1])
            if call.is_cell and source.name != call.name and alike([call.input], made[:1]):
                # Of this step, or of the one before.
                below = [[*one.returned.values()][:1] for one in families[source.name][-2:]]
                if any(alike(state[:1], one) for one in below):
                    what = f"{label} takes the output of {its} both as its input and as its state"
                    suspect(call, what, "a state for each cell, h[0] and h[1], and return both")
        before = [*family[-1].returned.values()] if family else []
        if len(before) == len(state) == 2:
            orders = [_order(one, two) for one, two in zip(state, before, strict=True)]
            if None not in orders and orders[0] != orders[1]:
                what = f"{label} takes the rows of h and those of c in different orders"
                fix = "h, c = h[rows], c[rows]; or rnnkit.states.select(state, rows)"
                suspect(call, what, fix, matched)
        family.append(call)
    lengths = set(map(baseline.batch.length, range(len(baseline.batch.leaves))))
    for family in families.values():
        if (times := len(family)) < LOOP:
            continue
        call, states = family[0], [[*call.state.values()] for call in family]
        zeros = not any(bool(part.any()) for state in states for part in state)
        are_steps = all(call.is_step for call in family)
        are_fresh = zeros and are_steps
        what = f"{call.label} ({type(call.module).__name__}) is called {times} times, each time"
        if all(map(_keeps_c, family, family[1:])):
            what = f"{what} with its own h, but without its own c"
            suspect(call, what, "y, (h, c) = layer(x, (h, c)): both are the state")
        elif zeros or all(alike(state, states[0]) for state in states):
            what = f"{what} from {'zeros' if zeros else 'the same state'}"
            # The first step of a target may begin it.
            follows = baseline.runs_on_less and not lengths.isdisjoint((times, times + 1))
            if (are_fresh and follows) or _goes_on(baseline, family, are_fresh=are_fresh):
                suspect(call, what, FIXES["memory"])
            elif are_steps and not zeros:
                baseline.report.notes.append(what)


def _crosses(baseline: Baseline, source: Call, call: Call) -> bool:
    """Return whether a given h was computed from c, and c from h, of a layer's call."""
    given, made = [*call.state.values()], [*source.returned.values()]
    are_new = not any(alike([one], [two]) for one in given for two in made)
    if len(given) < 2 or source.is_cell or not (are_new and all(bool(x.any()) for x in given)):
        return False
    seen: list[Any] = []

    def keep(at: int, args: Any, kwargs: Any) -> None:
        seen.extend([leaves(arguments(args, kwargs).get("hx"))] * (at == call.number))

    kept = each_call(call.name, keep)
    for part in "ch":
        turned = changing(source.name, [source.number], {part: torch.neg})
        watch: Any = lambda model, turned=turned: [*turned(model), *kept(model)]  # noqa: E731
        baseline.session.attempt(baseline.batch.tree(), watch=watch)
    moved = [[not alike([x], [y]) for x, y in zip(given, two, strict=False)] for two in seen]
    return moved == [[True, False], [False, True]]


def _order(given: Tensor, made: Tensor) -> list[int] | None:
    """Return which row of a returned state each given row is; None if that is not known."""
    if not 1 < given.dim() == made.dim() or made.shape[-2] > ROWS:
        return None
    ones, others = (x.movedim(-2, 0).flatten(1) for x in (given, made))
    equal = (ones.unsqueeze(1) == others).all(2)
    return equal.int().argmax(1).tolist() if bool((equal.sum(1) == 1).all()) else None


def _keeps_c(before: Call, after: Call) -> bool:
    """Return whether a call takes h of the one before, and zeros, or the same c again, for c."""
    given, made = [*after.state.values()], [*before.returned.values()]
    if len(given) < 2 or not alike(given[:1], made[:1]) or alike(given, made):
        return False
    return not given[1].any() or alike(given[1:], [*before.state.values()][1:])


def _goes_on(baseline: Baseline, calls: Sequence[Call], *, are_fresh: bool) -> bool:
    """Return whether steps from zeros feed each other, or parts of a sequence miss middle ones."""
    first, axis, times, name = baseline.first or 0, baseline.out_seq_dim, len(calls), calls[0].name
    whole, inputs = baseline.normal[first], list[Tensor]()
    steps = sum(call.sizes.get("seq", 1) for call in calls)
    is_long = {times, times + 1}.isdisjoint(whole.shape[1:])
    is_told = baseline.causal is True and axis is not None and whole.shape[axis] - steps in (0, 1)
    if not is_told and (is_long or not are_fresh):
        return False

    def keep(_: int, args: Any, kwargs: Any) -> None:
        inputs.append(arguments(args, kwargs)["input"].clone())

    turned = changing(name, range(1, times - 1), dict.fromkeys(("output", "h", "c"), torch.neg))
    watch: Any = lambda model: [*turned(model), *each_call(name, keep)(model)]  # noqa: E731
    output = baseline.session.attempt(baseline.batch.tree(), watch=watch) or []
    if are_fresh and not is_long and not alike(inputs[2:], [call.input for call in calls[2:]]):
        return True
    if not is_told or [*map(shape_of, output)] != [*map(shape_of, baseline.normal)]:
        return False
    row = [*map(same, whole.unbind(axis), output[first].unbind(axis))]
    return row[0] and row[-1] and not all(row)


def find_steps_as_channels(baseline: Baseline) -> None:
    """Find a batch norm that takes the steps of the input, or of a layer, for channels."""
    batch = baseline.batch
    steps_first = batch.seq_dim == 1 and batch.may_have_steps(batch.paced)
    sequences: list[Tensor] = [batch.leaves[batch.paced]] if steps_first else []
    for event in baseline.events:
        given: Any = next(iter(event.tensors), None)
        if not isinstance(given, Tensor) or given.dim() != 3 or event.is_packed:
            continue
        if event.kind == "output" and getattr(event.module, "batch_first", False):
            sequences.append(given)
        elif event.kind == "input" and isinstance(event.module, BatchNorm1d):
            known = any(same(one.to(given.dtype), given) for one in sequences)
            if known and not torch.equal(given, given.mT):
                what = f"{event.label} ({event.text}) takes seq, axis 1 of its input"
                fix = ("fix", "x.transpose(1, 2) before, and after")
                fail("use", f"{what}, for channels", [fix], event.name)


def find_shared_direction(baseline: Baseline, calls: Sequence[Call]) -> None:
    """Find a cell or layer that reads the steps both ways, while its twin is never called."""
    modules, given = dict(baseline.session.model.named_modules()), defaultdict[str, list[Any]](list)
    for call in calls:
        seq = int(getattr(call.module, "batch_first", False))
        whole = [call.input] * (call.input is not None)
        given[call.name] += whole if call.is_cell else [x for y in whole for x in y.unbind(seq)]
    for name, steps in given.items():
        one, parent = modules[name], name.rpartition(".")[0]
        # Forward and then backward, or in turn.
        is_turned = alike(steps, steps[::-1]) and not alike(steps[1:], steps[:-1])
        # Of what is chosen by a key, others are for other inputs.
        if len(steps) % 2 or not is_turned or isinstance(modules[parent], ModuleDict):
            continue
        for other, module in modules.items():
            beside = other not in given and other.rpartition(".")[0] == parent
            own, its = ([(w.shape, w.requires_grad) for w in x.parameters()] for x in (one, module))
            if beside and type(module) is type(one) and own == its:
                what = f"{name} reads the steps in both directions, and {other} is never called"
                fix = f"call {other} for one of them: its weights have the same sizes"
                fail("use", what, [("fix", fix)], other)


def find_reversed_outputs(baseline: Baseline) -> None:
    """Find outputs of a backward layer that were not flipped back: the first reads both ends."""
    steps, read = baseline.batch.steps or 0, steps_read(baseline)
    rows = [read[k].nonzero().flatten().tolist() for k in (0, 1) if k in read]
    if steps > 4 and rows == [[0, steps - 1], [0, 1, steps - 2, steps - 1]]:
        name = baseline.name(baseline.first or 0)
        what = f"{name} of step 0 depends on the first and the last step only"
        cause = ("cause", "outputs of a layer that ran backwards were not flipped back")
        fail("use", what, [cause, ("fix", "output.flip(seq_dim), before the two are joined")])


def filled(
    baseline: Baseline,
    where: Where,
    number: Callable[[Tensor], float],
    watch: Watch = lambda _: [],
) -> Leaves | None:
    """Run with a number at some steps; for tokens, in their embedding. None if it goes nowhere.

    The number, which may be a NaN, is made of the tensor that it goes into.
    """
    batch, leaf = baseline.batch, baseline.batch.leaves[baseline.batch.paced]
    mask: Any = where(batch, batch.paced)
    leaves, found = list(batch.leaves), is_number(leaf)
    if found:
        leaves[batch.paced] = leaf.masked_fill(mask, number(leaf))

    def embedded(_: Any, args: Any, output: Any) -> Any:
        nonlocal found
        if found or not args or not same(args[0], leaf):
            return output
        found = True
        return output.masked_fill(mask.unsqueeze(-1), number(output))

    def both(model: torch.nn.Module) -> list[Any]:
        tables = [m for m in model.modules() if isinstance(m, Embedding)]
        return [*(x.register_forward_hook(embedded) for x in tables), *watch(model)]

    output = baseline.session.attempt(batch.tree(leaves), watch=both)
    return output if found else None


def find_other_order(baseline: Baseline) -> None:
    """Fail if steps go into a layer in the order of features, as after a view, not a permute."""
    batch, steps, recorder = baseline.batch, baseline.batch.steps or 0, Recorder()
    layers = [e for e in baseline.events if isinstance(e.module, RNNBase | Embedding)]
    known = [x for e in layers if e.kind == "output" for x in e.tensors if isinstance(x, Tensor)]
    known.append(batch.leaves[batch.paced])
    known += [x.mT for x in known if x.dim() > 1]
    if all(any(same(one, x) for one in known) for _, x in _given(baseline.events)):
        return
    # A different one in each sample.
    at = torch.linspace(0, steps - 2, batch.size, device="cpu").round().unsqueeze(1)
    where = steps_at(torch.arange(steps, device="cpu") == at)
    filled(baseline, where, lambda _: torch.nan, recorder.watch)
    for event, x in _given(recorder.events):
        is_conv = isinstance(event.module, Conv1d)
        mask = (x if getattr(event.module, "batch_first", True) else x.transpose(0, 1)).isnan()
        hit, (rows, width) = mask.flatten(1), mask.shape[1:]
        mask = mask[hit.any(1) & ~hit.all(1)]
        # A convolution takes (batch, feature, seq), or steps for channels.
        axes = (1,) if is_conv and rows != steps else (1, 2)
        is_plain = any(mask.equal(mask.any(k, keepdim=True).expand_as(mask)) for k in axes)
        # The memory of a sample, with the steps on a different axis.
        views = [(n, rows, width // n) for n in range(2, width + 1) if width % n == 0]
        if is_conv:
            views = [(1, steps, rows * width // steps)] * (rows * width % steps == 0)
        for view in views if not is_plain else ():
            turned = mask.reshape(len(mask), *view)
            columns = turned.any(3, keepdim=True).any(1, keepdim=True)
            if turned.equal(columns.expand_as(turned)) and columns.ne(columns[:1]).any():
                what, way = f"steps go into {event.label} out of order", "in an order of its own"
                likely = ("likely", "a view or reshape where axes must change places first")
                fix = ("fix", "x.permute(...), then reshape")
                fail("coverage", f"{what}, each feature {way}", [likely, fix], event.name)


def _given(events: list[Event]) -> Iterator[tuple[Event, Any]]:
    """Yield the padded batches that go into layers."""
    for event in events:
        x = next(iter(event.tensors), None) if isinstance(event.module, RNNBase | Conv1d) else None
        if event.kind == "input" and not event.is_packed and len(shape_of(x) or ()) == 3:
            yield event, x
