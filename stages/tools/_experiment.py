"""`dvc exp run` with overrides, for the tools that run the pipeline."""

import subprocess
from collections.abc import Sequence

from stages.common.errors import ConvoyError
from stages.tools.check import check


def command(changes: Sequence[str], *words: str) -> list[str]:
    """The words of `dvc exp run`: its own options or targets, then `KEY=VALUE` words of Hydra."""
    return ["dvc", "exp", "run", *words, *(word for change in changes for word in ("-S", change))]


def run(changes: Sequence[str], *targets: str) -> None:
    """Check params and source, as DVC would wait for ever for a pipe, then run the stages.

    Args:
        changes: `KEY=VALUE` words of Hydra.
        *targets: Stages to run up to; without any, all stages.

    Raises:
        ParamsError: A param is wrong.
        SourceError: DVC cannot read the source.
        ConvoyError: DVC fails.
    """
    check(list(changes))
    words = command(changes, *targets)
    if subprocess.run(words, check=False).returncode:
        raise ConvoyError(f"{' '.join(words)} failed; the last lines of its output have the reason")
