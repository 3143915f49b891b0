"""Draw the layouts of the tensors: ``python docs/layouts.py``.

They are written as SVG by hand, in one convention: axis 0 of a tensor goes down, axis 1 to the
right, axis 2 into the page, and a colour is a sample.
"""

import pathlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

FOLDER = pathlib.Path(__file__).resolve().parent / "pictures"
SAMPLES = ("#7aa6c9", "#e3a45f", "#83b183")
PADDING = "#ececec"
PLAIN = "#d9d9e3"
INK = "#2b2b33"
CELL = 30
DEEP = 11

#: The colour and the text of the cell at a row and a column.
Paint = Callable[[int, int], tuple[str, str]]


@dataclass
class Drawing:
    """An SVG picture in the making."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def polygon(self, points: Sequence[tuple[float, float]], fill: str) -> None:
        """Add a filled outline."""
        corners = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polygon points="{corners}" fill="{fill}" stroke="{INK}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", **style: str) -> None:
        """Add a line of text."""
        extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{extra}>{text}</text>')

    def heading(self, y: float, text: str) -> None:
        """Add the name of a tensor."""
        self.text(10, y, text, font_weight="bold")

    def arrow(self, x: float, y: float, to_x: float, to_y: float, colour: str = INK) -> None:
        """Add an arrow."""
        self.parts.append(
            f'<line x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" stroke="{colour}" '
            f'stroke-width="1.5" marker-end="url(#head)"/>'
        )

    def save(self, name: str) -> None:
        """Write the file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="14" fill="{INK}">'
            f"<title>{self.title}</title>"
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" '
            f'orient="auto"><path d="M0,0 L7,3 L0,6 z" fill="{INK}"/></marker></defs>'
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>'
        )
        body = "\n".join(self.parts)
        (FOLDER / name).write_text(f"{head}\n{body}\n</svg>\n")


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor."""

    name: str
    size: int

    def __str__(self) -> str:
        """Write it as in the messages."""
        return f"{self.name} = {self.size}"


def tensor(
    drawing: Drawing, x: float, y: float, axes: Sequence[Axis], paint: Paint, left: str = "axis 0"
) -> tuple[float, float]:
    """Draw a tensor of two or three axes with their names; return its lower right corner."""
    rows, columns = axes[0].size, axes[1].size
    depth = axes[2].size * DEEP if len(axes) > 2 else 0
    right, bottom = x + columns * CELL, y + rows * CELL
    for deep in range(depth // DEEP):
        near, far = deep * DEEP, (deep + 1) * DEEP
        for column in range(columns):
            one, other = x + column * CELL, x + (column + 1) * CELL
            corners = [(one + near, y - near), (other + near, y - near)]
            corners += [(other + far, y - far), (one + far, y - far)]
            drawing.polygon(corners, paint(0, column)[0])
        for row in range(rows):
            one, other = y + row * CELL, y + (row + 1) * CELL
            corners = [(right + near, one - near), (right + near, other - near)]
            corners += [(right + far, other - far), (right + far, one - far)]
            drawing.polygon(corners, paint(row, columns - 1)[0])
    for row in range(rows):
        for column in range(columns):
            fill, text = paint(row, column)
            one, other = x + column * CELL, y + row * CELL
            square = [(one, other), (one + CELL, other), (one + CELL, other + CELL)]
            drawing.polygon([*square, (one, other + CELL)], fill)
            drawing.text(one + CELL / 2, other + CELL / 2 + 5, text, "middle", font_size="12")
    if left:
        drawing.arrow(x - 10, y, x - 10, bottom - 2)
        drawing.text(x - 18, y + 14, left, "end", font_weight="bold")
        drawing.text(x - 18, y + 32, str(axes[0]), "end")
    drawing.arrow(x, bottom + 10, right - 2, bottom + 10)
    drawing.text(x, bottom + 28, f"axis 1: {axes[1]}")
    if depth:
        drawing.arrow(right + 8, bottom + 2, right + depth + 8, bottom - depth + 2)
        drawing.text(right + depth + 14, bottom - depth - 4, "axis 2", font_weight="bold")
        drawing.text(right + depth + 14, bottom - depth + 14, str(axes[2]))
    return right + depth, bottom


def sequences() -> None:
    """Draw the input in its three layouts."""
    batch, seq, feature = Axis("batch", 3), Axis("seq", 4), Axis("feature", 2)
    drawing = Drawing(390, 560, "Input: batch first, seq first, and without a batch")
    drawing.heading(24, "batch_first=True: (batch, seq, feature)")
    tensor(drawing, 120, 66, [batch, seq, feature], lambda r, c: (SAMPLES[r], f"t{c}"))
    drawing.heading(224, "batch_first=False, the default: (seq, batch, feature)")
    tensor(drawing, 120, 266, [seq, batch, feature], lambda r, c: (SAMPLES[c], f"t{r}"))
    drawing.heading(450, "one sequence, unbatched: (seq, feature)")
    tensor(
        drawing, 120, 466, [Axis("seq", 2), Axis("feature", 2)], lambda r, _: (SAMPLES[0], f"t{r}")
    )
    drawing.save("sequences.svg")


def output() -> None:
    """Draw the output of a bidirectional layer at one sample."""
    drawing = Drawing(430, 232, "Output of a bidirectional layer")
    drawing.heading(24, "one sample of the output, batch_first=True, bidirectional")
    axes = [Axis("seq", 4), Axis("directions * hidden", 6)]

    def paint(row: int, column: int) -> tuple[str, str]:
        ended = (row == 3 and column < 3) or (row == 0 and column >= 3)
        return ("#b9b4de" if column < 3 else "#dcb4c9", "✓" if ended else "")

    tensor(drawing, 120, 62, axes, paint, "axis 1")
    drawing.parts = [part.replace("axis 1: dir", "axis 2: dir") for part in drawing.parts]
    drawing.text(165, 54, "forward", "middle")
    drawing.text(255, 54, "backward", "middle")
    drawing.text(310, 80, "✓ has read")
    drawing.text(310, 98, "all steps")
    drawing.save("output.svg")


ROWS = ("layer 0, forward", "layer 0, backward", "layer 1, forward", "layer 1, backward")


def states() -> None:
    """Draw the state, in torch's order and batch first."""
    rows, batch, hidden = Axis("layers * directions", 4), Axis("batch", 3), Axis("hidden", 2)
    drawing = Drawing(430, 480, "State: torch's order, and batch first")
    drawing.heading(24, "h_n, c_n: (layers * directions, batch, hidden)")
    tensor(drawing, 150, 92, [rows, batch, hidden], lambda _, c: (SAMPLES[c], ""), "")
    drawing.arrow(140, 92, 140, 210)
    drawing.text(10, 52, "axis 0: layers * directions = 4", font_weight="bold")
    for row, name in enumerate(ROWS):
        drawing.text(132, 112 + CELL * row, name, "end")
    drawing.heading(280, "state_batch_first=True: (batch, layers * directions, hidden)")
    tensor(drawing, 150, 330, [batch, rows, hidden], lambda r, _: (SAMPLES[r], ""))
    drawing.save("states.svg")


