"""A state of the wrong shapes, beside those that a module carries."""

import re
from collections.abc import Callable
from typing import NamedTuple

from rnnkit._checks.call_spec import Axis, CallSpec

Shape = tuple[int, ...]
#: Where the words after an expression begin.
WORDS_AFTER_CODE = re.compile(r"(?:, if|, which|, to) ")


class Sizes(NamedTuple):
    """A shape by meaning: a cell has one row, an unbatched state a batch of 0."""

    rows: int
    batch: int
    width: int


def by_meaning(spec: CallSpec, shape: Shape) -> Sizes:
    """Return the sizes of a shape of the right rank by meaning: rows, batch and width.

    Rows are layers and directions, one of a cell; an unbatched state has a batch of 0.
    """
    *front, width = shape if spec.has_rows else (1, *shape)
    if len(front) == 1:
        return Sizes(front[0], 0, width)
    first, second = front
    if spec.state_batch_first:
        return Sizes(second, first, width)
    return Sizes(first, second, width)


class WrongState(NamedTuple):
    """The shapes of a state's tensors, and those that a call's module carries."""

    spec: CallSpec
    shapes: list[Shape]
    wants: list[Shape]

    @property
    def place(self) -> int:
        """The index of the tensor that a message is about: first a wrong rank, then wrong sizes."""
        both = [*zip(self.shapes, self.wants, strict=True)]
        ranks = [place for place, (got, want) in enumerate(both) if len(got) != len(want)]
        wrong = [place for place, (got, want) in enumerate(both) if got != want]
        return (ranks or wrong)[0]

    @property
    def got(self) -> Shape:
        """The shape of the tensor that a message is about."""
        return self.shapes[self.place]

    @property
    def want(self) -> Shape:
        """The shape that the tensor of the message should have."""
        return self.wants[self.place]

    @property
    def name(self) -> str:
        """The name of the tensor that a message is about: hx, h or c."""
        return self.spec.state_names[self.place]

    @property
    def width(self) -> Axis:
        """The last axis of the tensor of the message, as the module wants it."""
        return self.spec.state_axes[self.place][-1]

    @property
    def pairs(self) -> list[tuple[Shape, Shape]]:
        """The shapes of the tensors that do not fit, each beside the one that is wanted."""
        both = zip(self.shapes, self.wants, strict=True)
        return [(got, want) for got, want in both if got != want]

    @property
    def sizes(self) -> list[tuple[Sizes, Sizes]]:
        """The shapes that do not fit and those wanted, each by meaning (rows, batch, width)."""
        return [(by_meaning(self.spec, g), by_meaning(self.spec, w)) for g, w in self.pairs]

    @property
    def is_whole(self) -> bool:
        """Whether no tensor of the state fits."""
        return len(self.pairs) == len(self.shapes)

    @property
    def zeros(self) -> str:
        """What is typed to start from zeros: None for a tensor that is wrong, or for the state."""
        if not self.is_whole:
            return f"hx={self.typed(f'None, which starts {self.name} from zeros')}"
        return "hx=None, which starts from zeros"

    def is_made_by(self, change: Callable[[Sizes, Sizes], tuple[float, ...]]) -> bool:
        """Return whether ``change(got, want)`` makes the wanted sizes of each tensor that fails."""
        return all(change(got, want) == want for got, want in self.sizes)

    def typed(self, text: str) -> str:
        """Write the whole state with an expression for each tensor that does not fit.

        In ``text``, ``{}`` is such a tensor, and words may follow the expression. Of a pair that is
        wrong as a whole it is applied to both.
        """
        words = WORDS_AFTER_CODE.search(text)
        expression = text[: words.start()] if words else text
        rest = text[len(expression) :]
        if len(self.shapes) == 1 or (self.is_whole and not expression.startswith("{}")):
            return expression.format("hx") + rest
        if self.is_whole:
            return f"tuple({expression.format('t')} for t in hx){rest}"
        parts = list(self.spec.state_names)
        parts[self.place] = expression.format(parts[self.place])
        return f"({', '.join(parts)}){rest}"
