"""The page "The books, chapter by chapter", from docs/books.yaml, the recipes and the recorded results."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from stages.report.pages import answers, relations, reproduction
from stages.report.pages.reproduction import Result
from stages.scoring.books import Book, Printed, Relation
from stages.tools.reproduce import ANSWERS, RECIPES, RESULTS, read_books

_INTRO = """# The books, chapter by chapter

For each chapter its recipes, code and commands. A recipe's line has the book's figure, ours as the mean of
the recorded runs, and a verdict. *pass*: ours is at least the book's less the tolerance. *fail*: it is
lower. *not run*: no run is recorded. A relation between two results *holds* or is *reversed* where chance
does not explain the difference, else it is *open*. `make reproduce` writes the whole tables, with seeds,
numbers of images, machines and intervals. `dvc exp run -S recipe=NAME` runs a recipe.

The status counts the verdicts of a chapter. *code*: there are no figures to reproduce. *text alone*: there is
nothing to build.
"""
_VERDICTS = ("pass", "fail", "holds", "open", "reversed", "not run")


def write_books(path: Path, chapters: Path, root: Path) -> None:
    """Write the page.

    Args:
        path: The Markdown file to write.
        chapters: docs/books.yaml.
        root: The repository.

    Raises:
        ValueError: A figure or relation of a recipe is of a chapter that the file lacks.
    """
    books, results = read_books(root / RECIPES), reproduction.read(root / RESULTS)
    written = yaml.safe_load(chapters.read_text(encoding="utf-8"))
    check(written, books)
    lines = [_INTRO]
    for title, book in written.items():
        rows = [
            _row(name, chapter, book["key"], books, results, root)
            for name, chapter in book["chapters"].items()
        ]
        lines += [
            f"## {title}\n",
            reproduction.table(("", "chapter", "status", "recipe", "code or command"), rows),
        ]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


def check(written: Mapping[str, Any], books: Mapping[str, Book]) -> None:
    """Check that every figure and relation of every recipe is of a chapter of the file.

    Raises:
        ValueError: One is of another chapter.
    """
    keys = [book["key"] % name for book in written.values() for name in book["chapters"]]
    for recipe, book in books.items():
        stated: list[Printed | Relation] = [*book.figures, *book.relations]
        for printed in stated:
            if not any(_is_of(printed.source, key) for key in keys):
                raise ValueError(f"{recipe}: docs/books.yaml has no chapter for {printed.source!r}")


def _row(
    name: str | int,
    chapter: Mapping[str, Any],
    key: str,
    books: Mapping[str, Book],
    results: Sequence[Result],
    root: Path,
) -> list[str]:
    recipes = [
        _recipe(recipe, figure, results, several=len({figure.of for figure in book.figures}) > 1)
        for recipe, book in books.items()
        for figure in book.figures
        if _is_of(figure.source, key % name)
    ]
    recipes += [
        _relation(recipe, relation, results, root)
        for recipe, book in books.items()
        for relation in book.relations
        if _is_of(relation.source, key % name)
    ]
    lines = [f"{line}, {verdict}" for line, verdict in recipes]
    places = [f"`{place}`" for place in chapter.get("where", [])]
    about = [chapter["about"]] if "about" in chapter else []
    counts = Counter(verdict for _, verdict in recipes)
    status = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict])
    return [
        str(name),
        chapter["title"],
        status or ("code" if places else "text alone"),
        "<br>".join(lines),
        "<br>".join([*places, *about]),
    ]


def _recipe(recipe: str, figure: Printed, results: Sequence[Result], *, several: bool) -> tuple[str, str]:
    """The book's figure and ours, and the verdict."""
    runs = reproduction.select(results, recipe, figure.of, figure.metric, figure.split)
    ours = [result.value for result in runs]
    what = " ".join(_differing(figure, several))
    named = f"`{recipe}`{what and f' {what}'}: {figure.value:g}"
    if not ours:
        return named, "not run"
    return f"{named}, ours {fmean(ours):.4f}", "pass" if reproduction.passes(figure, ours) else "fail"


def _relation(recipe: str, relation: Relation, results: Sequence[Result], root: Path) -> tuple[str, str]:
    """The two results, and the verdict."""
    first, second = relations.sides(recipe, relation)
    difference = relations.compare(recipe, relation, results, partial(answers.of_run, root / ANSWERS))
    return f"{first} above {second}", difference.verdict if difference else "not run"


def _differing(figure: Printed, several: bool) -> Iterator[str]:
    """What a line says besides the recipe: one member of several, another metric, another split than test."""
    if several:
        yield figure.of
    if figure.metric != "accuracy":
        yield "top-5"
    if figure.split != "test":
        yield f"on {figure.split}"


def _is_of(source: str, key: str) -> bool:
    """Whether a figure's source names this chapter: "ch. 1" is no part of "ch. 12"."""
    return source.startswith(key) and not source[len(key) :][:1].isdigit()