def projection() -> None:
    """Draw how wide the tensors of an LSTM with a projection are."""
    drawing = Drawing(400, 440, "The widths of an LSTM with proj_size")
    drawing.heading(24, "one sample of LSTM(5, 4, proj_size=2)")
    top = 48
    widths = [("input", "input_size", 5), ("output", "proj_size", 2), ("h", "proj_size", 2)]
    for name, axis, size in [*widths, ("c", "hidden_size", 4)]:
        steps = Axis("seq", 2) if name in ("input", "output") else Axis("layers", 1)
        color = PLAIN if name == "input" else SAMPLES[0] if name != "c" else SAMPLES[1]
        tensor(drawing, 150, top, [steps, Axis(axis, size)], lambda *_, c=color: (c, ""), name)
        top += steps.size * CELL + 48
    drawing.parts = [part.replace("axis 1: ", "last axis: ") for part in drawing.parts]
    drawing.save("projection.svg")


def packed() -> None:
    """Draw a padded batch and its packed data."""
    lengths = (2, 4, 3)
    drawing = Drawing(430, 400, "A padded batch, and the same packed")
    drawing.heading(24, "padded: (batch, seq, feature), lengths = [2, 4, 3]")
    padded = [Axis("batch", 3), Axis("seq", 4)]
    tensor(
        drawing, 120, 46, padded,
        lambda r, c: (SAMPLES[r], f"{r}.{c}") if c < lengths[r] else (PADDING, ""),
    )  # fmt: skip
    drawing.heading(206, "packed: data (sum of lengths, feature), step by step")
    order = sorted(range(3), key=lambda sample: -lengths[sample])
    cells = [(s, t) for t in range(4) for s in order if t < lengths[s]]
    for place, (sample, step) in enumerate(cells):
        x = 20 + place * (CELL + 6) + 8 * step
        square = [(x, 230), (x + CELL, 230), (x + CELL, 230 + CELL), (x, 230 + CELL)]
        drawing.polygon(square, SAMPLES[sample])
        drawing.text(x + CELL / 2, 250, f"{sample}.{step}", "middle", font_size="12")
    drawing.arrow(20, 272, 20 + 9 * (CELL + 6) + 18, 272)
    drawing.text(20, 292, "axis 0: sum of lengths = 9")
    sizes = [sum(t < n for n in lengths) for t in range(4)]
    drawing.text(20, 324, f"batch_sizes = {sizes}: samples that still go on at each step")
    drawing.text(20, 348, f"sorted_indices = {order}: the order of the samples inside")
    drawing.text(20, 372, "2.1 is sample 2, step 1. A square is a step's features.")
    drawing.save("packed.svg")


def directions() -> None:
    """Draw where each direction begins and ends on padded samples."""
    lengths = (2, 4, 3)
    drawing = Drawing(430, 252, "Where each direction begins and ends")
    drawing.heading(24, "two directions over lengths = [2, 4, 3]")
    for sample, length in enumerate(lengths):
        y = 50 + 74 * sample
        for step in range(4):
            x = 110 + step * (CELL + 14)
            square = [(x, y), (x + CELL, y), (x + CELL, y + CELL), (x, y + CELL)]
            drawing.polygon(square, SAMPLES[sample] if step < length else PADDING)
            drawing.text(x + 15, y + 20, f"t{step}" if step < length else "", "middle")
        end = 110 + (length - 1) * (CELL + 14) + CELL
        drawing.arrow(112, y - 7, end, y - 7)
        drawing.arrow(end - 2, y + CELL + 8, 112, y + CELL + 8)
        drawing.text(100, y + 20, f"sample {sample}", "end")
    drawing.text(300, 48, "→ forward")
    drawing.text(300, 92, "← backward")
    drawing.save("directions.svg")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for draw in (sequences, output, states, projection, packed, directions):
        draw()
    sys.stdout.write(f"drawn into {FOLDER}\n")
