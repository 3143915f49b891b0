"""``python -m rnnkit``: the versions, and the demonstration on real data."""

import sys
import traceback

import torch

from rnnkit._demo.speakers import main

if __name__ == "__main__":
    # Nets as small as these are faster on one thread, and so give the same numbers everywhere.
    torch.set_num_threads(1)
    # Before Python 3.13 the interpreter itself quotes files alone; a mistake stands in none.
    sys.excepthook = traceback.print_exception
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
