"""reproduce: run recipes and put the results beside the figures of the books.

`make reproduce RECIPES="lenet_mnist shallownet_animals"` runs `dvc exp run evaluate` for each recipe and adds
the results to results/reproduction.csv and results/answers, which are committed. It writes the table of all
recipes, run or not, and of the relations that the books state to reports/reproduction.md.
"""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter
from pydantic import ValidationError

from stages import cli, params
from stages.common import git, log, machine, section
from stages.common.errors import ParamsError
from stages.common.files import read_json, replace_atomically
from stages.common.keras_import import chosen_backend
from stages.params import Params
from stages.report.pages import answers, costs, relations, reproduction
from stages.report.pages.answers import Answers
from stages.report.pages.reproduction import Result
from stages.scoring import ENSEMBLE, metrics
from stages.scoring.books import Book
from stages.scoring.predictions import Predictions
from stages.tools import _experiment

RECIPES = Path("conf/recipe")
RESULTS = Path("results/reproduction.csv")
ANSWERS = Path("results/answers")
COSTS = Path("results/costs.csv")
TABLE = Path("reports/reproduction.md")
_PARAMS = Path("params.yaml")
_HEADING = """# Reproduction

What the books print for an experiment and what this project measured on the test split. A result passes when
it is at most the tolerance below the book's; `make reproduce RECIPES="…"` runs a recipe and adds its line.
Data that differ from the book's are named in the recipe's header and show in the numbers of images. Epochs
were timed on machines that had other work to do as well. The hours of a recipe that has not been run are
estimated for 2 cores (`python -m benchmarks.recipe_costs`).

"""
_RELATIONS = """
# Relations

What the books state about two results. A relation holds when the 95 % interval of the difference is above 0,
and is open when the interval contains 0. Runs with the same seed on the same images are compared image by
image; several seeds are averaged. The interval is for other test images, not for other seeds.

"""


def reproduce(
    recipes: list[str] | None = None,
    *,
    seeds: Annotated[list[int], Parameter(consume_multiple=True)] = [42],  # noqa: B006 (never changed)
    set: str = "",  # noqa: A002 (the option's name)
) -> None:
    """Run recipes of the books, once per seed, and write the table of all results.

    Args:
        recipes: Files of conf/recipe, without the ending; none: only the table is written.
        seeds: The seeds to run each recipe with.
        set: `KEY=VALUE` words, separated by blanks, as -S of `dvc exp run`.

    Raises:
        UsageError: When `set` has a quote without its end.
        ParamsError: When a recipe is none of a book's, or its file is wrong.
        ConvoyError: When a run fails.
    """
    books = read_books()
    names, overrides = recipes or [], _experiment.words(set)
    if unknown := [name for name in names if name not in books]:
        raise ParamsError(f"no recipe of a book: {', '.join(unknown)}; allowed: {', '.join(books)}")
    for recipe in names:
        for seed in seeds:
            results, splits = run(recipe, seed, overrides)
            answers.write(answers.file(ANSWERS, recipe, seed), splits)
            reproduction.write(RESULTS, reproduction.merged(reproduction.read(RESULTS), results))
    with replace_atomically(TABLE) as aside:
        aside.write_text(_page(books), "utf-8")
    log.event("wrote_reproduction", recipes=", ".join(names) or "none", table=TABLE)


def _page(books: Mapping[str, Book]) -> str:
    results = reproduction.read(RESULTS)
    printed = {name: book.figures for name, book in books.items()}
    figures = reproduction.markdown(printed, results, costs.read(COSTS))
    stated = {name: book.relations for name, book in books.items()}
    compared = relations.markdown(stated, results, partial(answers.of_run, ANSWERS))
    return _HEADING + figures + _RELATIONS + compared


