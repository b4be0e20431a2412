"""The command line that all stages, tools and applications share: `python -m stages.X [--debug] …`.

A command is a function. Its signature gives the options: an argument before `*` is a positional, an argument
after it an option. Its Google-style docstring gives the help text. A function under
`@command(argument="params.key", …)` gets these arguments from the checked params file, and the option
`--params` for that file's name.

Every error ends in one line and an exit status by type (stages/common/errors.py). `--debug` shows the
traceback first; so does CONVOY_DEBUG=1, where another program, such as DVC, starts the command.

cyclopts parses. It reads signatures and docstrings as they are and adds 0.15 s to a command that takes 0.03 s
with argparse; typer adds 0.33 s and needs each option declared a second time (median of three,
`time python -m …` for one positional and two options).
"""

import inspect
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, ParamSpec, TypeVar

import cyclopts

from stages.common import events, log
from stages.common.errors import (
    INTERRUPTED,
    SECONDS_OF_ONE_REQUEST,
    TERMINATED,
    ParamsError,
    Terminated,
    UsageError,
    describe,
    exit_status,
)

if TYPE_CHECKING:
    from stages.params import Params

DEBUG_VARIABLE = "CONVOY_DEBUG"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Command(Generic[Arguments, Result]):
    """A function together with the params it reads: argument name → key in the params.

    A key may hold `{name}`, filled with the positional of that name: `models.{name}`. So may the paths on the
    command line, which may also hold `{input}`: what the member reads.
    """

    function: Callable[Arguments, Result]
    reads: Mapping[str, str]

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the function itself."""
        return self.function(*args, **kwargs)


def command(
    **reads: str,
) -> Callable[[Callable[Arguments, Result]], Command[Arguments, Result]]:
    """Mark a function as one that is run with a params file, all of which is checked before it starts.

    Args:
        **reads: For each argument that comes from the params, its dotted key there.

    Returns:
        A decorator. The decorated function can still be called directly.
    """
    return lambda function: Command(function, reads)


def main(target: Command[..., Any] | Callable[..., Any], argv: list[str] | None = None) -> None:
    """Run a function as a command line program.

    Args:
        target: The function, or the result of `@command(…)`.
        argv: The words of the command line without the program's name; by default those of this process.

    Raises:
        SystemExit: With the status of `stages.common.errors` when the command fails.
    """
    function, reads = (target.function, target.reads) if isinstance(target, Command) else (target, None)
    module = _module_name(function)
    with error_boundary(module.rpartition(".")[2]):
        run, arguments = _parse(function, reads, f"python -m {module}", argv)
        if arguments.pop("debug", False):
            # A variable, so that processes that this one starts show their tracebacks as well.
            os.environ[DEBUG_VARIABLE] = "1"
        with events.recorded(module.rpartition(".")[2]):
            run(**arguments)


@contextmanager
def error_boundary(name: str) -> Iterator[None]:
    """Log events of the block under `name`; end the process after one line when the block fails.

    Args:
        name: What log lines call this command.

    Raises:
        SystemExit: With the status that `stages.common.errors.exit_status` gives the error.
    """
    log.configure(name)
    try:
        with _raising_on_sigterm():
            yield
    except KeyboardInterrupt:
        log.error("stopped by the keyboard")
        sys.exit(INTERRUPTED)
    except Terminated:
        log.error("stopped by SIGTERM; run it again")
        sys.exit(TERMINATED)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
            traceback.print_exc()
        log.error(describe(error))
        sys.exit(exit_status(error))


@contextmanager
def _raising_on_sigterm() -> Iterator[None]:
    """Raise Terminated in the block on SIGTERM, so that partial outputs go and MLflow's run ends as KILLED.

    A later SIGTERM ends the process at once, as does the first by Python's default. One that comes within two
    seconds is the same request; see SECONDS_OF_ONE_REQUEST. A training has another handler inside
    (stages/models/training/interruption.py). Python sets handlers in its main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        first = time.monotonic()

        def stop_again(*_: object) -> None:
            if time.monotonic() - first > SECONDS_OF_ONE_REQUEST:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.raise_signal(signal.SIGTERM)

        signal.signal(signal.SIGTERM, stop_again)
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _parse(
    function: Callable[..., Any], reads: Mapping[str, str] | None, program: str, argv: list[str] | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What to call, and the arguments that the command line gives it."""
    parameters = [
        # cyclopts would offer what may be named by position as an option, too.
        parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY)
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        else parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in (reads or {})
    ]
    if reads is not None:
        parameters.append(_option("params", Path, Path("params.yaml"), "The params file."))
    parameters.append(_option("debug", bool, False, "Show the traceback of an error."))

    def run(**arguments: Any) -> None:
        if reads is None:
            function(**arguments)
            return
        complete = _with_params(arguments, reads)
        function(**complete)
        if "DVC_STAGE" in os.environ and _with_params(arguments, reads) != complete:
            # DVC records the values that the file has when the stage ends. With the outputs of others under
            # them, its cache would give a wrong result from then on.
            raise ParamsError(f"{arguments['params']} changed while this stage ran; run it again")

    def shown(**arguments: Any) -> None:
        """Carry the signature and docstring that cyclopts reads."""

    shown.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    shown.__doc__ = function.__doc__
    app = cyclopts.App(
        name=program,
        version_flags=[],
        help_format="plaintext",
        help_formatter="plain",
        # No `--no-debug` beside `--debug`.
        default_parameter=cyclopts.Parameter(negative=""),
    )
    app.default(shown)
    try:
        chosen, bound, *_ = app.parse_args(argv, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise UsageError(f"{str(error).rstrip('.')}; --help lists the options") from None
    if chosen is not shown:
        # --help. Its own arguments are bound.
        return chosen, bound.arguments
    bound.apply_defaults()
    return run, bound.arguments


def _with_params(arguments: Mapping[str, Any], reads: Mapping[str, str]) -> dict[str, Any]:
    """The arguments, with those that come from the params, all of which are checked."""
    # A tool without params starts in half the time without the import.
    from stages import params

    complete = dict(arguments)
    checked = params.load(complete.pop("params"))
    if "name" in complete:
        complete = _filled(complete, checked)
    return complete | {name: checked.at(key.format(**complete)) for name, key in reads.items()}


def _filled(arguments: Mapping[str, Any], params: "Params") -> dict[str, Any]:
    """Paths with the entry's name for `{name}` and its input for `{input}`; the name may be `STAGE@NAME`.

    dvc.yaml has these words, as DVC quotes nothing that it fills into a command: a name or input of a user's
    there would be read by a shell.
    """
    name = arguments["name"].rpartition("@")[2]
    values = {"{name}": name}
    if name in params.models:
        values["{input}"] = params.models[name].input
    elif name not in params.extractors:
        params.at(f"models.{name}")
    filled = dict(arguments) | {"name": name}
    for key, value in arguments.items():
        if isinstance(value, Path):
            for word, meaning in values.items():
                filled[key] = Path(str(filled[key]).replace(word, meaning))
    return filled


def _option(name: str, kind: type, default: Any, text: str) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, cyclopts.Parameter(help=text)],
    )


def _module_name(function: Callable[..., Any]) -> str:
    """The module that `python -m` was called with, or the function's own when it is called in a test."""
    if function.__module__ != "__main__":
        return function.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else function.__name__
