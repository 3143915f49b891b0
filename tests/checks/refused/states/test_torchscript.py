"""A layer with batch-first states has no TorchScript form."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_batch_first_states_have_no_torchscript(name: str) -> None:
    """A layer with batch-first states is no layer of torch's: scripting says what to write."""
    layer = getattr(rnnkit, name)(3, 4, state_batch_first=True)

    with pytest.raises(rnnkit.RnnkitError) as caught:
        torch.jit.script(layer)
    assert caught.value.argument == "state_batch_first"


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_message_of_batch_first_states_in_torchscript() -> None:
    """The message says what to write in place of it."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        torch.jit.script(rnnkit.GRU(3, 4, state_batch_first=True))
    assert str(caught.value) == snapshot("""\
GRU(..., state_batch_first=True) has no TorchScript form
  fix       state_batch_first=False, and state.transpose(0, 1) in the caller
  more      python -m rnnkit explain script-state\
""")
