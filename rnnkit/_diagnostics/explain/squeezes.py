"""Run one sample again without the squeezes that remove its batch axis, whose size is 1."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.measure.compare import Rerun
from rnnkit._diagnostics.run.watched_functions import FunctionCall, FunctionWatch, user_place
from rnnkit._diagnostics.tell.outcome import Line
from rnnkit._diagnostics.tell.report import joined_by_and

#: The functions that remove axes of size 1.
NAMES = ("squeeze", "squeeze_")


class Squeeze(NamedTuple):
    """A call of ``squeeze`` in a run.

    Attributes:
        axes: the axes that it removes.
        place: its file and line.
    """

    axes: tuple[int, ...]
    place: str


class _Squeezes(FunctionWatch):
    """Notes the axes of each squeeze of a run; with some ``known``, squeezes those axes instead.

    The calls at one place are matched by their order: a loop may have fewer steps than in the other
    run.

    Attributes:
        calls: the squeezes of this run.
        wrong: those of the other run that remove other axes than this one would.
    """

    def __init__(self, known: Sequence[Squeeze] = ()) -> None:
        """Take the squeezes of another run, if these are to remove the same axes."""
        super().__init__()
        self.known = known
        self.calls: list[Squeeze] = []
        self.wrong: list[Squeeze] = []

    def on_call(self, call: FunctionCall) -> Any:
        """Run a function of the model; of a squeeze, note the axes that it removes, and its place.

        With ``self.known``, the squeezes of another run, it removes the axes of its counterpart
        there.
        """
        if call.name not in NAMES:
            return call.run()
        own = Squeeze(_removed(*call.args, **call.kwargs), user_place())
        number = sum(one.place == own.place for one in self.calls)
        self.calls.append(own)
        there = [one for one in self.known if one.place == own.place]
        if number >= len(there):
            return call.run()
        if there[number] != own:
            self.wrong.append(there[number])
        return call.func(call.args[0], there[number].axes)


def _removed(input: Tensor, dim: Any = None) -> tuple[int, ...]:
    """Return the axes that a squeeze of ``input`` removes: those of size 1, or of ``dim``."""
    rank = input.dim()
    given = range(rank) if dim is None else pytree.tree_leaves(dim)
    return tuple(axis % rank for axis in given if rank and input.shape[axis] == 1)


def rows_of_squeezes(run: Rerun) -> list[Line]:
    """Return rows of a message: squeezes that remove an axis of one sample that they keep of more.

    ``run`` is that of one sample: it runs again, and each squeeze removes only axes that it removes
    of the whole batch. No rows if no squeeze removes others, or the model does not run then either.
    """
    whole = _Squeezes()
    run.baseline.rerun(whole.watch)
    if not whole.calls:
        return []
    kept = _Squeezes(whole.calls)
    output = run.baseline.session.attempt(run.batch.tree(), watch=kept.watch)
    wrong = [*dict.fromkeys(kept.wrong)]
    if output is None or not wrong:
        return []
    places = ", ".join(dict.fromkeys(one.place for one in wrong))
    typed = [*dict.fromkeys(map(_typed, wrong))]
    if len(typed) > 1:
        typed = [f"{_typed(one)} at {one.place}" for one in wrong]
    cause = "for a single sample, this squeeze removes an axis that it otherwise keeps"
    fix = f"{joined_by_and(typed)}, for a batch of any size"
    return [("at", places), ("cause", cause), ("fix", fix)]


def _typed(squeeze: Squeeze) -> str:
    """Return what to write to remove the same axes of a batch of any size."""
    if not squeeze.axes:
        return "x without squeeze"
    axes = squeeze.axes[0] if len(squeeze.axes) == 1 else squeeze.axes
    return f"x.squeeze({axes})"
