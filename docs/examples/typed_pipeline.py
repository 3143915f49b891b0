"""A typed pipeline: an axis has one name, from the batch that is padded to the loss.

Sequences of different lengths are classified by what their first step shows. beartype checks the
annotations at each call. ``axes=`` tells the layer the same names, so a layer that reads the batch
as time is refused, whatever shape its output has.

    python -m docs.examples.typed_pipeline
"""

import torch
from beartype import beartype
from jaxtyping import Float, Int, jaxtyped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rnnkit import nn

FEATURES = 6
CLASSES = 3
HIDDEN = 16

checked = jaxtyped(typechecker=beartype)

Sample = tuple[Float[Tensor, "_ feature"], int]  # the steps of each are its own
Batch = tuple[Float[Tensor, "batch time feature"], Int[Tensor, " batch"], Int[Tensor, " batch"]]


def draw_sample() -> Sample:
    """Draw 3 to 12 steps of noise; the first one shows the class."""
    label = int(torch.randint(CLASSES, ()))
    x = torch.randn(int(torch.randint(3, 13, ())), FEATURES)
    x[0, label] += 4
    return x, label


@checked
def collate(samples: list[Sample]) -> Batch:
    """Pad samples to one batch: the input, the lengths, the classes."""
    sequences, labels = zip(*samples, strict=True)
    lengths = torch.tensor([len(x) for x in sequences])
    return pad_sequence(list(sequences), batch_first=True), lengths, torch.tensor(labels)


class Classifier(nn.Module):
    """Has the methods of a LightningModule: derive it from that, and a Trainer runs it."""

    def __init__(self) -> None:
        """Name the axes of the layer as the annotations do."""
        super().__init__()
        self.lstm = nn.LSTM(
            FEATURES,
            HIDDEN,
            batch_first=True,
            bidirectional=True,
            axes={"batch": "batch", "seq": "time", "feature": "feature"},
        )
        self.head = nn.Linear(2 * HIDDEN, CLASSES)

    @checked
    def forward(
        self, x: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Score the classes by the state after each sample's own last step."""
        _, state = self.lstm(x, lengths=lengths)
        scores: Tensor = self.head(self.lstm.last_hidden(state))
        return scores

    @checked
    def training_step(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        x, lengths, labels = batch
        return nn.functional.cross_entropy(self(x, lengths), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return what the weights are learned with."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main() -> tuple[float, float]:
    """Train as a Trainer does, and return the loss of the first batch and of the last."""
    torch.manual_seed(0)
    model = Classifier()
    optimizer = model.configure_optimizers()
    losses = []
    for _ in range(60):
        batch = collate([draw_sample() for _ in range(32)])
        loss = model.training_step(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


if __name__ == "__main__":
    print("loss: {:.3f}, then {:.3f}".format(*main()))  # noqa: T201 - what it is for
