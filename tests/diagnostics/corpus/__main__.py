"""``python -m tests.diagnostics.corpus --seeds 3 --dtype autocast --ask streaming -v``."""

import argparse
import sys
import warnings

import torch

from tests.diagnostics.corpus.runner import DTYPES, Outcome, cases, judge


def line(outcome: Outcome) -> str:
    """Write what came of a case."""
    case, found = outcome.case, ", ".join(sorted(outcome.found)) or "MISSED"
    word = f"FAULT {', '.join(outcome.faults)}" if outcome.faults else "ok"
    asked = ", if asked" if case.ask else ""
    wanted = f"expected: {case.probe}{asked}" if case.probe else case.missed
    wrong = f"  wrong: {found} ({wanted})" if outcome.wrong else ""
    return f"{case.name:34} right: {word:10}{wrong}"


def main() -> int:
    """Run the corpus; return 1 if a right model is accused, not judged, or fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.diagnostics.corpus", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names; all cases if there are none")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--ask", action="append", default=[], metavar="NAME", help="a probe to ask")
    parser.add_argument("-v", action="store_true", help="print reports and messages")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = pairs = faults = 0
    for seed in range(args.seeds):
        for case in cases(args.names):
            outcome = judge(case, seed=seed, dtype=args.dtype, asked=args.ask)
            texts = [said.text for said in (outcome.right, outcome.wrong) if said and args.v]
            sys.stdout.write("\n".join([line(outcome), *texts, ""]))
            found += bool(outcome.found)
            pairs += case.is_pair
            faults += bool(outcome.faults)
    sys.stdout.write(f"{found} of {pairs} mistakes found, {faults} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
