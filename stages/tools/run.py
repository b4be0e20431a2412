"""Run the pipeline: `make run`, `make run DATA=PATH`, `make run RECIPE=name SET="key=value …"`.

Everything that can be known without decoding an image is checked and said before DVC starts. Then DVC runs
the stages, one line each.
"""

import shutil
import sys
import time
from pathlib import Path

from stages import cli
from stages import params as typed
from stages.common.errors import TRANSIENT, UsageError
from stages.data import layout
from stages.params import Params
from stages.tools import _experiment
from stages.tools.running import (
    checking,
    choosing,
    composing,
    describing,
    ending,
    estimating,
    networks,
    watching,
)
from stages.tools.running.screen import Screen

_PARAMS = Path("params.yaml")
_CONF = Path("conf")
# What DATA chooses. Other keys of the source, such as an archive's encoding, are the user's.
_CHOSEN = ("dataset", "ingest.source", "ingest.source.kind", "ingest.source.path", "recipe")


def run(
    data: Path | None = None,
    *,
    recipe: str | None = None,
    set: str = "",  # noqa: A002 (the option's name)
    verbose: bool = False,
    dry_run: bool = False,
) -> None:
    """Report what will run, check it, run it, and report its results.

    Args:
        data: Images of one's own: a folder, an archive, a CSV file or a file of arrays.
        recipe: A file of conf/recipe, without its ending; by default params.yaml as it is, with `set` the
            default recipe.
        set: `KEY=VALUE` words, separated by blanks, as -S of `dvc exp run`.
        verbose: Show DVC's own messages and commands, and what libraries print.
        dry_run: Stop before the pipeline starts.

    Raises:
        UsageError: Both data and a recipe are named, `set` changes what data chooses, or it has a quote
            without its end.
        SourceError: The images cannot be used as they are.
        ParamsError: A param is wrong, or the folder cannot be written or is too full.
        LockedError: Another run is under way in this folder.
    """
    if data is not None and recipe is not None:
        raise UsageError("DATA chooses the recipe; name DATA or RECIPE (make new writes a recipe for data)")
    changes = _experiment.changes_of(recipe, set)
    with watching.reserved():
        if data is not None:
            params, changes, images = _plan(data, changes)
        else:
            params = _compose(changes) if changes else typed.load(_PARAMS)
            images = checking.check_images(params)
            checking.check_places(checking.disk_bytes(images, params))
            print(describing.describe_recipe(params), flush=True)
        checking.check_files(params)
        networks.check_in_process(params, composing.NEXT if changes else _PARAMS, watching.LOG)
        if not dry_run:
            _execute(params, changes, images, verbose=verbose)


def _plan(data: Path, changes: list[str]) -> tuple[Params, list[str], int]:
    """Recognize images, say what the run does, and check it."""
    _check_changes(changes)
    # Not resolved: DVC watches a link under its own name.
    recognized = layout.recognize(Path.cwd() / data.expanduser())
    checking.check_source(recognized.params())
    choice = choosing.choose(Path("datasets"))
    overrides = [*choosing.source_overrides(recognized, choice), *changes]
    params = _compose(overrides)
    source = params.ingest.source
    files = layout.count(source)
    images = sum(files.by_class.values())
    size = checking.disk_bytes(images, params)
    estimate = estimating.estimate(choice.recipe, images)
    for line in describing.describe(recognized, files, choice, params, estimate, size):
        print(line, flush=True)
    checking.check_classes(source, files, train_val=params.ingest.train_val_fraction > 0)
    checking.check_folds(params, files)
    checking.check_places(size)
    return params, overrides, images


def _check_changes(changes: list[str]) -> None:
    """Refuse what would run other images or another recipe than those that were counted and described."""
    for change in changes:
        key = change.partition("=")[0].lstrip("+~")
        if key in _CHOSEN:
            raise UsageError(
                f"SET changes {key}, which DATA chooses; leave {key} out of SET, or name RECIPE, not DATA"
            )


def _compose(overrides: list[str]) -> Params:
    composing.compose(_CONF, overrides, composing.NEXT)
    return typed.load(composing.NEXT)


def _execute(params: Params, changes: list[str], images: int, *, verbose: bool) -> None:
    """Run DVC, and report the results."""
    watching.LOG.unlink(missing_ok=True)
    per_entry = [f"extract@{name}" for name in params.extractors] + [
        f"predict@{name}" for name in params.models
    ]
    screen = Screen(["summarize", *per_entry])
    command = _experiment.command(changes, params.recipe) if changes else ["dvc", "repro"]
    began = time.monotonic()
    outcome = watching.run(command, screen, verbose=verbose)
    estimating.remember_stages(screen.seconds)
    if outcome.status:
        sys.exit(outcome.status)
    seconds = time.monotonic() - began
    if not verbose:
        _say_times(screen, outcome, seconds)
        if images and params.recipe in estimating.RECIPES and not outcome.reused:
            estimating.remember(params.recipe, images, seconds)
    # With `verbose`, the screen does not see whether `promote` ran.
    if "promote" not in screen.seconds:
        _check_champion()
    print("\n".join(ending.summarize(Path(), shutil.get_terminal_size().columns)), flush=True)


def _say_times(screen: Screen, outcome: watching.Outcome, seconds: float) -> None:
    """Say how long it took and what was reused."""
    ran = len(screen.seconds)
    if ran:
        stages = "1 stage" if ran == 1 else f"{ran} stages"
        screen.text(f"{stages} in {seconds:.0f} s, of which {screen.start_up:.0f} s for start-up")
    else:
        screen.text(f"Nothing to do: all {len(outcome.reused)} stages are up to date.")
    if outcome.unchanged and ran:
        screen.text(f"Reused, as nothing they depend on has changed: {', '.join(outcome.unchanged)}")
    if outcome.restored:
        screen.text(f"Restored from DVC's cache: {', '.join(outcome.restored)}")


def _check_champion() -> None:
    """Ask the registry when a verdict was reused; an unreachable registry is no failure."""
    command = [sys.executable, "-m", "stages.tools.check_champion"]
    outcome = watching.run(command, Screen([], only_problems=True), verbose=False)
    if outcome.status not in (0, TRANSIENT):
        sys.exit(outcome.status)


if __name__ == "__main__":
    cli.main(run)
