"""Params composed from conf/, without DVC."""

from pathlib import Path

import pytest

from stages import params
from stages.tools.running import composing

CONF = Path(__file__).parents[3] / "conf"
RECIPES = sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_takes_a_table_of_images(recipe: str, tmp_path: Path) -> None:
    """As docs/images.md and conf/dataset/csv.yaml say."""
    table = ["dataset=csv", "ingest.source.path=photos", "ingest.source.table=labels.csv"]
    composing.compose(CONF, [f"recipe={recipe}", *table], tmp_path / "params.yaml")
    source = params.load(tmp_path / "params.yaml").ingest.source
    assert source.model_dump(include={"kind", "path", "table"}, mode="json") == {
        "kind": "csv",
        "path": "photos",
        "table": "labels.csv",
    }
