"""The page of the books names every recipe, and only files and commands that exist."""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.scoring.books import Book, Relation
from stages.tools.reproduce import read_books
from tests.paths import ROOT

CHAPTERS = ROOT / "docs" / "books.yaml"


@pytest.fixture
def chapters(monkeypatch: pytest.MonkeyPatch) -> Any:
    """docs/chapters.py, as Sphinx imports it."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    return import_module("chapters")


def test_every_recipe_of_a_book_is_on_the_page_with_its_state(chapters: Any, tmp_path: Path) -> None:
    chapters.write_books(tmp_path / "books.md", CHAPTERS, ROOT)
    page = (tmp_path / "books.md").read_text(encoding="utf-8")
    for recipe in read_books(ROOT / "conf" / "recipe"):
        assert re.search(rf"`{recipe}`[^:`]*: [\d.]+, (not run|ours [\d.]+, (pass|fail))", page), recipe
    assert re.search(r"\| 14 \| LeNet \| [^|]*pass[^|]* \| `lenet_mnist`: 0.9837, ours 0.9", page)
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    status = [row[2] for row in rows]
    assert [row[2] for row in rows if row[1] == "Next steps"] == ["text alone"]
    assert [row[2] for row in rows if row[1] == "Drawing networks"] == ["code"]
    # A verdict ends the line of each figure and of each relation.
    verdicts = re.findall(r", (?:pass|fail|holds|open|reversed|not run)(?=<br>| \|)", page)
    assert sum(int(count) for text in status for count in re.findall(r"\d+(?= [a-z])", text)) == len(verdicts)


def test_what_a_chapter_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for book in yaml.safe_load(CHAPTERS.read_text(encoding="utf-8")).values():
        for chapter in book["chapters"].values():
            for place in chapter.get("where", []):
                if place.startswith("make "):
                    assert f"\n{place.removeprefix('make ')}:" in makefile
                elif place.startswith("python -m "):
                    module = place.removeprefix("python -m ").replace(".", "/")
                    assert (ROOT / f"{module}.py").exists()
                else:
                    assert (ROOT / place).exists()


def test_a_figure_of_no_chapter_is_named(chapters: Any) -> None:
    written = yaml.safe_load(CHAPTERS.read_text(encoding="utf-8"))
    del written["Starter Bundle"]["chapters"][15]
    with pytest.raises(
        ValueError, match=r"minivggnet_cifar10.*: docs/books.yaml has no chapter for 'Starter"
    ):
        chapters.check(written, read_books(ROOT / "conf" / "recipe"))


def test_a_relation_of_no_chapter_is_named(chapters: Any) -> None:
    """It was left out of the page without a word."""
    written = yaml.safe_load(CHAPTERS.read_text(encoding="utf-8"))
    stated = Relation(of="lenet", above="plain.lenet", source="Starter Bundle ch. 99")
    with pytest.raises(
        ValueError, match=r"recipe: docs/books.yaml has no chapter for 'Starter Bundle ch. 99'"
    ):
        chapters.check(written, {"recipe": Book(relations=[stated])})
