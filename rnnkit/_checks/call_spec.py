"""How a module reads the tensors of one call, in words and in numbers."""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import constructor_of, proj_size_of
from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import BRIEF_LENGTH, CALL_LENGTH, Row, bounded, refuse

#: Ranks of an input over many steps: of a batch, and of one sequence.
SEQUENCES = 3
SEQUENCE = 2

#: What a message about a call names, and a step names x_t.
INPUT = re.compile(r"\b(?:the |an )?input\b")


def in_step(text: str) -> str:
    """Write a text about a call in the words of a step."""
    return INPUT.sub("x_t", text)


def described(module: Any) -> str:
    """Write a module as torch prints it, ``GRU(3, 4)``; else ``the cell (function)``."""
    name = bounded(type(module).__name__, BRIEF_LENGTH)
    if not isinstance(module, torch.nn.Module):
        return f"the cell ({name})"
    try:
        options = module.extra_repr() or "..."
    except Exception:  # noqa: BLE001 - whatever a user's method does, our error is the news
        options = "..."
    return bounded(f"{name}({options})", CALL_LENGTH)


def is_dense(value: Any) -> bool:
    """Return whether this is a tensor that stores its numbers in strides."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_nested


def check_dense(module: Any, tensor: Any, argument: str = "input") -> None:
    """Refuse a tensor that does not store its numbers in strides: a sparse or nested one.

    What is no tensor passes. ``argument`` is what the message calls it, of a call of ``module``.
    """
    if not isinstance(tensor, Tensor) or is_dense(tensor):
        return
    kind = f"{tensor.layout}"
    fix = f"{argument}.to_dense()"
    if tensor.is_nested:
        kind = "a nested one"
        fix = f"{argument}.to_padded_tensor(0.0)"
        if argument == "input" and isinstance(module, torch.nn.RNNBase):
            fix = f"layer({fix}, lengths=[len(x) for x in input.unbind()])"
        elif argument == "input":
            fix += ", and rnnkit.unroll with lengths=[...], if these are sequences"
    refuse(
        ArgumentError,
        argument,
        f"{argument} must be a dense tensor, got {kind}",
        f"{described(module)}: torch's recurrent kernels require dense tensors",
        fix=fix,
        code="input-layout",
    )


def sizes_of_layer(layer: Any, input: Tensor | PackedSequence) -> dict[str, int]:
    """Return the sizes that a layer reads, by axis: seq, batch, feature and hidden.

    Packed input has no seq, and an unbatched one no batch.
    """
    if isinstance(input, Tensor):
        sizes = sizes_of_sequence(input, batch_first=layer.batch_first)
    else:
        sizes = {"batch": packed_batch(input)}
    return {**sizes, "feature": layer.input_size, "hidden": layer.hidden_size}


def sizes_of_sequence(input: Tensor, *, batch_first: bool) -> dict[str, int]:
    """Return how many steps an input has, and how many samples if it is a batch."""
    return _sizes_before_features(input, axes_before_features(input.dim(), batch_first=batch_first))


def axes_before_features(
    rank: int, *, batch_first: bool = False, is_step: bool = False
) -> tuple[str, ...]:
    """Name the axes of an input before its features: seq and batch in their order, or only batch.

    ``rank`` counts all axes of the input, so that as many as there are names are one unbatched
    sample, whose batch axis is left out. Any other rank gets the names of a batch.
    """
    names: tuple[str, ...] = ("seq", "batch")
    if is_step:
        names = ("batch",)
    elif batch_first:
        names = ("batch", "seq")
    if rank == len(names):
        return tuple([axis for axis in names if axis != "batch"])
    return names


def _sizes_before_features(input: Tensor, names: tuple[str, ...]) -> dict[str, int]:
    """Return the sizes of the axes before the features; none of an input of the wrong rank."""
    if input.dim() != len(names) + 1:
        return {}
    return dict(zip(names, input.shape[:-1], strict=True))


def packed_batch(input: Any) -> int:
    """Return how many sequences are packed; their order has its length without its values."""
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


def spell(axes: Sequence[object]) -> str:
    """Write a shape with its axes named."""
    return f"({', '.join(map(str, axes))}{',' if len(axes) == 1 else ''})"


def sizes(axes: tuple[Axis, ...]) -> tuple[int | None, ...]:
    """Return the numbers of a shape."""
    return tuple([axis.size for axis in axes])


class RefusalCause:
    """Why an argument does not fit: code and headline of the message, what to type, evidence."""

    def __init__(self, code: str, headline: str, *fixes: str, evidence: str = "") -> None:
        """Keep the parts of a message."""
        self.code: str = code
        self.headline: str = headline
        self.fixes: tuple[str, ...] = fixes
        self.evidence: str = evidence

    @property
    def is_layout(self) -> bool:
        """Whether axes are swapped, as a LayoutError says."""
        return self.code.startswith("layout")


class CallSpec(NamedTuple):
    """One call as the module reads it: the axes of its input, and of each tensor of its state."""

    name: str
    module: Any
    kind: Literal["layer", "packed", "step", "cell", "unrolled", "masked"]
    actual: tuple[int, ...]  # shape of the input; of a packed one, of its data
    input_axes: tuple[Axis, ...]
    is_known: bool = True  # whether its sizes say what it reads; a user's cell may have any
    batch: int | None = None  # None: unbatched, or of a rank that tells no batch
    seq: int | None = None
    batch_first: bool = False
    state_batch_first: bool = False
    state: str = "hx"  # how the caller writes the state; of a cell of a Recurrent: hx[0]

    @property
    def described(self) -> str:
        """The module as torch prints it; written when a message needs it, not at each call.

        A function of ``rnnkit.masked`` has no module, and of an unrolled cell the caller is named
        too.
        """
        if self.kind == "masked":
            return self.name
        if self.kind != "unrolled":
            return described(self.module)
        return f"{self.name} of {described(self.module)}"

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the tensors of the state that the module carries."""
        return self.module.__rnnkit__.state_names  # type: ignore[no-any-return]

    @property
    def state_axes(self) -> tuple[tuple[Axis, ...], ...]:
        """The axes of each tensor of the state, with their sizes: of one tensor, or of h and c."""
        return state_axes(self.module, None if self.batch is None else Axis("batch", self.batch))

    def refuse(
        self,
        error: Any,
        argument: str,
        sentence: str,
        cause: RefusalCause,
        *rows: Row,
        **facts: Any,
    ) -> NoReturn:
        """Raise ``error`` about an argument of this call; a step's input is written x_t.

        ``cause`` has the headline, the code, the evidence and what to type; the ``rows`` are
        labelled lines of the message, and ``facts`` the shapes ``expected`` and ``actual``, which
        the error keeps.
        """
        write = in_step if self.kind == "step" else str
        refuse(
            error,
            write(argument),
            write(sentence),
            write(f"{self.described}: {cause.headline}"),
            *[(write(label), write(text)) for label, text in rows],
            code=cause.code,
            evidence=write(cause.evidence),
            fix=[*map(write, cause.fixes)],
            **facts,
        )

    @property
    def input_row(self) -> Row:
        """The line of a message with the input's expected shape beside the one that came.

        The functions of ``rnnkit.masked``, the kind "masked", call their input x.
        """
        label = "x" if self.kind == "masked" else "input"
        return label, f"expected {spell(self.input_axes)}    got {self.actual}"

    @property
    def has_rows(self) -> bool:
        """Whether the state is a layer's: it has an axis of layers and directions."""
        return self.kind in ("layer", "packed", "step")

    def other_layout(self, came: str) -> RefusalCause:
        """Return that the input looks laid out the other way than ``batch_first`` says.

        ``came`` says which size shows it, as "h has batch 5": it is the size of the axis read as
        steps.
        """
        code = "layout-batch-first"
        looks = "batch-first"
        if self.batch_first:
            code = "layout-seq-first"
            looks = "seq-first"
        option = self.with_option(f"batch_first={not self.batch_first}")
        return RefusalCause(
            code,
            f"the input looks {looks}, but batch_first={self.batch_first}",
            f"{option}, or input.transpose(0, 1)",
            evidence=f"{came}, which is axis {int(self.batch_first)} of the input",
        )

    def with_option(self, option: str) -> str:
        """Write the constructor's or function's call with one option, as ``LSTM(..., option)``."""
        name = constructor_of(self.module) if self.has_rows else self.name
        return f"{name}(..., {option})"


