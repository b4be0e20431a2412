"""The reproduction table: which number passes, what is kept, and what the page says."""

from dataclasses import replace
from pathlib import Path

import pytest

from stages.common.errors import ConvoyError
from stages.report.pages import reproduction
from stages.scoring.books import Printed
from tests.report.results import OURS

BOOK = Printed(of="lenet", metric="accuracy", value=0.98, tolerance=0.01, source="A book, ch. 1")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.97], True), ([0.9699], False), ([0.999], True), ([0.96, 0.98], True), ([0.95, 0.98], False)],
)
def test_a_result_passes_from_the_tolerance_below_the_book_on(values: list[float], expected: bool) -> None:
    assert reproduction.passes(BOOK, values) is expected


def test_results_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "reproduction.csv"
    assert reproduction.read(path) == []
    knn = replace(OURS, recipe="knn_animals", of="knn", epochs=None, epoch_seconds=None)
    reproduction.write(path, [OURS, knn])
    assert reproduction.read(path) == [knn, OURS]


def test_a_new_run_takes_the_place_of_the_same_recipe_and_seed_only() -> None:
    other_seed = replace(OURS, seed=1)
    again = replace(OURS, value=0.99)
    assert reproduction.merged([OURS, other_seed], [again]) == [other_seed, again]


def test_a_file_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "reproduction.csv"
    path.write_text("recipe,seed\nlenet_mnist,many\n", encoding="utf-8")
    with pytest.raises(ConvoyError, match=r"reproduction\.csv is no file of results: "):
        reproduction.read(path)


def test_the_table_sets_ours_beside_the_books_and_says_what_was_not_run() -> None:
    books = {"lenet_mnist": [BOOK], "vgg16_animals": [BOOK.model_copy(update={"of": "logistic"})]}
    lines = reproduction.markdown(
        books, [OURS, replace(OURS, seed=1, value=0.979)], {"vgg16_animals": 0.0412}
    ).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    run, not_run = lines[2:]
    for cell in (
        "`lenet_mnist`",
        "0.98 - 0.01",
        "0.9770 ± 0.0020",
        "42, 1",
        "54,000 / 10,000",
        "20 x 12.3 s",
    ):
        assert f"| {cell} |" in run
    assert "| pass | 2 cores x86_64, tensorflow, abc1234 |" in run
    assert "| not run; about 0.041 h |" in not_run


def test_a_figure_of_the_val_split_is_beside_the_results_on_val() -> None:
    on_val = BOOK.model_copy(update={"split": "val"})
    results = [OURS, replace(OURS, split="val", value=0.5, images=6_000)]
    *_, line = reproduction.markdown({"lenet_mnist": [on_val]}, results, {}).splitlines()
    assert "| accuracy, val |" in line
    assert "| 0.5000 | 42 | 54,000 / 6,000 |" in line


def test_a_result_outside_the_band_is_called_a_failure() -> None:
    lines = reproduction.markdown({"lenet_mnist": [BOOK]}, [replace(OURS, value=0.5)], {})
    assert "| fail |" in lines
