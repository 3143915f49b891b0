"""Samples that are mixed up: axes in another order, views, and functions over the wrong axis."""

import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.corpus.case import CASES, Case, Subject
from tests.diagnostics.corpus.forward import (
    MIXES_IF_WRONG,
    RIGHT,
    X,
    fine,
    gru,
    linear,
    lstm,
    pair,
    part,
)
from tests.diagnostics.models_of_users import numbers


@pair("batch", lstm=lstm(batch_first=RIGHT))
def layer_called_by_its_forward(m, x):
    """A layer whose ``forward`` is called, as weight dropout does, counts as any other."""
    return m.lstm.forward(x)[0]


def recurrent(library, right):
    """Make a layer over a cell of a library."""
    return rnnkit.Recurrent([library.GRUCell(3, 6)], batch_first=right)


for name, library in {"torch": nn, "rnnkit": rnnkit}.items():
    pair(
        "batch",
        name=f"Recurrent over a cell of {name}",
        layer=part(recurrent, library, right=RIGHT),
    )(lambda m, x: m.layer(x)[0])


def bare(_, right):
    """Make a model of nothing else."""
    return Subject(recurrent(rnnkit, right), (X,))


CASES.append(Case("Recurrent as the model", bare, "batch", file="layouts"))


@pair("batch", gru=gru(num_layers=2), head=linear(12, 2), inputs=(numbers(6, 7, 3),))
def viewed_state(m, x):
    """The states of both layers side by side: transposed first; or viewed as they lie.

    Of six samples four are judged, and no message says that a view is of four.
    """
    _, h_n = m.gru(x)
    return m.head((h_n.transpose(0, 1) if m.right else h_n).reshape(len(x), -1))


@pair("batch", lstm=lstm(1), whole=lstm(7), head=linear(6, 1), inputs=(numbers(4, 7),))
def windows_as_one_sequence(m, x):
    """A matrix has a window of a series in each row: a batch of series; or one sequence."""
    return m.head(m.lstm(x.unsqueeze(-1))[0][:, -1] if m.right else m.whole(x)[0])


@pair("batch", gru=gru(batch_first=False), inputs=(numbers(7, 4, 3),), batch_dim=1)
def last_of_the_batch(m, x):
    """The last step is taken of (seq, batch, hidden): of axis 0; or of axis 1, the last sample."""
    y = m.gru(x)[0]
    return y[-1] if m.right else y[:, -1]


@pair("batch", gru=MIXES_IF_WRONG)
def one_batch_size(m, x):
    """A model for one batch size, whose axes are told by their sizes."""
    return m.gru(x.view(4, 7, 3))[0]


@pair("batch", norm=part("LayerNorm", 3), batch=part("BatchNorm1d", 3, track_running_stats=False))
def statistics_of_the_batch(m, x):
    """A norm over the features; or over the batch, in eval mode too, which may be meant."""
    return m.norm(x) if m.right else m.batch(x.mT).mT


@pair("batch", gru=MIXES_IF_WRONG)
def cause_that_cannot_be_undone(m, x):
    """Where the model refuses what would undo it, no cause is named."""
    y, h = m.gru(x)
    assert h.shape[1] == x.shape[0 if m.right else 1]
    return y


def wavering(x):
    """Return a number that hangs on all values."""
    return int(1e6 * x.abs().sum()) % 977


@pair("batch", one=linear(3, 6))
def other_modules_on_other_values(m, x):
    """A module is called twice; or as often as all values say, and then no module is named."""
    y = m.gru(x)[0]
    for _ in range(2 if m.right else wavering(x)):
        y = y + m.one(x)
    return y


@pair("batch", gru=gru(4), first=linear(3, 4))
def centred_between_modules(m, x):
    """A write into a part of a tensor, which is named as such; before the layer."""
    y = m.first(x).clone()
    if not m.right:
        y[1:] = y[:-1].clone()
    return m.gru(y)[0]


class Averaged(nn.Module):
    """A user's module with its axes in annotations, which are checked."""

    @jaxtyped(typechecker=beartype)
    def forward(self, x: Float[Tensor, "batch seq feature"]) -> Float[Tensor, "..."]:
        """Take the mean of the batch off."""
        return x - x.mean(0)


@pair("batch", averaged=Averaged)
def place_in_a_decorated_forward(m, x):
    """The line that is named is the user's own, also where jaxtyping and beartype stand between."""
    y = m.gru(x)[0]
    return y if m.right else m.averaged(y)


class Reader(nn.Module):
    """A layer, whose output only counts, that can be scripted."""

    def __init__(self, batch_first):
        """Make the layer."""
        super().__init__()
        self.gru = nn.GRU(4, 6, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        y: Tensor = self.gru(x)[0]
        return y


def scripted(_, right):
    """Make a ScriptModule, which takes no hooks: where a leak shows first is not known.

    Its first weight has a column that multiplies zeros alone.
    """
    made = torch.jit.script(nn.Sequential(nn.Linear(3, 4), Reader(right)))
    return Subject(made, (X * torch.tensor([1.0, 1.0, 0.0]),))


CASES.append(Case("scripted_model", scripted, "batch", file="layouts"))


@fine()
def nested_output(m, x):
    """A nested output is judged padded, as a packed one."""
    return torch.nested.nested_tensor(list(m.gru(x)[0].unbind(0)))


@pair("batch", first=linear(5, 6), head=linear(6, 2), inputs=(numbers(6, 5),))
def features_of_a_table(m, x):
    """Features ``(batch, n)`` are no steps; the wrong one subtracts the mean of the batch."""
    return m.head(m.first(x if m.right else x - x.mean(0)).tanh())


@fine(rnn=gru(batch_first=False), inputs=(torch.zeros(1, 4, 6), X), judged=False)
def state_before_the_data(m, h, x):
    """One row on axis 0 of a state is not called a batch of one sample."""
    return m.rnn(x.transpose(0, 1), h)[0][-1]
