"""reproduce: run recipes and set what comes out beside what the books print.

`make reproduce RECIPES="lenet_mnist shallownet_animals"` runs `dvc exp run evaluate` for each, adds the
results to results/reproduction.csv, which is committed, and writes the table of all recipes, run or not, into
reports/reproduction.md. Without recipes it only writes the table.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from stages import params
from stages.common import log, section
from stages.common.errors import ConvoyError, ParamsError
from stages.common.files import read_json, replacing
from stages.params import Params, Printed
from stages.report.pages import reproduction
from stages.report.pages.reproduction import Result

RECIPES = Path("conf/recipe")
RESULTS = Path("results/reproduction.csv")
TABLE = Path("reports/reproduction.md")
_PARAMS = Path("params.yaml")
_HEADING = """# Reproduction

What the books print for an experiment and what this project measured on the test split. A result passes when
it is at most the tolerance below the book's; `make reproduce RECIPES="…"` runs a recipe and adds its line.
Data that differ from the book's are named in the recipe's header and show in the numbers of images. Epochs
were timed on machines that had other work to do as well.

"""


def main(argv: list[str] | None = None) -> None:
    """Run recipes and write the table. Exits with 1 after one line when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.reproduce", description=main.__doc__)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="a file of conf/recipe; none: the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="default: 42")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as -S of dvc exp run"
    )
    given = parser.parse_args(argv)
    log.configure("reproduce")
    try:
        books = printed()
        unknown = [name for name in given.recipes if name not in books]
        if unknown:
            raise ParamsError(f"no recipe of a book: {', '.join(unknown)}; allowed: {', '.join(books)}")
        for recipe in given.recipes:
            for seed in given.seeds:
                found = run(recipe, seed, given.set)
                reproduction.write(RESULTS, reproduction.merged(reproduction.read(RESULTS), found))
        TABLE.parent.mkdir(exist_ok=True)
        with replacing(TABLE) as aside:
            aside.write_text(_HEADING + reproduction.markdown(books, reproduction.read(RESULTS)), "utf-8")
    except ConvoyError as error:
        log.error(str(error))
        sys.exit(1)
    log.event("reproduced", recipes=", ".join(given.recipes) or "none", table=TABLE)


def printed() -> dict[str, list[Printed]]:
    """What the books print, by recipe; recipes without a book are left out. Raises ParamsError."""
    books = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        values = yaml.safe_load(path.read_bytes()).get("book", [])
        try:
            books[path.stem] = TypeAdapter(list[Printed]).validate_python(values)
        except ValidationError as error:
            raise ParamsError(f"{path}: book: {section.described(error, values)}") from None
    return {name: found for name, found in books.items() if found}


def run(recipe: str, seed: int, overrides: Sequence[str]) -> list[Result]:
    """Run one recipe with DVC in this workspace, and put params.yaml back as it was.

    Stages whose results DVC has cached are not run again. Raises ConvoyError when the run fails.
    """
    before = _PARAMS.read_bytes()
    options = [word for one in (f"recipe={recipe}", f"seed={seed}", *overrides) for word in ("-S", one)]
    try:
        # Up to the metrics: a reproduction is no candidate for the registry.
        command = ["dvc", "exp", "run", "evaluate", *options]
        if subprocess.run(command, check=False).returncode:
            raise ConvoyError(f"{' '.join(command)} failed; its last lines say why")
        return _results(params.load(_PARAMS))
    finally:
        with replacing(_PARAMS) as aside:
            aside.write_bytes(before)


def _results(checked: Params) -> list[Result]:
    """What the pipeline's outputs hold of the numbers that the book prints."""
    from stages.data.manifest import Manifest

    splits = Manifest.read(Path("data/manifest.parquet")).strings("split").tolist()
    scores = read_json(Path("reports/metrics.json"))
    results = []
    for one in checked.book:
        epochs, seconds = _epochs(one.of, splits.count("train"))
        results.append(
            Result(
                recipe=checked.recipe,
                seed=checked.seed,
                of=one.of,
                metric=one.metric,
                value=round(scores[one.of][one.metric], 5),
                train=splits.count("train"),
                test=splits.count("test"),
                epochs=epochs,
                epoch_seconds=seconds,
                machine=_machine(),
                backend=os.environ.get("KERAS_BACKEND", "tensorflow"),
                commit=_commit(),
            )
        )
    return results


def _epochs(member: str, images: int) -> tuple[int | None, float | None]:
    """How many epochs a member took and how many seconds one of them, or None where it has none."""
    path = Path("models") / member / "history.json"
    history = read_json(path) if path.exists() else {}
    if "images_per_second" not in history:
        return None, None
    return len(history["epoch"]), round(images / statistics.median(history["images_per_second"]), 2)


def _machine() -> str:
    """Processor, or graphics card where the driver shows one."""
    try:
        cards = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
        return cards.stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return f"{os.cpu_count()} cores {platform.machine()}"


def _commit() -> str:
    """The commit, with a plus sign where code or recipes differ from it."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", "stages", "conf"], check=False
    ).returncode
    return commit.stdout.strip() + ("+" if changed else "")


if __name__ == "__main__":
    main()
