"""How far the chosen path is from the best one, at sizes that the rule was not fitted on."""

import itertools
import statistics

from benchmarks.passes import PASSES
from benchmarks.path_calls import KINDS, made, run, sizes
from benchmarks.report import Table, budget
from benchmarks.timing import Effort, compare
from rnnkit._kernels import choice

SEED, NUMBER = 2, 80
MEAN, NEAR, SHARE = 1.10, 1.40, 0.95


def tables(effort: Effort) -> list[Table]:
    """Lengths and resets, in both passes, each kind of layer in turn."""
    rows: list[tuple[str, ...]] = []
    drawn = sizes(NUMBER, SEED)[: effort.sizes]
    for (passes, backward), resets in itertools.product(PASSES.items(), (False, True)):
        ratios = [
            regret(kind, size, effort.brief(), gradients=backward, resets=resets)
            for kind, size in zip(itertools.cycle(KINDS), drawn, strict=False)
        ]
        mean = statistics.geometric_mean(ratios)
        near = sum(ratio <= NEAR for ratio in ratios) / len(ratios)
        rows.append(
            (
                *(passes, "reset" if resets else "lengths"),
                *(f"{mean:.2f}", budget(mean, MEAN), f"{near:.0%}"),
                f"{SHARE:.0%}" if near >= SHARE else f"{SHARE:.0%} **missed**",
                f"{max(ratios):.2f}",
            )
        )
    return [
        Table(
            "Choice of path",
            f"Time of the call by that of the best path, over {NUMBER} random sizes: the\n"
            f"geometric mean, how many are within {NEAR:.2f}, and the worst. Batches of 2 to 128,\n"
            "6 to 400 steps.",
            ("passes", "given", "mean", "budget", f"within {NEAR:.2f}", "at least", "worst"),
            rows,
        )
    ]


def regret(kind: str, size: object, effort: Effort, *, gradients: bool, resets: bool) -> float:
    """Return the time of what is chosen, by that of the best path."""
    call = made(kind, size, gradients=gradients)  # type: ignore[arg-type]
    paths = [choice.PACKED, choice.ROWS]
    if resets:
        paths += [choice.STEPS, *([choice.BLANK] if kind.startswith("LSTM") else [])]
    else:
        paths.append(choice.PADDED)
    ways = {path: run(call, path, resets=resets) for path in paths}
    timings = compare({"chosen": run(call, None, resets=resets), **ways}, effort)
    return 1 / min(1.0, *(timings[path].ratio for path in paths))
