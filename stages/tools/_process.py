"""A trial's process, from the side of the sweep: stages/tools/trial.py describes the lines."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stages.common.errors import ConvoyError

MARK = "@trial "


class TrialFailedError(ConvoyError):
    """A trial ended without a result; the message has its exit status and last line."""


def run_trial(
    command: Sequence[str], variables: Mapping[str, str], report: Callable[[int, float], bool]
) -> dict[str, Any] | None:
    """Run a trial to its end, or until `report` says stop.

    Args:
        command: The words of the command line.
        variables: Environment variables to add.
        report: Takes an epoch, from 1, and its val error; returns whether to go on.

    Returns:
        The trial's last message: its result, or `diverged`. None for a trial that was stopped.

    Raises:
        TrialFailedError: The process failed without such a message.
    """
    result: dict[str, Any] = {}
    stopped, last = False, "no output"
    # One pipe for both streams: the log passes through, and the order of lines stays.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith(MARK):
                sys.stderr.write(line)
                last = line.strip() or last
                continue
            message = json.loads(line.removeprefix(MARK))
            if "epoch" not in message:
                result = message
                continue
            stopped = not report(message["epoch"], message["val_error"])
            process.stdin.write("stop\n" if stopped else "go\n")
            process.stdin.flush()
    if stopped and process.returncode == 0:
        return None
    if process.returncode and "diverged" not in result:
        raise TrialFailedError(f"exit status {process.returncode}: {last}")
    return result
