"""``python -m rnnkit``: the demonstration on real data; ``explain CODE``: what an error means."""

import signal
import sys
import traceback


def main() -> None:
    """Explain an error if asked to, else run the demonstration."""
    if sys.argv[1:2] == ["explain"]:
        from rnnkit._explain import explain  # noqa: PLC0415 - it needs nothing of the demonstration

        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
        explain(sys.argv[2:])
        return
    import torch  # noqa: PLC0415

    from rnnkit._demo import show  # noqa: PLC0415

    # Nets as small as these are faster on one thread, and so give the same numbers everywhere.
    torch.set_num_threads(1)
    # Before Python 3.13 the interpreter itself quotes only files, and a mistake is in none.
    sys.excepthook = traceback.print_exception
    try:
        show.main()
    except KeyboardInterrupt:
        sys.exit("\nStopped.")


if __name__ == "__main__":
    main()
