"""What a compiler sees instead of torch's kernels: operators that it leaves whole.

A compiler that traces torch's kernels unrolls every step, and fails at oneDNN's derivative. Here it
sees ``rnnkit::layer``, one layer in one direction, and ``rnnkit::resets``, the same with
resets; the graph does not grow with the steps. ``direction`` has what the first one computes.
"""
