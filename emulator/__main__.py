"""`python -m emulator local|demo|deploy`. Until something has been started, a signal simply ends the process."""

from __future__ import annotations

import signal
import sys


def run() -> int:
    # Importing takes a second, in which Ctrl-C would be a traceback out of somebody else's module.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from emulator.command_line import run_as_process

    return run_as_process(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
