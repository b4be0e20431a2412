"""The recipes as the trigger form lists them."""

from pathlib import Path

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


def test_the_default_is_that_of_the_configuration() -> None:
    assert recipes.default(CONF) == "digits"
