"""How a module reads the tensors of one call, in words and in numbers."""

from typing import Any, ClassVar, Literal, NamedTuple, NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import ClassFacts, constructor_of, proj_size_of
from rnnkit._base.message import BRIEF_LENGTH, CALL_LENGTH, Cause, Row, bounded, refusal

#: Ranks of an input over many steps: of a batch, and of one sequence.
SEQUENCES = 3
SEQUENCE = 2


@runtime_checkable  # jaxtyping's hook asks isinstance of every annotation
class CheckedCell(Protocol):
    """What the guards need to know of a cell, and of a layer too."""

    __rnnkit__: ClassVar[ClassFacts]
    input_size: int
    hidden_size: int


@runtime_checkable
class CheckedLayer(CheckedCell, Protocol):
    """What the guards need to know of a layer."""

    num_layers: int
    batch_first: bool
    bidirectional: bool
    state_batch_first: bool


def described(module: Any) -> str:
    """Write a module as torch prints it; of a cell that is no module, the class."""
    name = bounded(type(module).__name__, BRIEF_LENGTH)
    if not isinstance(module, torch.nn.Module):
        return name
    if is_compiling():
        return f"{name}({module.extra_repr()})"
    try:
        options = module.extra_repr()
    except Exception:  # noqa: BLE001 - whatever a user's method does, our error is the news
        options = "..."
    return bounded(f"{name}({options})", CALL_LENGTH)


def sizes_of_layer(layer: CheckedLayer, input: Tensor | PackedSequence) -> dict[str, int]:
    """Return the sizes that a layer reads, by the names of their axes."""
    sizes = {"feature": layer.input_size, "hidden": layer.hidden_size}
    if not isinstance(input, Tensor):
        return {"batch": packed_batch(input), **sizes}
    return sizes_of_sequence(input, batch_first=layer.batch_first) | sizes


def sizes_of_sequence(input: Tensor, *, batch_first: bool) -> dict[str, Any]:
    """Return how many steps an input has, and how many samples if it is a batch."""
    shape = tuple(input.shape)
    if len(shape) != SEQUENCES:
        return {"seq": shape[0]} if shape else {}
    return {"seq": shape[1 if batch_first else 0], "batch": shape[0 if batch_first else 1]}


def batch_of(layer: CheckedLayer, input: Tensor | PackedSequence) -> tuple[int, ...]:
    """Return how many samples a checked input of a layer has; nothing if it is unbatched."""
    if not isinstance(input, Tensor):
        return (packed_batch(input),)
    return () if input.dim() == SEQUENCE else (input.shape[0 if layer.batch_first else 1],)


def packed_batch(input: PackedSequence) -> int:
    """Return how many sequences are packed."""
    # The order of the batch has its length without a look into a tensor's values.
    order = input.sorted_indices
    return int(input.batch_sizes[0]) if order is None else len(order)


class Axis(NamedTuple):
    """One axis that a module wants: what it is called, and its size where only one will do."""

    name: str
    size: int | None = None

    def __str__(self) -> str:
        """Write ``batch=5`` or, of a product, ``num_layers * directions = 4``."""
        if self.size is None:
            return self.name
        return f"{self.name} = {self.size}" if "*" in self.name else f"{self.name}={self.size}"


def spell(axes: tuple[Axis, ...]) -> str:
    """Write a shape with its axes named."""
    return f"({', '.join(map(str, axes))}{',' if len(axes) == 1 else ''})"


def sizes(axes: tuple[Axis, ...]) -> tuple[int | None, ...]:
    """Return the numbers of a shape."""
    return tuple(axis.size for axis in axes)


class CallSpec(NamedTuple):
    """One call as the module reads it: the axes of its input, and of each tensor of its state."""

    name: str
    module: Any
    input_size: int
    kind: Literal["layer", "packed", "step", "cell", "unrolled"]
    actual: tuple[int, ...]  # shape of the input; of a packed one, of its data
    input_axes: tuple[Axis, ...]
    # Of a cell whose state is open: none.
    state_names: tuple[str, ...] = ()
    state_axes: tuple[tuple[Axis, ...], ...] = ()
    hidden_size: int = 0
    proj_size: int = 0
    batch_first: bool = False
    state_batch_first: bool = False
    batch: int | None = None  # None: unbatched, or of a rank that tells no batch
    seq: int | None = None
    state: str = "hx"  # how the caller writes the state; of a cell of a Recurrent: hx[0]

    @property
    def described(self) -> str:
        """The module as torch prints it; written when a message needs it, not at each call."""
        if self.kind != "unrolled":
            return described(self.module)
        cell = described(self.module) if self.state_axes else type(self.module).__name__
        return f"{self.name} of {cell}"

    def cause(
        self, code: str, error: Any, argument: str, sentence: str, headline: str, *rows: Row,
        facts: tuple[Any, ...] = (),
    ) -> Cause:  # fmt: skip
        """Write why this call is wrong."""
        return Cause(code, error, argument, sentence, f"{self.described}: {headline}", rows, facts)

    def refuse(self, *args: Any, facts: tuple[Any, ...]) -> NoReturn:
        """Raise a ``cause``."""
        code, error, argument, sentence, headline, rows, _ = self.cause(*args)
        refusal(error, argument, sentence, headline, *rows, code=code, facts=facts)

    # A method, since right calls need it in a graph: torch 2.8 compiles no property.
    def ranks(self) -> tuple[int, ...]:
        """How many axes an input may have."""
        special = {"packed": (2,), "step": (1, 2), "cell": (1, 2)}
        return special.get(self.kind, (SEQUENCE, SEQUENCES))

    @property
    def has_rows(self) -> bool:
        """Whether the state stacks layers and directions on an axis, as a layer's does."""
        return self.kind in ("layer", "packed", "step")

    @property
    def layout_code(self) -> str:
        """The code of an input that is laid out the other way."""
        return "layout-seq-first" if self.batch_first else "layout-batch-first"

    def other_layout(self, evidence: str) -> tuple[str, list[tuple[str, str]]]:
        """Explain that the input looks laid out the other way; ``{axis}`` is its axis of steps."""
        axis, looks = (1, "seq-first") if self.batch_first else (0, "batch-first")
        option = self.with_option(f"batch_first={not self.batch_first}")
        fix = ("fix", f"{option}, or input.transpose(0, 1)")
        headline = f"the input looks {looks}, but batch_first={self.batch_first}"
        return headline, [("evidence", evidence.format(axis=axis)), fix]

    def with_option(self, option: str) -> str:
        """Write the call that has one option of the layout changed."""
        name = constructor_of(self.module)
        return f"{name if self.has_rows else self.name}(..., {option})"


