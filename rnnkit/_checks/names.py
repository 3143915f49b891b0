"""Names that a constructor, a call or a function does not have, and what is meant by them."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

from rnnkit._base.message import BRIEF_LENGTH, bounded, brief

#: What people call an argument, by its name here; the second name is that of a step's.
MEANT = {
    "units": "hidden_size", "input_dim": "input_size", "use_bias": "bias",
    "activation": "nonlinearity", "batch_first": "state_batch_first",
    "hx": "state", "input": "x_t", "input_lengths": "lengths",
    **dict.fromkeys(["x", "inputs", "input_", "inp", "data", "sequence", "x_t"], "input"),
    **dict.fromkeys(["state", "states", "hidden", "hidden_state", "initial_state"], "hx"),
    **dict.fromkeys(["h", "h0", "h_0", "h_n", "hc", "carry", "init_state", "prev_state"], "hx"),
    **dict.fromkeys(["lens", "length", "seq_lens", "seq_lengths", "sequence_length"], "lengths"),
}  # fmt: skip
RESET = re.compile("reset|done|start|begin|boundar|terminat|trunc|episode|is_first|is_init")
STATE = re.compile("state|hidden|cell")
CELL_STATES = {"c", "c0", "c_0", "cx", "cell", "cell_state"}

#: What to do about an option that exists elsewhere only; of Keras first.
ADVICE = {
    "return_sequences": "leave it out: output, state = layer(input) returns every step",
    "return_state": "leave it out: output, state = layer(input) returns the state too",
    "go_backwards": "rnnkit.unroll(cell, input, reverse=True)",
    "stateful": "leave it out: output, hx = layer(input, hx) passes the state along",
    "recurrent_dropout": "leave it out: torch's kernels have none between steps",
    "proj_size": "leave proj_size out, or follow {owner} by torch.nn.Linear",
    "nonlinearity": "leave {name} out: {owner} has fixed ones, RNN and RNNCell take nonlinearity",
}
OF_RECURRENT = {
    "bidirectional": "reverse_cells=[...], the cell of each layer's backward direction",
    "num_layers": "cells=[...], the cell of each layer",
}


def reset_hint(name: str, known: Sequence[str]) -> str:
    """Write how a mask of resets is given to a call."""
    if "reset" in known:
        return f"reset={name}, if it is true where a sample starts again"
    return f"rnnkit.states.reset(hx, {name}) as hx, if it is true for samples that start again"


def hint(owner: str, name: str, value: Any, known: Sequence[str]) -> str:
    """Write what is meant by a name that its owner does not have."""
    shown, meant = bounded(name, BRIEF_LENGTH), MEANT.get(name, name)
    meant = meant if meant in known else MEANT.get(meant, meant)
    if "reverse_cells" in known and name in OF_RECURRENT:
        return OF_RECURRENT[name]
    if name in CELL_STATES and "hx" in known:
        return f"hx=(h, {shown}), the pair as one argument"
    if "hx" in known and RESET.search(name) and not STATE.search(name):
        return reset_hint(shown, known)
    if name == "time_major" and "batch_first" in known:
        return f"batch_first={not value}"
    if name == "batch_first" and meant in known:
        return f"leave {name} out, or {meant}=True for the states of a layer that has it"
    if name in {"batch_first", "bidirectional", "num_layers"} and "hidden_size" in known:
        return f"leave {name} out: a cell is one layer, in one direction, for one step"
    if meant in ADVICE and meant not in known:
        return ADVICE[meant].format(owner=owner, name=name)
    close = [meant] if meant in known else difflib.get_close_matches(shown, known)
    given = brief(value) if isinstance(value, str | int | float) else shown
    return f"{close[0]}={given}" if close else f"leave {shown} out"
