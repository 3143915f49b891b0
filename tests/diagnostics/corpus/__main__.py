"""``python -m tests.diagnostics.corpus --seeds 3 --dtype autocast --ask streaming -v``."""

import argparse
import sys
import time
import warnings

import torch

from tests.diagnostics.corpus.runner import DTYPES, Outcome, cases, judge


def say(*texts: str) -> None:
    """Write a line."""
    sys.stdout.write(" ".join(texts) + "\n")


def line(outcome: Outcome, seconds: float) -> str:
    """Write what came of a case."""
    word = f"FAULT {', '.join(outcome.faults)}" if outcome.faults else "ok"
    text = f"{outcome.case.name:34} right: {word:10} {seconds:4.1f}s"
    if outcome.wrong is None:
        return text
    case, found = outcome.case, ", ".join(sorted(outcome.found)) or "MISSED"
    wanted = (
        f"expected: {case.probe}{', if asked' if case.ask else ''}" if case.probe else case.missed
    )
    return f"{text}  wrong: {found} ({wanted})"


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
        say(f"seed {seed}, {args.dtype}")
        for case in cases(args.names):
            start = time.perf_counter()
            outcome = judge(case, seed=seed, dtype=args.dtype, asked=args.ask)
            say(line(outcome, time.perf_counter() - start))
            for said in (outcome.right, outcome.wrong) if args.v else ():
                if said is not None:
                    say("    |", said.text.replace("\n", "\n    | "))
            found += bool(outcome.found)
            pairs += case.is_pair
            faults += bool(outcome.faults)
    say(f"{found} of {pairs} mistakes found, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
