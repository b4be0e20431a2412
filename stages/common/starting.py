"""SIGTERM while a command imports its libraries, which takes seconds: one line and the exit status, as later.

`stages/cli.py` handles the signal as soon as the command's function is known. Until then nothing has been
written, so the process ends at once. The line is written without the modules of the log, as an import may be
under way.
"""

import os
import signal
import sys
import threading
import time

from stages.common.errors import TERMINATED


def end_on_sigterm(command: str) -> None:
    """Handle SIGTERM until the command handles it itself.

    Args:
        command: What log lines call the command.
    """

    def end(*_: object) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f'time={when} level=error stage={command} event="stopped by SIGTERM; run it again"'
        if os.isatty(2):
            line = f"[{command}] error: stopped by SIGTERM; run it again"
        os.write(2, f"{line}\n".encode())
        os._exit(TERMINATED)

    # A program that ignores the signal, or handles it, has its reasons.
    if threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        signal.signal(signal.SIGTERM, end)


def command_name() -> str | None:
    """The name of the stage or tool that this process was started for by `python -m`; None in another one."""
    option, module = (*sys.orig_argv[1:3], "", "")[:2]
    package, _, name = module.rpartition(".")
    return name if option == "-m" and package in ("stages", "stages.tools") else None
