"""Why a state of the wrong shapes came: what people type, as a function on sizes."""

from collections.abc import Callable

from rnnkit._base.message import count
from rnnkit._base.state import PAIR
from rnnkit._checks.call_spec import CallSpec, RefusalCause
from rnnkit._checks.causes.wrong_state import Shape, Sizes, WrongState, by_meaning

OUTPUT_FIX = "output, hx = ..., since a layer returns its output first and its state second"


def output_shape(spec: CallSpec) -> Shape | None:
    """Return the shape of a layer's output over a padded batch; None for any other kind of call."""
    if spec.kind != "layer" or spec.batch is None:
        return None
    width = spec.state_axes[0][-1].size or 0
    return (*spec.actual[:-1], 2 * width if spec.module.bidirectional else width)


def cause_of(wrong: WrongState) -> RefusalCause:
    """Return why a state of wrong shapes does not fit, and what makes it fit.

    In a fix, ``{}`` stands for the tensor of the state that is wrong.
    """
    got = wrong.got
    want = wrong.want
    name = wrong.name
    if len(wrong.shapes) == PAIR and wrong.shapes == wrong.wants[::-1]:
        state = wrong.spec.state
        return RefusalCause(
            "state-swapped",
            "h and c are swapped: each has the shape that the other should have",
            f"({state}[1], {state}[0]), since h comes first",
        )
    if len(got) == len(want):
        return _cause_of_sizes(wrong)
    if _is_for_batch(wrong):
        steps = wrong.spec.actual[0]
        return RefusalCause(
            "layout-unbatched",
            "the input is read as one unbatched sequence, but it looks like a batch",
            f"input.unsqueeze({int(wrong.spec.batch_first)})",
            evidence=f"{name} has batch {steps}, which is axis 0 of the input",
        )
    headline = f"{name} has {count(len(got), 'axis', 'axes')} instead of {len(want)}"
    return RefusalCause("state-rank", headline, _of_rank(wrong) or wrong.zeros)


def _is_for_batch(wrong: WrongState) -> bool:
    """Return whether an unbatched input looks like a batch: the state has its axis 0 as samples."""
    spec = wrong.spec
    steps = spec.actual[0]
    if spec.kind != "layer" or spec.batch is not None or steps == 1 or not wrong.is_whole:
        return False
    return all(got == (want[0], steps, *want[1:]) for got, want in wrong.pairs)


def _cause_of_sizes(wrong: WrongState) -> RefusalCause:
    """Return why a state of the right rank has wrong sizes: the first that explains all tensors.

    ``wrong`` has the shapes that came and those wanted. If no question explains them, the cause is
    that of the first wrong tensor alone.
    """
    for question in (_transposed, _another_batch, _two_directions, _an_output):
        cause = question(wrong)
        if cause is not None:
            return cause
    return _cause_of_one(wrong)


def _transposed(wrong: WrongState) -> RefusalCause | None:
    """Ask whether the axes of layers and samples have changed places; None if not.

    ``wrong`` has the shapes of the state's tensors that do not fit, and those that are wanted.
    """
    spec = wrong.spec
    is_made = wrong.is_made_by(lambda got, _: Sizes(got.batch, got.rows, got.width))
    if not spec.has_rows or not is_made:
        return None
    move = "rnnkit.states.from_batch_first({})"
    if spec.state_batch_first:
        move = "rnnkit.states.batch_first({})"
    headline = f"the layers axis and the batch axis of {wrong.name} seem to be swapped"
    option = spec.with_option(f"state_batch_first={not spec.state_batch_first}")
    return RefusalCause(
        "state-transposed", headline, move, f"{option}, to pass states in this layout"
    )


