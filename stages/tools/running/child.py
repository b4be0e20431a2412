"""A child process that ends in order when this command is stopped.

`subprocess.run` gives its child a quarter of a second after Ctrl-C, then SIGKILL. After SIGTERM, a block of
`Popen` waits for a child that nobody has stopped.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from stages.common.errors import Terminated


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a command, and wait for its end when the block ends, however that is.

    A terminal sends Ctrl-C to the child itself; SIGTERM is passed on.

    Args:
        command: Its words; no shell reads them.
        **options: Of `subprocess.Popen`.
    """
    process = subprocess.Popen(command, **options)
    try:
        yield process
    except Terminated:
        _terminate(process.pid)
        raise
    finally:
        process.wait()


def _terminate(pid: int) -> None:
    """Stop what a process has started, or itself where it has started nothing.

    DVC would end at once, and its stage would go on alone; after a failed stage it ends in order.
    """
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for running in process.children(recursive=True) or [process]:
            with suppress(psutil.NoSuchProcess):
                running.terminate()
