"""The demonstration's mistakes and recordings: each is what it claims to be."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

import rnnkit
from rnnkit._demo import recordings
from rnnkit._demo.listening import listen
from rnnkit._demo.mistakes import FEATURES, HIDDEN, MISTAKES, Mistake


def test_recordings():
    """All recordings are there, with the lengths and the speakers that the archive states."""
    train, test = recordings.load()

    assert train.input.shape == (270, 26, 12)
    assert test.input.shape == (370, 29, 12)
    assert train.speaker.bincount().tolist() == [30] * 9
    assert test.speaker.bincount().tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert int(min(train.lengths.min(), test.lengths.min())) == 7
    spoken = torch.arange(26) < train.lengths[:, None]
    assert_close(train.input[spoken].mean(dim=0), torch.zeros(12), atol=1e-5, rtol=0)
    assert_close(train.input[spoken].std(dim=0), torch.ones(12))
    assert not train.input[~spoken].any()


def test_each_mistake(monkeypatch):
    """The right line runs in both namespaces without a warning.

    A name that the program of a mistake does not know is its author's fault, and is raised.
    """
    monkeypatch.setattr(recordings, "EPOCHS", 1)
    for mistake in MISTAKES:
        for nn in (torch.nn, rnnkit.nn):
            mistake.run(nn, right=True)
    with pytest.raises(NameError, match="missing"):
        listen(partial(Mistake("", "{}", wrong="missing", right="", because="").run, torch.nn))


@pytest.mark.slow
def test_silence_costs_accuracy():
    """The first two show in no shape and no loss, as the quick start says, and cost accuracy."""
    for mistake in MISTAKES[:2]:
        assert mistake.silent
        wrong = listen(partial(mistake.run, torch.nn)).value
        right = mistake.run(torch.nn, right=True)

        assert wrong.last_loss < wrong.first_loss / 10
        assert wrong.accuracy < right.accuracy - 0.01
        assert right.accuracy >= 0.95


def test_silent_end_of_a_mistake():
    """Whoever follows torch's advice in mistake 4 makes a silent one, which verify finds."""

    class Advised(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(FEATURES, HIDDEN)

        def forward(self, x):
            h = c = torch.zeros(1, x.size(1), HIDDEN)
            return self.lstm(x, (h, c))[0]

    assert "rnnkit.verify" in MISTAKES[3].because
    with pytest.raises(rnnkit.LeakError, match="batch_first=True"):
        rnnkit.verify(Advised(), recordings.load()[0].input[:8])
