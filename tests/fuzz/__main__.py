"""The fuzzers, a count of draws each: ``nox -s fuzz -- 5000``, then the first seed if not 0."""

import sys
import warnings

import torch

from tests.fuzz import ours_alone, right_calls, wrong_calls


def main(count: int, first: int = 0) -> int:
    """Run all, and say which seeds failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failures = 0
    for fuzzer in (right_calls, wrong_calls, ours_alone):
        name = fuzzer.__name__.rpartition(".")[2]
        for seed in range(first, first + count):
            problem = fuzzer.check(seed)
            if problem:
                failures += 1
                print(f"{name} {seed}: {problem}")
        print(f"{name}: {count} draws from {first}, {failures} failures so far")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
