"""`dvc exp run` with overrides, or `dvc repro`, for the tools that run the pipeline or some of its stages."""

import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.common.errors import ConvoyError, UsageError
from stages.common.files import replace_atomically
from stages.params import Params
from stages.tools.check import load_checked
from stages.tools.running import child, composing, networks, watching

_PARAMS = Path("params.yaml")


def words(text: str) -> list[str]:
    """Split `KEY=VALUE` words as a shell does.

    Raises:
        UsageError: A quote has no end.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"SET: {error}: {text}; a value with blanks is in quotes, as in a shell") from None


def changes_of(recipe: str | None, text: str) -> list[str]:
    """The `KEY=VALUE` words of RECIPE and of SET; without either, params.yaml stays as it is.

    Raises:
        UsageError: A quote of SET has no end.
    """
    return ([f"recipe={recipe}"] if recipe else []) + words(text)


def command(changes: Sequence[str], recipe: str, *targets: str) -> list[str]:
    """The words of `dvc exp run`: its own targets, then `KEY=VALUE` words of Hydra.

    Args:
        changes: `KEY=VALUE` words.
        recipe: Begins the experiment's name, which is that of the parent run in MLflow, too. DVC's own names
            are two random words.
        *targets: Stages to run up to; without any, all stages.
    """
    name = f"{recipe}-{time.strftime('%Y-%m-%d-%H%M%S')}"
    return [
        "dvc",
        "exp",
        "run",
        "--name",
        name,
        *targets,
        *(word for change in changes for word in ("-S", change)),
    ]


def run(changes: Sequence[str], *targets: str) -> None:
    """Check params, source and networks, then run the stages as an experiment.

    `dvc exp run` writes params.yaml before it takes DVC's lock, so a second run would change the params of
    one that is under way. It is refused first.

    Args:
        changes: `KEY=VALUE` words of Hydra.
        *targets: Stages to run up to; without any, all stages.

    Raises:
        LockedError: Another run is under way in this folder.
        ParamsError: A param is wrong.
        SourceError: The images cannot be used as they are.
        SystemExit: A network or its weights do not fit; the line is printed.
        ConvoyError: DVC fails.
    """
    with watching.reserved():
        checked = load_checked(changes)
        networks.check_in_process(checked, composing.NEXT if changes else _PARAMS, watching.LOG)
        _start(command(changes, checked.recipe, *targets))


def prepare(changes: Sequence[str], *targets: str, check: Callable[[Params], object]) -> None:
    """Check params and source, and run the first stages, whose outputs a tool reads.

    That is no experiment: in `dvc exp show`, it would have the metrics of an earlier run beside these params.

    Args:
        changes: `KEY=VALUE` words of Hydra, whose params are written into params.yaml; without any, it stays
            as it is.
        *targets: Stages to run up to.
        check: Checks the params for what the tool needs besides; raises ParamsError.

    Raises:
        LockedError: Another run is under way in this folder.
        ParamsError: A param is wrong, or `check` has raised it.
        SourceError: The images cannot be used as they are.
        ConvoyError: DVC fails.
    """
    with watching.reserved():
        check(load_checked(changes))
        if changes:
            with replace_atomically(_PARAMS) as partial:
                shutil.copyfile(composing.NEXT, partial)
        _start(["dvc", "repro", *targets])


def _start(dvc: list[str]) -> None:
    with child.started(dvc) as process:
        status = process.wait()
    if status:
        raise ConvoyError(f"{' '.join(dvc)} failed; the last lines of its output have the reason")
