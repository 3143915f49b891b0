"""A Lightning callback that verifies a model on the first batch of its training."""

from collections.abc import Callable
from typing import Any

import lightning

import rnnkit


class VerifyOnce(lightning.Callback):
    """Run ``rnnkit.verify`` on the first batch, before anything is trained."""

    def __init__(self, inputs_of: Callable[[Any], tuple[Any, ...]], **options: Any) -> None:
        """Take a function that picks the model's inputs from a batch, and verify's options."""
        self.inputs_of = inputs_of
        self.options = options
        self.report: rnnkit.Report | None = None

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Verify the module on the batch, once."""
        if self.report is None:
            self.report = rnnkit.verify(pl_module, *self.inputs_of(batch), **self.options)
