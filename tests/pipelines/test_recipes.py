"""The recipes as the trigger form lists them."""

import shutil
from pathlib import Path

import pytest

from pipelines import recipes
from tests.paths import ROOT

CONF = ROOT / "conf"


def test_recipes_whose_images_are_missing_say_so(tmp_path: Path) -> None:
    (tmp_path / "animals").mkdir()
    labels = recipes.labels(CONF, tmp_path)
    assert list(labels) == recipes.names(CONF)
    assert labels["digits"] == "digits", "scikit-learn has its images"
    assert labels["animals"] == "animals", "they are there"
    # Its data set is that of the recipe it builds on.
    assert labels["minivggnet_flowers17_augmented"].startswith(
        "minivggnet_flowers17_augmented (no images at datasets/"
    )
    assert recipes.labels(CONF, tmp_path / "unseen") == {name: name for name in labels}


@pytest.mark.parametrize(
    "text", ["models: [", "ingest: {source: }", "defaults: [renamed]", "ingest: 3", "[]"]
)
def test_a_recipe_that_is_being_written_leaves_the_others_alone(tmp_path: Path, text: str) -> None:
    """Airflow lost all DAGs, and tasks of running runs with them."""
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "recipe" / "bad.yaml").write_text(text, encoding="utf-8")
    labels = recipes.labels(tmp_path / "conf", tmp_path)
    assert labels["bad"].startswith("bad")
    assert labels["digits"] == "digits"


def test_the_default_is_that_of_the_configuration() -> None:
    assert recipes.default(CONF) == "digits"