def spec_of_layer(layer: CheckedLayer, input: Tensor | PackedSequence) -> CallSpec:
    """Read a layer's call; an input of any rank."""
    # Of a tensor not its data, at which vmap lets nobody look.
    shape = tuple((input if isinstance(input, Tensor) else input.data).shape)
    names: tuple[str, ...] = ("batch", "seq") if layer.batch_first else ("seq", "batch")
    read: dict[str, Any]
    if not isinstance(input, Tensor):
        names, read = ("sum of lengths",), {"batch": packed_batch(input)}
        read["seq"] = len(input.batch_sizes)
    else:
        names = ("seq",) if len(shape) == SEQUENCE else names
        read = sizes_of_sequence(input, batch_first=layer.batch_first)
    batch = (Axis("batch", read["batch"]),) if "batch" in read else ()
    front = (stack_axis(layer), *batch)
    return CallSpec(
        **_common(layer) | read,
        kind="layer" if isinstance(input, Tensor) else "packed",
        batch_first=layer.batch_first,
        state_batch_first=layer.state_batch_first,
        actual=shape,
        input_axes=(*map(Axis, names), Axis("input_size", layer.input_size)),
        state_axes=_state_axes(layer, front[::-1] if layer.state_batch_first else front),
    )


def stack_axis(layer: CheckedLayer) -> Axis:
    """Return the axis of a state on which layers and directions are, the layers first."""
    if layer.bidirectional:
        return Axis("num_layers * directions", layer.num_layers * 2)
    return Axis("num_layers", layer.num_layers)


def own_state_axes(layer: CheckedLayer) -> tuple[tuple[Axis, ...], ...]:
    """Return the axes of what a layer carries, for any batch."""
    front = (stack_axis(layer), Axis("batch"))
    return _state_axes(layer, front[::-1] if layer.state_batch_first else front)


def spec_of_cell(cell: CheckedCell, input: Tensor) -> CallSpec:
    """Read a cell's call; an input of any rank."""
    shape = tuple(input.shape)
    feature = Axis("input_size", cell.input_size)
    batch = shape[0] if len(shape) == 2 else None
    return CallSpec(
        **_common(cell),
        kind="cell",
        actual=shape,
        input_axes=(feature,) if len(shape) == 1 else (Axis("batch"), feature),
        state_axes=_state_axes(cell, () if batch is None else (Axis("batch", batch),)),
        batch=batch,
    )


def spec_of_unrolled(
    cell: Any, input: Tensor, caller: str, *, known: bool, batch_first: bool, state: str
) -> CallSpec:
    """Read a cell's call over a sequence; a cell that is not ``known`` may have any widths."""
    shape = tuple(input.shape)
    names = ("batch", "seq") if batch_first else ("seq", "batch")
    read = sizes_of_sequence(input, batch_first=batch_first)
    front = (Axis("batch", read["batch"]),) if "batch" in read else ()
    open_facts = {"module": cell, "input_size": shape[-1] if shape else 0}
    facts: dict[str, Any] = read | (_common(cell) if known else open_facts) | {"name": caller}
    return CallSpec(
        **facts,
        kind="unrolled",
        batch_first=batch_first,
        state=state,
        actual=shape,
        input_axes=(
            *(map(Axis, names) if len(shape) != SEQUENCE else [Axis("seq")]),
            Axis("input_size", cell.input_size) if known else Axis("feature"),
        ),
        state_axes=_state_axes(cell, front) if known else (),
    )


def _common(module: CheckedCell) -> dict[str, Any]:
    return {
        "name": type(module).__name__,
        "module": module,
        "state_names": module.__rnnkit__.state_names,
        "input_size": module.input_size,
        "hidden_size": module.hidden_size,
        "proj_size": proj_size_of(module),
    }


def _state_axes(module: CheckedCell, front: tuple[Axis, ...]) -> tuple[tuple[Axis, ...], ...]:
    hidden = Axis("hidden_size", module.hidden_size)
    proj_size = proj_size_of(module)
    of_h = Axis("proj_size", proj_size) if proj_size else hidden
    return tuple((*front, width) for width in (of_h, hidden))[: len(module.__rnnkit__.state_names)]


def is_autocast() -> bool:
    """Return whether autocast is on, for any kind of device."""
    return torch._C._is_any_autocast_enabled()  # noqa: SLF001


def agree(one: torch.dtype, other: torch.dtype) -> bool:
    """Return whether a kernel takes both dtypes together; autocast unites all but float64."""
    return one == other or (
        is_autocast()
        and one.is_floating_point
        and other.is_floating_point
        and (one == torch.float64) == (other == torch.float64)
    )