def spec_of(
    module: Any,
    input: Any,
    kind: Literal["layer", "step", "cell", "unrolled"],
    name: str = "",
    *,
    batch_first: bool = False,
    is_known: bool = True,
    state: str = "hx",
) -> CallSpec:
    """Read a call with a tensor of any rank, or packed input, as a :class:`CallSpec`.

    ``name`` is the caller for messages, else the class. A cell that is not known is a user's, whose
    features and state may have any widths. ``state`` is how the caller writes the state, and a
    layer says itself whether it is ``batch_first``.
    """
    is_layer = kind in ("layer", "step")
    if is_layer:
        batch_first = module.batch_first
    if isinstance(input, Tensor):
        # Not input.data, which every tensor has: under vmap nobody may look at it.
        shape = tuple(input.shape)
        is_step = kind in ("step", "cell")
        front = axes_before_features(len(shape), batch_first=batch_first, is_step=is_step)
        sizes = _sizes_before_features(input, front)
    else:
        shape = tuple(input.data.shape)
        front = ("sum of lengths",)
        sizes = {"seq": len(input.batch_sizes), "batch": packed_batch(input)}
    width = Axis("input_size", module.input_size) if is_known else Axis("feature")
    return CallSpec(
        name=name or type(module).__name__,
        module=module,
        kind=kind if isinstance(input, Tensor) else "packed",
        actual=shape,
        input_axes=(*map(Axis, front), width),
        is_known=is_known,
        batch=sizes.get("batch"),
        seq=sizes.get("seq"),
        batch_first=batch_first,
        state_batch_first=is_layer and module.state_batch_first,
        state=state,
    )