def _another_batch(wrong: WrongState) -> RefusalCause | None:
    """Ask whether a state is right for a batch of another size, and which one that was.

    It may be the steps (another layout), one sample, beams that share a state, or a larger batch
    that ended. None if more than the batch is wrong, or if it is wrong in no such way.
    """
    if not wrong.is_made_by(lambda got, want: Sizes(got.rows, want.batch, got.width)):
        return None
    spec = wrong.spec
    came, wanted = wrong.sizes[0]
    batches = {got.batch for got, _ in wrong.sizes}
    headline = _of_another_batch(wrong)
    option = _option(spec)
    # Zeros would hide a mistake: they come last, unless the state is too large.
    new = f"{wrong.zeros}, if the sequences are new"
    # If one tensor of a pair fits, an input of another layout would make that one wrong.
    if batches == {spec.seq} and wrong.is_whole and spec.kind != "packed":
        return spec.other_layout(f"{wrong.name} has batch {came.batch}")
    if batches == {1}:
        return RefusalCause(
            "state-one-sample",
            f"{wrong.name} is for one sample, but the input has {wanted.batch}",
            f"rnnkit.states.expand({{}}, {wanted.batch}{option}), if all samples start from it",
            new,
        )
    beams = wanted.batch // max(came.batch, 1)
    if batches == {came.batch} and beams * came.batch == wanted.batch:
        return RefusalCause(
            "beams-forgotten",
            headline,
            f"rnnkit.states.repeat({{}}, {beams}{option}), if each sample has {beams} beams",
            new,
            evidence=f"{wanted.batch} = {beams} * {came.batch}, "
            f"so there may be {beams} beams for each sample",
        )
    if min(batches) > wanted.batch:
        select = f"rnnkit.states.select({{}}, slice({wanted.batch}){option})"
        return RefusalCause(
            "state-batch",
            headline,
            new,
            f"{select}, if the first {wanted.batch} samples continue",
            evidence=f"{came.batch} > {wanted.batch}: probably kept from a larger batch; "
            "the last batch of an epoch is often smaller",
        )
    return None


def _of_another_batch(wrong: WrongState) -> str:
    came, wanted = wrong.sizes[0]
    return f"{wrong.name} is for a batch of {came.batch}, but the input has {wanted.batch}"


def _option(spec: CallSpec) -> str:
    """Write the option that functions on states need for this layout."""
    return ", state_batch_first=True" if spec.state_batch_first else ""


def _two_directions(wrong: WrongState) -> RefusalCause | None:
    """Ask whether the state of a bidirectional layer came to a layer of one direction; None if not.

    ``wrong`` has the shapes that came and those wanted: the rows are twice as many, and as wide as
    this layer's, which may also be layers, or each half as wide.
    """
    spec = wrong.spec
    came, wanted = wrong.sizes[0]
    if not spec.has_rows or spec.module.bidirectional or not wanted.batch:
        return None
    if wrong.is_made_by(lambda got, _: (got.rows / 2, got.batch, got.width * 2)):
        return RefusalCause(
            "state-bidirectional",
            f"{wrong.name} has two rows for each layer, each half as wide as it should be",
            f"rnnkit.states.bridge({{}}{_option(spec)})",
            evidence=f"{wrong.width} is twice {came.width}, as wide as two directions side by side",
        )
    if wrong.is_made_by(lambda got, _: (got.rows / 2, got.batch, got.width)):
        return _cause_of_layers(wrong)
    return None


def _an_output(wrong: WrongState) -> RefusalCause | None:
    """Ask whether the layer's output came as its state: every tensor has its shape; None if not.

    ``wrong`` has the shapes of the state's tensors that do not fit, and the call they came in.
    """
    spec = wrong.spec
    output = output_shape(spec)
    if output is None or {got for got, _ in wrong.sizes} != {by_meaning(spec, output)}:
        return None
    return RefusalCause(
        "state-is-output",
        f"{wrong.name} looks like an output, not like a state",
        OUTPUT_FIX,
        evidence=f"{wrong.name} has seq {spec.seq} and batch {spec.batch}, like the input",
    )


