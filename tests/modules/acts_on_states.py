"""A call of each function of ``rnnkit.states``, and of each kind of argument that it takes.

Each gets an LSTM's state ``(4, batch, hidden)``, and flags and positions ``(batch,)``. The name begins
with the function's.
"""

import torch

from rnnkit import states

ACTS = {
    "batch_first": lambda state, *_: states.batch_first(state),
    "from_batch_first": lambda state, *_: states.from_batch_first(state),
    "bridge": lambda state, *_: states.bridge(state),
    "bridge, sum": lambda state, *_: states.bridge(state, "sum"),
    "cat": lambda state, *_: states.cat([state, state]),
    "detach": lambda state, *_: states.detach(state),
    "expand": lambda state, flags, _: states.expand(states.select(state, slice(1)), flags.shape[0]),
    "from_layers": lambda state, *_: states.from_layers([state, state]),
    "repeat": lambda state, *_: states.repeat(state, 3),
    "reset": lambda state, flags, _: states.reset(state, flags),
    "reset, to a state": lambda state, flags, _: states.reset(state, flags, state),
    "reset, of None": lambda state, flags, _: states.reset(None, flags, state),
    "select": lambda state, _, positions: states.select(state, positions),
    "select, a list": lambda state, *_: states.select(state, [2, 0, -1]),
    "select, flags": lambda state, flags, _: states.select(state, flags),
    "select, a slice": lambda state, *_: states.select(state, slice(1, None)),
    "to": lambda state, *_: states.to(state, torch.bfloat16),
    "to_layers": lambda state, *_: states.to_layers(state),
}
