"""The one command line every `python -m stages.X` shares.

A stage is a function marked with `@stage(argument="params.key", …)`. From its signature follow the options:
an argument named there gets the checked value at that key of the params, a `Path` becomes `--name PATH`, a
`str` becomes a positional. Errors the user can mend end in one line and exit status 1, or 75 where the same
may work in a while.
"""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from stages import params
from stages.common import log
from stages.common.errors import ConvoyError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Stage(Generic[Arguments, Result]):
    """A stage's function together with the params it reads: argument name → key in the params.

    A key may hold `{name}`, filled from the positional of that name: `models.{name}`.
    """

    function: Callable[Arguments, Result]
    reads: Mapping[str, str]

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the function itself."""
        return self.function(*args, **kwargs)


def stage(
    **reads: str,
) -> Callable[[Callable[Arguments, Result]], Stage[Arguments, Result]]:
    """Mark a function as a stage; `reads` says which argument gets which key of the params."""
    return lambda function: Stage(function, reads)


def main(stage: Stage[..., Any], argv: list[str] | None = None) -> None:
    """Run a stage from the command line. Exits after one line for a ConvoyError or an OSError."""
    name = stage.function.__name__
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}", description=inspect.getdoc(stage.function)
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    for argument in inspect.signature(stage.function).parameters.values():
        if argument.name in stage.reads:
            continue
        if argument.annotation is str:
            parser.add_argument(argument.name)
        else:
            parser.add_argument(f"--{argument.name.replace('_', '-')}", type=Path, required=True)
    given = vars(parser.parse_args(argv))
    with told(name):
        checked = params.load(given.pop("params"))
        values = {argument: checked.at(key.format(**given)) for argument, key in stage.reads.items()}
        stage(**values, **given)


@contextmanager
def told(name: str) -> Iterator[None]:
    """Run a block as the command `name`: events go to standard error, what a user can mend is one line."""
    # TensorFlow greets at length on every import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    log.configure(name)
    try:
        yield
    except ConvoyError as error:
        log.error(str(error))
        sys.exit(error.status)
    except OSError as error:
        # A full disk, a folder without permission: nothing that a traceback would explain better.
        log.error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("stopped by the keyboard")
        sys.exit(130)
