# SPDX-License-Identifier: GPL-2.0
"""The program rdax(8), which scripts/rdax starts."""

# First, so that ^C ends the program without a trace until run() handles it.
import signal

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A ^C since scripts/rdax blocked it ends the program here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

import sys

sys.dont_write_bytecode = True

from rdax.cli import run

if __name__ == "__main__":
    run()
