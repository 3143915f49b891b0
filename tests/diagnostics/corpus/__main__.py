"""``python -m tests.diagnostics.corpus --seeds 3 --dtype autocast -v``."""

import argparse
import sys
import warnings

import torch

from tests.diagnostics.corpus.runner import DTYPES, cases, judge
from tests.diagnostics.write import entry


def main():
    """Run the corpus; return 1 if a right model is accused, not judged, or fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.diagnostics.corpus", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help="parts of names; the unseen models if there are none"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("-v", action="store_true", help="print reports and messages")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    outcomes = [
        judge(x, seed=n, dtype=args.dtype) for n in range(args.seeds) for x in cases(args.names)
    ]
    for one in outcomes:
        right = ", ".join(one.faults) or "ok"
        found = ", ".join(sorted(one.found)) or "nothing"
        expected = one.case.probe or one.case.missed or "nothing"
        sys.stdout.write(f"{one.case.name}: right {right}, found {found}, expected {expected}\n")
        if args.v:
            sys.stdout.write(entry(one))
    found = [bool(one.found) for one in outcomes if one.case.is_pair]
    faults = [one for one in outcomes if one.faults]
    sys.stdout.write(f"{sum(found)} of {len(found)} mistakes found, {len(faults)} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
