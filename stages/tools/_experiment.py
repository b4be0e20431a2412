"""`dvc exp run` with overrides, or `dvc repro`, for the tools that run the pipeline."""

import shlex
from collections.abc import Sequence

from stages.common.errors import ConvoyError, UsageError
from stages.tools.check import check
from stages.tools.running import child, watching


def words(text: str) -> list[str]:
    """Split `KEY=VALUE` words as a shell does.

    Raises:
        UsageError: A quote has no end.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"SET: {error}: {text}; a value with blanks is in quotes, as in a shell") from None


def command(changes: Sequence[str], *options: str) -> list[str]:
    """The words of `dvc exp run`: its own options or targets, then `KEY=VALUE` words of Hydra."""
    return ["dvc", "exp", "run", *options, *(word for change in changes for word in ("-S", change))]


def run(changes: Sequence[str], *targets: str, member: str | None = None) -> None:
    """Check params and source, as DVC would wait for ever for a pipe, then run the stages.

    `dvc exp run` writes params.yaml before it takes DVC's lock, so a second run would change the params of
    one that is under way. It is refused first.

    Args:
        changes: `KEY=VALUE` words of Hydra; without any, params.yaml stays as it is.
        *targets: Stages to run up to; without any, all stages.
        member: A member that the params must have.

    Raises:
        LockedError: Another run is under way in this folder.
        ParamsError: A param is wrong, or there is no such member.
        SourceError: DVC cannot read the source.
        ConvoyError: DVC fails.
    """
    with watching.reserved():
        check(list(changes), member=member)
        dvc = command(changes, *targets) if changes else ["dvc", "repro", *targets]
        with child.started(dvc) as process:
            status = process.wait()
    if status:
        raise ConvoyError(f"{' '.join(dvc)} failed; the last lines of its output have the reason")