def state_axes(module: Any, batch: Axis | None) -> tuple[tuple[Axis, ...], ...]:
    """Return the axes of each tensor of a module's state: one tensor, or h and c of an LSTM.

    None for ``batch`` is a state without a batch axis. A layer also has an axis of layers and
    directions, and h is narrower than c under a projection.
    """
    front = () if batch is None else (batch,)
    if issubclass(type(module), torch.nn.RNNBase):
        rows = Axis("num_layers", module.num_layers)
        if module.bidirectional:
            rows = Axis("num_layers * directions", module.num_layers * 2)
        front = (*front, rows) if module.state_batch_first else (rows, *front)
    hidden = Axis("hidden_size", module.hidden_size)
    proj_size = proj_size_of(module)
    of_h = Axis("proj_size", proj_size) if proj_size else hidden
    both = ((*front, of_h), (*front, hidden))
    return both[: len(module.__rnnkit__.state_names)]


def is_autocast(tensor: Tensor) -> bool:
    """Return whether autocast is on for the device of a tensor."""
    if not torch._C._is_any_autocast_enabled():  # noqa: SLF001 - one question for all devices
        return False
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def dtypes_agree(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Return whether a kernel takes a tensor beside weights, or an input, of a dtype.

    They are the same dtype, or floats other than float64, which autocast brings to one dtype.
    """
    if tensor.dtype == dtype:
        return True
    floats = tensor.is_floating_point() and dtype.is_floating_point
    return floats and torch.float64 not in (tensor.dtype, dtype) and is_autocast(tensor)
