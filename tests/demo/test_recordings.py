"""The recordings that the demonstration trains on, and that it learns from them."""

import pytest
import torch

import rnnkit
from rnnkit._demo import speakers as demonstration
from tests.demo.scenes import (
    needs_recordings,
)


@needs_recordings
def test_reads_all_recordings(data: demonstration.Data) -> None:
    """All recordings are there, with the lengths and the speakers that the archive states."""
    train, test = data

    assert train.input.shape == (270, 26, 12)
    assert test.input.shape == (370, 29, 12)
    assert train.speaker.bincount().tolist() == [30] * 9
    assert test.speaker.bincount().tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert int(min(train.lengths.min(), test.lengths.min())) == 7


@needs_recordings
def test_scales_what_is_spoken(data: demonstration.Data) -> None:
    """Each feature has mean 0 and deviation 1 over the steps spoken; padding stays zero."""
    spoken = data.train.input[data.train.valid]

    torch.testing.assert_close(spoken.mean(dim=0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(spoken.std(dim=0), torch.ones(12))
    assert not data.train.input[~data.train.valid].any()


@needs_recordings
def test_padding_does_not_matter(data: demonstration.Data) -> None:
    """A recording alone gets the scores that it gets in a padded batch."""
    torch.manual_seed(0)
    model = demonstration.Classifier(rnnkit.nn)
    batch = data.train.take(torch.arange(5))

    alone = [
        model(one.input, one.lengths)
        for one in (data.train.take(torch.tensor([row])) for row in range(5))
    ]

    torch.testing.assert_close(model(batch.input, batch.lengths), torch.cat(alone))


@needs_recordings
def test_namespaces_train_alike(data: demonstration.Data) -> None:
    """Both namespaces give the same loss in every step, bit for bit, and the same accuracy."""
    assert demonstration.train(rnnkit.nn, data, 1, 2) == demonstration.train(torch.nn, data, 1, 2)


@needs_recordings
def test_seed_decides(data: demonstration.Data) -> None:
    """One seed gives one training, another seed another."""
    first, again, other = (demonstration.train(rnnkit.nn, data, seed, 1)[0] for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.slow
@needs_recordings
def test_tells_the_speakers_apart(data: demonstration.Data) -> None:
    """Trained as the demonstration trains, the classifier names 95 of 100 speakers."""
    _, share = demonstration.train(rnnkit.nn, data, seed=0)

    assert share >= 0.95
