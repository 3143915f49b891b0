"""What a path costs, in nanoseconds; written by ``python -m benchmarks.fit_choice``."""

#: For a call, a step, a step's weights, a row's numbers and a row's weights.
Costs = tuple[float, float, float, float, float]

COSTS: dict[str, dict[tuple[str, bool, str], Costs]] = {}
