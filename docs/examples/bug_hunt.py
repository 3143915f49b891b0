"""A bug hunt: a classifier that trains without an error, and is wrong in two places.

``rnnkit.verify`` finds one after the other, says where, and says what to type. The versions of the
model differ by what was typed. The same training then shows what the mistakes cost.

    python -m docs.examples.bug_hunt
"""

import torch
from torch import Tensor, nn

import rnnkit

FEATURES = 6
HIDDEN = 16
CLASSES = 3
STEPS = 9


class Classifier(nn.Module):
    """The model as it was found: the state is reshaped, and the lengths are not read."""

    def __init__(self) -> None:
        """Make the weights."""
        super().__init__()
        self.gru = rnnkit.GRU(FEATURES, HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, CLASSES)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - one of the mistakes
        """Score the classes of a padded batch."""
        _, state = self.gru(x)
        return self.head(state.view(len(x), -1))


class OwnState(Classifier):
    """After the first finding: ``last_hidden`` transposes and reshapes, as the message says."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002 - the other mistake
        """Score the classes of a padded batch."""
        _, state = self.gru(x)
        return self.head(self.gru.last_hidden(state))


class OwnSteps(Classifier):
    """After the second finding: the state is the one after each sample's own steps."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Score the classes of a padded batch."""
        _, state = self.gru(x, lengths=lengths)
        return self.head(self.gru.last_hidden(state))


def draw(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw noise of 2 to 9 steps, padded by zeros; the last valid step shows the class."""
    lengths = torch.randint(2, STEPS + 1, (batch,))
    labels = torch.randint(CLASSES, (batch,))
    x = torch.randn(batch, STEPS, FEATURES)
    x[torch.arange(batch), lengths - 1, labels] += 4
    x[~rnnkit.masked.mask(lengths, STEPS)] = 0
    return x, lengths, labels


def share_wrong(model: Classifier) -> float:
    """Train a model, and return the share of wrong answers on samples that it has not seen."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        x, lengths, labels = draw(32)
        loss = nn.functional.cross_entropy(model(x, lengths), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, lengths, labels = draw(500)
    return (model(x, lengths).argmax(dim=1) != labels).float().mean().item()


def main() -> tuple[float, float]:
    """Print what is found, and return the share of wrong answers with the mistakes and without."""
    torch.manual_seed(0)
    x, lengths, _ = draw(8)
    for model in (Classifier(), OwnState(), OwnSteps()):
        report = rnnkit.verify(model, x, lengths, lengths=lengths, raises=False)
        print(f"{type(model).__name__}: {report.headline}")  # noqa: T201 - what it is for
        for finding in report.findings:
            print(finding)  # noqa: T201 - as above
    return share_wrong(Classifier()), share_wrong(OwnSteps())


if __name__ == "__main__":
    print("wrong answers: {:.0%}, then {:.0%}".format(*main()))  # noqa: T201 - as above
