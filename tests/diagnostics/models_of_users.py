"""What the models of the tests are made of: sizes, modules by name, numbers and tokens."""

from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from rnnkit._diagnostics.run.isolation import Session, session
from rnnkit._diagnostics.run.outputs import Given

BATCH = 4
SEQ = 7
FEATURE = 3
HIDDEN = 6
VOCABULARY = 11
LENGTHS = (3, 7, 5, 2)


def model(forward, **attributes):
    """Make a model of a forward and its attributes."""
    made = type(forward.__name__, (nn.Module,), {"forward": forward})()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def layered(forward, **attributes):
    """Make a model of a forward and a batch-first layer, ``m.gru``, beside its attributes."""
    return model(forward, **{"gru": gru(), **attributes})


def numbers(*shape):
    """Return numbers, the same ones in each call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


#: What a model is given if nothing else is said: samples of steps.
X = numbers(BATCH, SEQ, FEATURE)
#: So the session of a model is given it.
GIVEN = Given((X,), {})
#: What looks at a model and its input.
LOOKS = [rnnkit.verify, rnnkit.trace, rnnkit.dependency_map]


def tokens(*shape):
    """Return tokens, the same ones in each call."""
    return torch.randint(1, VOCABULARY, shape, generator=torch.Generator().manual_seed(4))


def mask(lengths, steps=SEQ):
    """Return what is no padding."""
    return torch.arange(steps) < lengths.unsqueeze(1)


def within(x, lengths):
    """Return samples of steps with zeros beyond their lengths."""
    return x * mask(lengths, x.shape[1]).unsqueeze(2)


def zero_state(x):
    """Return a state of zeros for each sample."""
    return x.new_zeros(len(x), HIDDEN)


def shifted(x):
    """Return each step one later, behind a step of zeros."""
    return nn.functional.pad(x[:, :-1], (0, 0, 1, 0))


def later_steps(x):
    """Return a mask of (seq, seq): for each step, the steps after it."""
    return torch.ones(x.shape[1], x.shape[1]).triu(1).bool()


#: The lengths of a padded batch as a tensor, and the batch, which ends in zeros.
COUNTS = torch.tensor(LENGTHS)
PADDED = within(X, COUNTS)


def gru(width=FEATURE, **options):
    """Make a batch-first layer."""
    return nn.GRU(width, HIDDEN, **{"batch_first": True, **options})


def lstm(width=FEATURE, **options):
    """Make a batch-first layer."""
    return nn.LSTM(width, HIDDEN, **{"batch_first": True, **options})


class Holder(nn.Module):
    """A layer, and whatever a test lets it hold and do; a tensor from acting is added."""

    def __init__(self, act=lambda m: None, **held):  # noqa: ARG005
        """Keep it."""
        super().__init__()
        self.gru = gru()
        self.act = act
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x):
        """Act, then run."""
        acted = self.act(self)
        y = self.gru(x)[0]
        return y + acted if isinstance(acted, Tensor) else y


def twice(model):
    """Check that two runs return the same; the copies of the session are left to be looked at."""
    with mock.patch.object(Session, "close"), session(model) as opened:
        first, again = (opened.run(GIVEN) for _ in range(2))
    assert all(map(torch.equal, first, again))
    return opened


def reported(net, *inputs, **options):
    """Return the report, in which the findings stand: none is raised."""
    return rnnkit.verify(net, *inputs, raises=False, **options)


def findings(net, *inputs, **options):
    """Return the probes that find something."""
    return {one.probe for one in reported(net, *inputs, **options).findings}


def over(cell, x, state=None):
    """Return the outputs of a cell over a sequence."""
    outputs = []
    for x_t in x.unbind(1):
        state = cell(x_t, state)
        outputs.append(state)
    return torch.stack(outputs, 1)


def pack(x, lengths):
    """Pack padded samples, in any order of their lengths."""
    return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)


def unpack(packed, steps=None):
    """Return packed samples, padded up to so many steps, or to the longest."""
    return pad_packed_sequence(packed, batch_first=True, total_length=steps)[0]