def read_books(folder: Path = RECIPES) -> dict[str, Book]:
    """Return what the books print, by recipe; recipes without a book are left out.

    Args:
        folder: The folder of the recipes.

    Raises:
        ParamsError: When a recipe is no YAML, or its `book` section is wrong.
    """
    books = {}
    for path in sorted(folder.glob("*.yaml")):
        values = _read_recipe(path).get("book", {})
        try:
            books[path.stem] = Book.model_validate(values)
        except ValidationError as error:
            raise ParamsError(f"{path}: book: {section.describe_error(error, values)}") from None
    return {name: book for name, book in books.items() if book.figures}


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        # None: of a file of comments alone.
        values = yaml.safe_load(path.read_bytes()) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise ParamsError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{path} is {values!r}; must be a mapping")
    return values


def run(recipe: str, seed: int, overrides: Sequence[str]) -> tuple[list[Result], dict[str, Answers]]:
    """Run one recipe with DVC in this workspace, and restore params.yaml.

    Stages whose results DVC has cached are not run again.

    Args:
        recipe: The recipe's name.
        seed: The seed of splits, weights and order.
        overrides: `KEY=VALUE` words of Hydra.

    Returns:
        The figures that the book prints too; and split → which images were classified rightly.

    Raises:
        ConvoyError: When the run fails.
    """
    # Both seeds: the results then also show how far the splits move them.
    changes = (f"recipe={recipe}", f"seed={seed}", f"split_seed={seed}", *overrides)
    before = _PARAMS.read_bytes()
    try:
        # Up to the metrics: a reproduction is no challenger for the registry.
        _experiment.run(changes, "evaluate")
        checked = params.load(_PARAMS)
        splits: set[str] = {figure.split for figure in checked.book.figures}
        judged = {split: _read_predictions(checked, split) for split in sorted(splits)}
        answered = {split: answers.of_predictions(by_name) for split, by_name in judged.items()}
        return _read_results(checked, judged), answered
    finally:
        with replace_atomically(_PARAMS) as aside:
            aside.write_bytes(before)


def _read_predictions(checked: Params, split: str) -> dict[str, Predictions]:
    """The predictions of all members and the ensemble in this workspace."""
    folders = {name: Path("predictions") / name for name in checked.models} | {ENSEMBLE: Path(ENSEMBLE)}
    return {name: Predictions.read(folder / f"{split}.h5") for name, folder in folders.items()}


def _read_results(checked: Params, judged: Mapping[str, Mapping[str, Predictions]]) -> list[Result]:
    """The figures of this workspace's outputs that the book prints too."""
    from stages.data.manifest import Manifest

    train = Manifest.read(Path("data/manifest.parquet")).strings("split").tolist().count("train")
    results = []
    for figure in checked.book.figures:
        predictions = judged[figure.split][figure.of]
        scores = metrics.score(predictions, checked.evaluate.calibration_bins)
        epochs, seconds = _read_epochs(figure.of, train)
        results.append(
            Result(
                recipe=checked.recipe,
                seed=checked.seed,
                of=figure.of,
                metric=figure.metric,
                split=figure.split,
                value=round(scores[figure.metric], 5),
                train=train,
                images=len(predictions),
                epochs=epochs,
                epoch_seconds=seconds,
                machine=_machine(),
                backend=chosen_backend(),
                # A plus sign where code or recipes differ from the commit.
                commit=git.commit(7) + ("+" if git.differs("stages", "conf") else ""),
            )
        )
    return results


def _read_epochs(member: str, images: int) -> tuple[int | None, float | None]:
    """A member's number of epochs and the seconds per epoch, or None for a learner without epochs."""
    path = Path("models") / member / "history.json"
    history = read_json(path) if path.exists() else {}
    if "images_per_second" not in history:
        return None, None
    return len(history["epoch"]), round(images / statistics.median(history["images_per_second"]), 2)


def _machine() -> str:
    """The processor, or the graphics card where the driver lists one."""
    return next(iter(machine.graphics()), f"{os.cpu_count()} cores {platform.machine()}")


if __name__ == "__main__":
    cli.main(reproduce)
