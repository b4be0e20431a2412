"""`make reproduce`: a recipe is run by DVC, its result kept, and the table written."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages import cli
from stages.report.pages import answers, relations
from stages.tools.reproduce import read_books, reproduce
from tests.dvc_clone import clone_working_tree
from tests.paths import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `reproduce` reads of the repository, in a folder of its own."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_recipes_the_table_lists_every_recipe_of_a_book(project: Path) -> None:
    cli.main(reproduce, [])
    table = (project / "reports" / "reproduction.md").read_text(encoding="utf-8")
    for path in (ROOT / "conf" / "recipe").glob("*.yaml"):
        of_a_book = bool(yaml.safe_load(path.read_text(encoding="utf-8")).get("book"))
        assert (f"| `{path.stem}` |" in table) == of_a_book
    assert not (project / "results").exists()


def test_results_already_run_are_in_the_table(project: Path) -> None:
    shutil.copytree(ROOT / "results", project / "results")
    cli.main(reproduce, [])
    table = (project / "reports" / "reproduction.md").read_text(encoding="utf-8")
    assert "| pass |" in table
    assert "| not run |" in table
    figures, stated = table.split("# Relations")
    assert "`minivggnet_cifar10` minivggnet | `minivggnet_cifar10_no_bn` minivggnet |" in stated
    assert "| holds |" in stated
    assert "| holds |" not in figures


def test_relations_name_recipes_and_members_that_exist() -> None:
    recipes = {
        path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "conf" / "recipe").glob("*.yaml")
    }
    stated = [(name, relation) for name, book in read_books().items() for relation in book.relations]
    assert len(stated) > 20
    for name, relation in stated:
        for side in relations.sides(name, relation):
            assert side.name == "members" or re.search(rf"\b{side.name}\b", recipes[side.recipe]), relation


def test_headers_claim_what_the_tolerances_check() -> None:
    for name, book in read_books().items():
        header = (ROOT / "conf" / "recipe" / f"{name}.yaml").read_text(encoding="utf-8")
        claims = header.partition("Claims:")[2].partition("# Data:")[0]
        least = [pytest.approx(figure.value - figure.tolerance, abs=6e-4) for figure in book.figures]
        tolerances = [figure.tolerance for figure in book.figures]
        assert all(float(bound) in least for bound in re.findall(r">= (0\.\d+)", claims)), name
        assert all(float(bound) in tolerances for bound in re.findall(r"within (0\.\d+)", claims)), name


def test_a_recipe_of_no_book_is_refused_in_one_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(reproduce, ["lenet_minst"])
    assert caught.value.code == 1
    assert "no recipe of a book: lenet_minst; allowed: alexnet_dogs_vs_cats, " in capsys.readouterr().err


def test_a_quote_without_its_end_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(reproduce, ["lenet_mnist", "--set", "ingest.source.path='my images"])
    assert caught.value.code == 2
    assert "SET: No closing quotation" in capsys.readouterr().err


def test_a_wrong_band_in_a_recipe_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "conf" / "recipe" / "knn_animals.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("tolerance: 0.06", "tolerance: -1.0"))
    with pytest.raises(SystemExit):
        cli.main(reproduce, [])
    assert "knn_animals.yaml: book: figures.0.tolerance is -1.0; must be greater" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("book:\n\tfigures: []", "cannot start any token"),
        ("- digits", "must be a mapping"),
        ("book: 3", "book"),
    ],
)
def test_a_recipe_that_is_no_mapping_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = project / "conf" / "recipe" / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        cli.main(reproduce, [])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "mine.yaml" in line
    assert message in line


def test_a_recipe_of_comments_alone_has_no_book(project: Path) -> None:
    (project / "conf" / "recipe" / "mine.yaml").write_text("# later", encoding="utf-8")
    assert "mine" not in read_books()


@pytest.mark.slow
def test_a_recipe_is_run_its_result_kept_and_the_params_put_back(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone_working_tree(clone)
    before = (clone / "params.yaml").read_bytes()

    words = [sys.executable, "-m", "stages.tools.reproduce", "mlp_digits", "--set", "models.mlp.epochs=60"]
    subprocess.run(words, cwd=clone, check=True, timeout=600)
    assert (clone / "params.yaml").read_bytes() == before
    # A reproduction is no challenger for the registry.
    assert not (clone / "reports" / "promotion.json").exists()
    lines = (clone / "results" / "reproduction.csv").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("mlp_digits,42,mlp,accuracy,test,")]
    accuracy = float(line.split(",")[5])
    assert accuracy > 0.9
    answered = answers.read(clone / "results" / "answers" / "mlp_digits-42.json")["test"]
    assert answered.correct["mlp"].mean() == pytest.approx(accuracy, abs=1e-5)
    table = (clone / "reports" / "reproduction.md").read_text(encoding="utf-8")
    assert "| `mlp_digits` | mlp | accuracy | 0.98 - 0.015 | 0.9" in table
