"""promote: the first challenger, a better one, a worse one, the same one again, and the way back."""

import logging
import math
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from stages.common.errors import ServingError
from stages.common.files import read_json
from stages.data.store import Reader
from stages.scoring.served import Served
from stages.serving import isolated
from stages.tools.rollback import rollback
from tests.workshop import Workshop, champion, experiments, tags

pytestmark = pytest.mark.slow


def test_from_the_first_champion_to_a_better_one_and_back(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    workshop.make(c=1e-5)
    first = workshop.promote()
    assert (first["decision"], first["passed"], first["champion"]) == ("promoted", True, None)
    assert first["reason"] == "every rule holds, and there was no champion"
    assert (first["images"], first["decisions"]) == (80, 1)
    assert champion() == "1"
    assert "There was no champion." in workshop.page()
    assert "The model classifies these files as served" in workshop.page()
    assert "stages.tools.rollback" not in workshop.page()

    again = workshop.promote()
    assert again["decision"] == "unchanged"
    assert again["reason"] == "the challenger is the champion, models:/shop/1"
    assert again["decisions"] == 1
    assert "The report of its promotion is an artifact of the run" in workshop.page()
    assert len(MlflowClient().search_model_versions("name = 'shop'")) == 1

    workshop.make(c=1.0)
    better = workshop.promote()
    assert better["decision"] == "promoted"
    assert better["champion"]["uri"] == "models:/shop/1"
    assert better["decisions"] == 2
    assert better["level"] == pytest.approx(0.05 * 6 / (2 * math.pi) ** 2)
    assert "decision 2 on these images" in workshop.page()
    assert better["compared"]["log_loss"]["gain"] == pytest.approx(
        better["champion"]["log_loss"] - better["challenger"]["log_loss"]
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
    logged = {artifact.path for artifact in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"promotion.json", "promotion.html"} <= logged

    workshop.make(c=1e-4)
    worse = workshop.promote()
    assert (worse["decision"], worse["passed"]) == ("kept", False)
    assert "better log loss: gain -" in worse["reason"]
    assert worse["decisions"] == 3
    assert worse["reason"] in tags("3")["promotion"]
    assert champion() == "2"

    with caplog.at_level(logging.INFO, logger="convoy"):
        rollback("shop")
    assert champion() == "1"
    with pytest.raises(ServingError, match="models:/shop/1 is the first champion; there is none before it"):
        rollback("shop")


def test_a_version_says_what_it_is(workshop: Workshop) -> None:
    """It had no description, no metrics and no tags but its digest."""
    workshop.make(c=1.0)
    verdict = workshop.promote()
    version = MlflowClient().get_model_version("shop", "1")
    description = str(version.description)
    assert description.startswith("Recipe **shop** on 80 images of the test split:")
    assert "Verdict: every rule holds" in description
    scores = read_json(workshop.root / "metrics.json")["ensemble"]
    # MLflow's page of the version shows the metrics of its logged model.
    logged = MlflowClient().get_logged_model(version.source.removeprefix("models:/"))
    metrics_of = {metric.key: metric.value for metric in logged.metrics}
    assert metrics_of["test.accuracy"] == scores["accuracy"]
    assert metrics_of["test.accuracy_low"] < scores["accuracy"] < metrics_of["test.accuracy_high"]
    assert (version.tags["challenger"], version.tags["manifest"]) == ("ensemble", verdict["manifest"])


def test_the_challenger_is_judged_as_it_is_served(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    verdict = workshop.promote(challenger="best", dry_run=True)
    assert (verdict["decision"], verdict["passed"]) == ("would be promoted", True)
    assert MlflowClient().search_registered_models() == []
    with Reader(workshop.root / "predictions" / "only" / "test.h5") as rows:
        actual, probabilities = rows.column("labels"), rows.read(0, len(rows))
    assert verdict["challenger"]["accuracy"] == (probabilities.argmax(axis=1) == actual).mean()
    assert verdict["challenger"]["log_loss"] == pytest.approx(
        float(-np.log(probabilities[np.arange(len(actual)), actual]).mean()), abs=1e-4
    )
    assert verdict["challenger"]["latency_ms"] > 0

    # As after a new training without new predictions.
    before = (workshop.root / "predictions" / "only" / "test.h5").read_bytes()
    averaged = (workshop.root / "ensemble" / "test.h5").read_bytes()
    workshop.make(c=0.01)
    (workshop.root / "predictions" / "only" / "test.h5").write_bytes(before)
    (workshop.root / "ensemble" / "test.h5").write_bytes(averaged)
    with pytest.raises(ServingError, match="what it serves is not what was evaluated"):
        workshop.promote()
    assert MlflowClient().get_registered_model("shop").aliases == {}


def test_a_dry_run_of_a_registered_challenger_leaves_the_registry_as_it_is(workshop: Workshop) -> None:
    """It counted a decision, and put its verdict on the version."""
    workshop.make(c=1.0)
    workshop.promote()
    workshop.make(c=1e-4)
    refused = workshop.promote()
    assert (refused["decision"], refused["decisions"]) == ("kept", 2)
    # The champion is the first: there is none to go back to.
    assert "stages.tools.rollback" not in workshop.page()
    model, version = (
        MlflowClient().get_registered_model("shop"),
        MlflowClient().get_model_version("shop", "2"),
    )
    dry = workshop.promote(dry_run=True, challenger="ensemble")
    assert dry["challenger"]["uri"] == "models:/shop/2"
    assert (dry["decision"], dry["decisions"]) == ("kept", 3)
    assert MlflowClient().get_registered_model("shop").tags == model.tags
    assert dict(MlflowClient().get_model_version("shop", "2")) == dict(version)
    assert workshop.promote()["decisions"] == 3


def test_the_run_is_not_finished_before_the_verdict(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own context manager ends a run as soon as the model is logged."""
    statuses = []
    serve_really = isolated.serve

    def serve(*words: Any) -> list[Served]:
        (run,) = MlflowClient().search_runs(experiments(), "tags.stage = 'promote'", max_results=1)
        statuses.append(run.info.status)
        return serve_really(*words)

    monkeypatch.setattr(isolated, "serve", serve)
    workshop.make(c=1.0)
    workshop.promote()
    (run,) = MlflowClient().search_runs(experiments(), "tags.stage = 'promote'", max_results=1)
    assert (statuses, run.info.status) == (["RUNNING"], "FINISHED")
