"""promote: the first candidate, a better one, a worse one, the same one again, and the way back."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from stages.common.errors import ServingError, StoreError
from stages.common.files import read_json, write_json
from stages.data.store import Reader
from stages.ensemble import ensemble
from stages.extract import extract
from stages.models.extractors import pixels
from stages.models.learners import logistic_regression
from stages.params import Ensemble, Predict
from stages.predict import predict
from stages.promote import promote
from stages.serving.verdict import Promote
from stages.tools.rollback import rollback
from stages.train import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
CLASSES = [f"class{number}" for number in range(4)]


@dataclass
class Workshop:
    """A project with noisy classes, and members that have seen more or less of it."""

    project: Any
    root: Path

    def make(self, c: float) -> None:
        """Train, predict and average the one member; a smaller `c` holds it closer to knowing nothing."""
        values = PARAMS["models"]["hog_logistic"] | {"input": "features/pixels", "c": [c]}
        params = logistic_regression.Params.model_validate(values)
        data, model = self.root / "features" / "pixels", self.root / "models" / "only"
        train("only", params=params, recipe="shop", data=data, model=model)
        folder = self.root / "predictions" / "only"
        predict("only", params=Predict(crops="center"), model=model, data=data, predictions=folder)
        ensemble(
            Ensemble(members=["only"], weights="uniform"),
            predictions=self.root / "predictions",
            ensemble=self.root / "ensemble",
        )
        write_json(self.root / "drift.json", {"verdict": "pass"})

    def promote(self, **changes: Any) -> dict[str, Any]:
        """The verdict; the page lies beside it."""
        params = Promote.model_validate(
            PARAMS["promote"] | {"metric": "log_loss", "recall_drop": 1.0} | changes
        )
        promote(
            params,
            {"only": object()},  # type: ignore[dict-item]  # only its name is asked for
            Predict(crops="center"),
            "shop",
            manifest=self.project.manifest,
            source=self.project.source,
            blob=self.project.blob,
            drift=self.root / "drift.json",
            models=self.root / "models",
            predictions=self.root / "predictions",
            ensemble=self.root / "ensemble",
            verdict=self.root / "promotion.json",
            page=self.root / "promotion.html",
        )
        verdict: dict[str, Any] = read_json(self.root / "promotion.json")
        return verdict

    def page(self) -> str:
        return (self.root / "promotion.html").read_text(encoding="utf-8")


@pytest.fixture
def workshop(
    tracking_store: Path,
    project: Any,
    images: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Workshop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    images(dict.fromkeys(CLASSES, 40), size=(8, 8), noise=90)
    project.ingest(near_duplicates={"distance": None}, test_fraction=0.5)
    project.resize(size=[8, 8])
    project.mean()
    project.pack()
    folder = tmp_path / "features" / "pixels"
    extract("pixels", params=pixels.Params(kind="pixels"), packed=project.packed, features=folder)
    return Workshop(project, tmp_path)


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias("shop", "champion").version)


def tags(version: str) -> dict[str, str]:
    return dict(MlflowClient().get_model_version("shop", version).tags)


def test_from_the_first_champion_to_a_better_one_and_back(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    workshop.make(c=1e-5)
    first = workshop.promote()
    assert (first["decision"], first["passed"], first["champion"]) == ("promoted", True, None)
    assert first["reason"] == "there was no champion"
    assert first["images"] == 80
    assert champion() == "1"
    assert "There was no champion." in workshop.page()

    again = workshop.promote()
    assert again["decision"] == "unchanged"
    assert again["reason"] == "the candidate is the champion, models:/shop/1"
    assert len(MlflowClient().search_model_versions("name = 'shop'")) == 1

    workshop.make(c=1.0)
    better = workshop.promote()
    assert better["decision"] == "promoted"
    assert better["champion"]["uri"] == "models:/shop/1"
    assert better["compared"]["log_loss"]["gain"] == pytest.approx(
        better["champion"]["log_loss"] - better["candidate"]["log_loss"]
    )
    counted = better["compared"]["accuracy"]
    assert [len(better["flipped"][kind]) for kind in ("gained", "lost")] == [
        counted["gained"],
        counted["lost"],
    ]
    assert counted["gained"] > 0
    assert workshop.page().count('<img src="data:image/jpeg;base64,') == counted["gained"] + counted["lost"]
    assert champion() == "2"
    assert tags("2")["promotion"] == "promoted: every rule holds"
    run = MlflowClient().get_run(MlflowClient().get_model_version("shop", "2").run_id)
    logged = {one.path for one in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"promotion.json", "promotion.html"} <= logged

    workshop.make(c=1e-4)
    worse = workshop.promote()
    assert (worse["decision"], worse["passed"]) == ("kept", False)
    assert "better log_loss: gain -" in worse["reason"]
    assert worse["reason"] in tags("3")["promotion"]
    assert champion() == "2"

    with caplog.at_level(logging.INFO, logger="convoy"):
        rollback("shop")
    assert champion() == "1"
    with pytest.raises(ServingError, match="models:/shop/1 is the first champion; there is none before it"):
        rollback("shop")


def test_the_candidate_is_judged_as_it_is_served(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    verdict = workshop.promote(candidate="best", dry_run=True)
    assert (verdict["decision"], verdict["passed"]) == ("would be promoted", True)
    assert MlflowClient().search_registered_models() == []
    with Reader(workshop.root / "predictions" / "only" / "test.h5") as rows:
        actual, probabilities = rows.column("labels"), rows.read(0, len(rows))
    assert verdict["candidate"]["accuracy"] == (probabilities.argmax(axis=1) == actual).mean()
    assert verdict["candidate"]["log_loss"] == pytest.approx(
        float(-np.log(probabilities[np.arange(len(actual)), actual]).mean()), abs=1e-4
    )
    assert verdict["candidate"]["latency_ms"] > 0

    # As if somebody had trained anew and not predicted.
    kept = (workshop.root / "predictions" / "only" / "test.h5").read_bytes()
    averaged = (workshop.root / "ensemble" / "test.h5").read_bytes()
    workshop.make(c=0.01)
    (workshop.root / "predictions" / "only" / "test.h5").write_bytes(kept)
    (workshop.root / "ensemble" / "test.h5").write_bytes(averaged)
    with pytest.raises(ServingError, match="what it serves is not what was evaluated"):
        workshop.promote()
    assert MlflowClient().get_registered_model("shop").aliases == {}


def test_a_champion_that_cannot_be_asked_any_more_is_one_line(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.promote()
    version = MlflowClient().get_model_version("shop", "1")
    folder = Path(
        MlflowClient().get_model_version_download_uri("shop", version.version).removeprefix("file://")
    )
    (next(folder.rglob("spec.json"))).unlink()
    workshop.make(c=0.5)
    with pytest.raises(ServingError, match="models:/shop/1 cannot be used: ") as caught:
        workshop.promote()
    assert "\n" not in str(caught.value)


def test_predictions_of_other_images_are_refused(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.project.ingest(near_duplicates={"distance": None}, test_fraction=0.3)
    with pytest.raises(StoreError, match="is of other images than the manifest's test split"):
        workshop.promote()
