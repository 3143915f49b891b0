"""Translation with attention: sentences of different lengths on both sides.

The language is made up: a translation has the words of its source in reverse, each under another
number. In training the decoder starts from the encoder's last state and reads the right word before
each word (teacher forcing). At each word it attends to the valid steps of the source, and the loss
counts the valid steps of the target. Then the model translates by reading its own words.

    python -m docs.examples.translation
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import rnnkit

WORDS = 12  # 0 is padding, and words begin at 3
BEGIN = 1  # stands before the first word
END = 2  # stands after the last
SIZE = 24


class Translator(nn.Module):
    """An encoder in both directions, a decoder in one, and attention between them."""

    def __init__(self) -> None:
        """Make the weights; two directions side by side are as wide as the decoder."""
        super().__init__()
        self.source = nn.Embedding(WORDS, SIZE, padding_idx=0)
        self.target = nn.Embedding(WORDS, SIZE, padding_idx=0)
        self.encoder = rnnkit.LSTM(SIZE, SIZE, batch_first=True, bidirectional=True)
        self.decoder = rnnkit.LSTM(SIZE, 2 * SIZE, batch_first=True)
        self.head = nn.Linear(4 * SIZE, WORDS)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, rnnkit.LSTMState]:
        """Return what is attended to, ``(batch, source steps, feature)``, and the first state."""
        memory, state = self.encoder(self.source(source), lengths=lengths)
        return memory, rnnkit.states.bridge(state)

    def attend(self, output: Tensor, memory: Tensor, lengths: Tensor) -> Tensor:
        """Score the next word of each step, ``(batch, target steps, words)``."""
        scores = output @ memory.mT  # (batch, target steps, source steps)
        weights = rnnkit.masked.softmax(scores, lengths, dim=2)
        return self.head(torch.cat([output, weights @ memory], dim=2))

    def forward(self, source: Tensor, lengths: Tensor, before: Tensor) -> Tensor:
        """Score each next word, given the right words before it."""
        memory, state = self.encode(source, lengths)
        output, _ = self.decoder(self.target(before), state)
        return self.attend(output, memory, lengths)

    @torch.no_grad()
    def translate(self, source: Tensor, lengths: Tensor, steps: int) -> Tensor:
        """Take the likeliest word at each step, ``(batch, steps)``."""
        memory, state = self.encode(source, lengths)
        word = torch.full((len(source),), BEGIN)
        words = []
        for _ in range(steps):
            y_t, state = self.decoder.step(self.target(word), state)
            word = self.attend(y_t[:, None], memory, lengths)[:, 0].argmax(dim=1)
            words.append(word)
        return torch.stack(words, dim=1)


def draw(batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw sentences and their lengths, their translations and the lengths of these."""
    sources = [torch.randint(3, WORDS, (int(torch.randint(2, 7, ())),)) for _ in range(batch)]
    targets = [torch.cat([WORDS + 2 - words.flip(0), torch.tensor([END])]) for words in sources]
    lengths = torch.tensor([len(words) for words in sources])
    return pad_sequence(sources, True), lengths, pad_sequence(targets, True), lengths + 1


def share_wrong(model: Translator) -> float:
    """Return the share of new sentences with a wrong word in their translation."""
    source, lengths, target, target_lengths = draw(200)
    differs = model.translate(source, lengths, target.size(1)) != target
    return rnnkit.masked.max(differs.float(), target_lengths, dim=1).mean().item()


def main() -> tuple[float, float]:
    """Return the share of wrong translations, before the training and after it."""
    torch.manual_seed(0)
    model = Translator()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    before = share_wrong(model)
    for _ in range(150):
        source, lengths, target, target_lengths = draw(32)
        previous = nn.functional.pad(target[:, :-1], (1, 0), value=BEGIN)
        scores = model(source, lengths, previous)
        losses = nn.functional.cross_entropy(scores.mT, target, reduction="none")
        # The mean of a sentence first: short and long ones count alike.
        loss = rnnkit.masked.mean(losses, target_lengths, dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, share_wrong(model)


if __name__ == "__main__":
    print("wrong translations: {:.0%}, then {:.0%}".format(*main()))  # noqa: T201 - what it is for
