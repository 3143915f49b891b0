"""What ``verify`` may cost at most: a few dozen forward passes, whatever the batch."""

#: Samples of a batch that are tried. Each is changed once, which is a run; two would show every
#: leak between neighbours, four also show one that skips a sample.
SAMPLES = 4

#: Ways to lay the batch into the inputs that are tried; only where several axes are as long as it.
TRIES = 12

#: Samples that are run alone, the shortest first: they have the most padding.
ALONE = 3

#: Places at which the probe *causal* cuts: before the last step, and twice further in front.
CUTS = 3

#: Other last steps with which the probe *memory* tries again: units may be dead for one of them.
MEMORIES = 4

#: Calls of layers that the probe *use* looks at, and runs that it begins none after.
CALLS = 4
RUNS = 16
