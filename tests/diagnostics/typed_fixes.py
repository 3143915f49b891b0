"""Models with a mistake, and what a finding says of each: its cause, and the fix to type."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tests.diagnostics.corpus.forward import model
from tests.diagnostics.models_of_users import gru, numbers
from tests.diagnostics.typed_models import (
    attention,
    bridge_viewed,
    cell_and_head,
    flags_as_index,
    last_of_the_batch,
    layer_and_head,
    log_softmax_over_steps,
    mask_over_queries,
    mask_transposed,
    never_advanced,
    one_direction,
    padded_tokens,
    padding_in_front,
    samples_interleaved,
    samples_repeated,
    sequences,
    softmax_module,
    softmax_of_one,
    softmax_over_samples,
    state_viewed,
    steps_first,
    steps_viewed,
    strided,
    with_dones,
    with_lengths,
    written_in_place,
)


@dataclass(frozen=True)
class Typed:
    """A wrong model, the words of its finding, and the model after its fix was typed.

    ``compute`` takes the model, and ``m.way``: ``"wrong"``, ``"typed"`` or ``"right"``; ``given``
    makes the inputs of some samples and steps.
    """

    compute: Callable[..., Tensor]
    given: Callable[[int, int], tuple[Tensor, ...]]
    probe: str
    words: tuple[str, ...]
    parts: Callable[[], dict[str, nn.Module]]
    options: dict[str, Any] = field(default_factory=dict)

    def make(self, way: str) -> nn.Module:
        """Make one of the three models, with the same weights."""
        torch.manual_seed(5)
        return model(self.compute, way=way, **self.parts())


FIXES = {
    "softmax over the samples": Typed(
        softmax_over_samples,
        steps_first,
        "batch",
        ("this softmax is over axis 1, where the samples are", "softmax(dim=0)"),
        lambda: {"rnn": nn.GRU(3, 6), "score": nn.Linear(6, 1), "head": nn.Linear(6, 4)},
        {"batch_dim": 1},
    ),
    "log_softmax over the steps": Typed(
        log_softmax_over_steps,
        sequences,
        "causal",
        ("this log_softmax is over axis 1, where the steps are", "log_softmax(dim=2)"),
        layer_and_head,
        {"causal": True},
    ),
    "a module that is over the steps": Typed(
        softmax_module,
        sequences,
        "causal",
        ("this Softmax is over axis 1, where the steps are", "Softmax(dim=2)"),
        lambda: {
            **layer_and_head(),
            "wrong": nn.Softmax(1),
            "typed": nn.Softmax(dim=2),
            "right": nn.Softmax(-1),
        },
        {"causal": True},
    ),
    "a state that is viewed": Typed(
        state_viewed,
        sequences,
        "batch",
        ("this view moves no axis", "x.transpose(0, 1).reshape(...)"),
        lambda: {"rnn": gru(num_layers=2), "head": nn.Linear(12, 4)},
    ),
    "steps that are viewed": Typed(
        steps_viewed,
        sequences,
        "batch",
        ("this view moves no axis", "x.transpose(0, 1).reshape(...)"),
        lambda: {"rnn": nn.GRU(3, 6), "head": nn.Linear(6, 4)},
    ),
    "beams in another order": Typed(
        samples_repeated,
        lambda batch, seq: (numbers(batch, seq, 3), numbers(batch, 3, 2)),
        "batch",
        ("repeat(3, 1, 1) at typed_models.py", "repeat_interleave(3, 0) there"),
        lambda: layer_and_head(8),
    ),
    "beams of another order": Typed(
        samples_interleaved,
        lambda batch, seq: (numbers(batch, seq, 3), numbers(batch, 3, 2)),
        "batch",
        ("repeat_interleave(3, -3) at typed_models.py", "repeat(3, 1, 1) there"),
        lambda: layer_and_head(8),
    ),
    "flags as an index": Typed(
        flags_as_index,
        with_dones,
        "batch",
        ("is a mask of integers: it picks rows 0 and 1", "x[flags.bool()]"),
        lambda: {"rnn": gru()},
    ),
    "a mask over the queries": Typed(
        mask_over_queries,
        padded_tokens,
        "alone",
        ("is over the queries of the scores, not over the keys", "mask.unsqueeze(1)"),
        attention,
    ),
    "a state that is written in place": Typed(
        written_in_place,
        sequences,
        "causal",
        ("members are one tensor", "outputs.append(h.clone())"),
        cell_and_head,
        {"causal": True, "skip": ["gradient"]},
    ),
    "lengths after a stride": Typed(
        strided,
        with_lengths,
        "alone",
        ("after a stride the lengths are (lengths + 1) // 2",),
        lambda: {"conv": nn.Conv1d(3, 6, 3, stride=2, padding=1), "head": nn.Linear(6, 4)},
    ),
    "padding in front": Typed(
        padding_in_front,
        with_lengths,
        "alone",
        ("read the last step, y[:, -1]: the padding is in front",),
        cell_and_head,
        {"pad": "pre"},
    ),
    "two views around a bridge": Typed(
        bridge_viewed,
        sequences,
        "batch",
        ("move no axis", "x.transpose(0, 1).reshape(...) at typed_models.py", "sizes 0 and 1"),
        lambda: {
            "encoder": gru(num_layers=2),
            "bridge": nn.Linear(12, 12),
            "decoder": nn.GRU(6, 6, 2, batch_first=True),
        },
    ),
    "a mask that is transposed": Typed(
        mask_transposed,
        sequences,
        "causal",
        ("is transposed: it hides the earlier keys", "mask.mT"),
        lambda: {**layer_and_head(), "query": nn.Linear(6, 6)},
        {"causal": True},
    ),
    "a softmax of one number": Typed(
        softmax_of_one,
        sequences,
        "gradient",
        ("is over an axis of size 1: it returns ones", "softmax over the steps"),
        lambda: {**layer_and_head(), "score": nn.Linear(6, 1)},
    ),
    "the last sample for the last step": Typed(
        last_of_the_batch,
        sequences,
        "batch",
        ("y[-1] of an output, which is its last sample", "y[:, -1], which is the last step"),
        layer_and_head,
    ),
    "a direction that is not read": Typed(
        one_direction,
        sequences,
        "gradient",
        ("nothing reads the forward direction", "y[..., :6] is forward and y[..., 6:] backward"),
        lambda: {
            "rnn": gru(bidirectional=True),
            "head": nn.Linear(12, 4),
        },
    ),
    "a state that never advances": Typed(
        never_advanced,
        sequences,
        "gradient",
        ("the zeros made at typed_models.py", "advance it in the loop"),
        lambda: {"reset": nn.Linear(9, 6), "new": nn.Linear(9, 6), "head": nn.Linear(6, 4)},
    ),
}
