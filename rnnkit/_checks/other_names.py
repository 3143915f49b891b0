"""What people call arguments, where ours have other names."""

from collections.abc import Sequence

#: Our name of an argument, and what else people call it.
OTHER_NAMES = {
    "input": ("x", "inputs", "data", "x_t"),
    "x_t": ("x", "input"),
    "hx": ("h", "h0", "h_0", "hidden", "state", "states", "initial_state"),
    "lengths": ("seq_lens", "sequence_length"),
    "state_batch_first": ("batch_first",),
    "dim": ("axis",),
    "hidden_size": ("units",),
    "nonlinearity": ("activation",),
}


def fixes_of_names(known: Sequence[str]) -> dict[str, str]:
    """Return our name by each other name that people give an argument, or what to do about it.

    ``known`` are the arguments of one function: only their other names are in it.
    """
    fixes = {other: ours for ours in known for other in OTHER_NAMES.get(ours, ())}
    fixes["return_sequences"] = "leave return_sequences out: the output has every step"
    if "hx" in known:
        for name in ("c", "c0", "c_0"):
            fixes[name] = f"hx=(h, {name}), the pair as one argument"
    if "reset" in known:
        fixes["mask"] = "lengths=mask.sum(seq_dim), if true on valid steps; or reset=mask"
    if "reverse_cells" in known:
        fixes["bidirectional"] = "reverse_cells=[...], the cell of each layer's backward direction"
    return fixes