def _cause_of_one(wrong: WrongState) -> RefusalCause:
    """Return what is wrong with the first tensor, where no one change makes all of them fit.

    A size by meaning is its rows (layers and directions), its batch or its width (features).
    """
    spec = wrong.spec
    name = wrong.name
    zeros = wrong.zeros
    came, wanted = wrong.sizes[0]
    if spec.has_rows and spec.module.bidirectional and came.rows * 2 == wanted.rows:
        headline = f"{name} has no rows for the backward direction"
        return RefusalCause("state-directions", headline, zeros)
    differs = [axis for axis in Sizes._fields if getattr(came, axis) != getattr(wanted, axis)]
    if differs == ["batch"]:
        return RefusalCause("state-batch", _of_another_batch(wrong), zeros)
    if differs == ["rows"]:
        return _cause_of_layers(wrong)
    if differs == ["width"]:
        return RefusalCause(
            "state-width",
            f"{name} has {came.width} features, but this module has {wrong.width}",
            zeros,
            f"apply a torch.nn.Linear({came.width}, {wanted.width}) to {name}, to keep its content",
        )
    headline = f"{name} has several wrong sizes: {', '.join(differs)}"
    return RefusalCause("state-sizes", headline, zeros)


def _cause_of_layers(wrong: WrongState) -> RefusalCause:
    """Return that a state has more rows than this module has layers and directions, or fewer."""
    came, wanted = wrong.sizes[0]
    rows = count(came.rows, "row", "rows")
    headline = f"{wrong.name} has {rows} on its layers axis, but this layer needs {wanted.rows}"
    return RefusalCause("state-layers", headline, *_fixes_of_layers(wrong))


def _fixes_of_layers(wrong: WrongState) -> list[str]:
    """Return what is typed for a state with another number of layers than this module.

    As many rows as two directions have may also come from a bidirectional layer.
    """
    spec = wrong.spec
    came, wanted = wrong.sizes[0]
    directions = wanted.rows // spec.module.num_layers
    if came.rows % directions:
        return [wrong.zeros]
    option = spec.with_option(f"num_layers={came.rows // directions}")
    same_layers = f"{option}, if the state comes from such a layer"
    if came.rows < wanted.rows:
        return [wrong.zeros, same_layers]
    samples = ":, " if spec.state_batch_first and wanted.batch else ""
    last = "the last layer" if spec.module.num_layers == 1 else "the last layers"
    last_layers = f"{{}}[{samples}-{wanted.rows}:], to continue from {last}"
    if came.rows != 2 * wanted.rows or directions == 2 or not wanted.batch:
        return [last_layers, same_layers]
    bridged = f'rnnkit.states.bridge({{}}, "sum"{_option(spec)})'
    return [last_layers, f"{bridged}, if the state comes from a bidirectional layer"]


#: What brings a tensor to another rank: an expression, and what it makes of a shape.
RANK_MOVES: tuple[tuple[str, Callable[[Shape, Shape], Shape | None]], ...] = (
    ("{}.squeeze(0)", lambda got, _: got[1:] if got[:1] == (1,) else None),
    ("{}.squeeze(1)", lambda got, _: (*got[:1], *got[2:]) if got[1:2] == (1,) else None),
    ("{}.unsqueeze(0)", lambda got, _: (1, *got)),
    ("{}.unsqueeze(1)", lambda got, _: (*got[:1], 1, *got[1:])),
    ("{}[-1], if you mean the state of the last layer", lambda got, _: got[1:]),
    (
        "{}.expand({front}, -1).contiguous(), if all samples start from it",
        lambda got, want: want if got and got == want[1:] else None,
    ),
    (
        "{}.unsqueeze(1).expand({front}, -1).contiguous(), if all samples start from it",
        lambda got, want: want if len(want) == 3 and got == (want[0], want[2]) else None,
    ),
)


def _of_rank(wrong: WrongState) -> str | None:
    """Return what to type to bring the shapes to the wanted ones, or None; ``{}`` is the tensor.

    ``wrong.pairs`` are the shapes that came and those that are wanted; they differ in their ranks.
    """
    for text, change in RANK_MOVES:
        # A cell may be given a layer's state; of a layer, whose state has rows, nobody means that.
        if wrong.spec.has_rows and "layer" in text:
            continue
        if all(change(got, want) == want for got, want in wrong.pairs):
            front = ", ".join(map(str, wrong.pairs[0][1][:-1]))
            return text.replace("{front}", front)
    return None
