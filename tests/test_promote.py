"""promote: the first challenger, a better one, a worse one, the same one again, and the way back."""

import logging
import math
import os
import shutil
import signal
import subprocess
import sys
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
from stages.data.manifest import Manifest
from stages.data.store import Reader
from stages.ensemble import ensemble
from stages.extract import extract
from stages.models.extractors import pixels
from stages.models.learners import logistic_regression
from stages.params import Ensemble, Predict
from stages.predict import predict
from stages.promote import promote
from stages.scoring import metrics
from stages.scoring.predictions import Predictions
from stages.scoring.promotion import Promote
from stages.scoring.served import Served
from stages.serving import isolated
from stages.tools.rollback import rollback
from stages.train import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
CLASSES = [f"class{number}" for number in range(4)]
RULES = PARAMS["promote"] | {"metric": "log_loss", "recall_drop": 1.0, "min_images": 50}
# The stage, which is killed just before or just after it moves the alias.
KILLED = """
import os, signal, sys
from mlflow import MlflowClient
from stages import cli
from stages.promote import promote
moment, *words = sys.argv[1:]
move = MlflowClient.set_registered_model_alias
def killed(*values):
    if moment == "after":
        move(*values)
    os.kill(os.getpid(), signal.SIGKILL)
MlflowClient.set_registered_model_alias = killed
cli.main(promote, words)
"""


@dataclass
class Workshop:
    """A project with noisy classes, and members that are more or less regularized."""

    project: Any
    root: Path

    def make(self, c: float) -> None:
        """Train, predict, average and score the one member; a smaller `c` regularizes it more."""
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
        scores = metrics.score(Predictions.read(folder / "test.h5"), bins=10)
        write_json(self.root / "metrics.json", {"only": scores, "ensemble": scores})

    def split(self, **changes: Any) -> None:
        """Ingest and pack, with the splits as `changes` say."""
        self.project.ingest(**{"near_duplicates": {"distance": None}, "test_fraction": 0.5} | changes)
        self.project.resize(size=[8, 8])
        self.project.mean()
        self.project.pack()
        folder = self.root / "features" / "pixels"
        extract("pixels", params=pixels.Params(kind="pixels"), packed=self.project.packed, features=folder)

    def promote(self, **changes: Any) -> dict[str, Any]:
        """The verdict; the page is beside it."""
        promote(
            Promote.model_validate(RULES | changes),
            {"only": object()},  # type: ignore[dict-item]  # only its name is asked for
            Predict(crops="center"),
            "shop",
            source=self.project.source,
            **self.paths(),
        )
        return self.verdict()

    def promote_and_kill(self, moment: str) -> None:
        """Promote in a process that is killed `before` or `after` it moves the alias."""
        member = PARAMS["models"]["hog_logistic"] | {"input": "features/pixels"}
        changed = {
            "recipe": "shop",
            "promote": RULES,
            "models": {"only": member},
            "extractors": {"pixels": {"kind": "pixels"}},
            "ensemble": PARAMS["ensemble"] | {"members": ["only"]},
        }
        values = PARAMS | changed
        values["ingest"] = values["ingest"] | {"source": {"kind": "folder", "path": str(self.project.source)}}
        (self.root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        words = [word for option, path in self.paths().items() for word in (f"--{option}", str(path))]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, moment, *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr

    def paths(self) -> dict[str, Path]:
        """The stage's options."""
        names = ("drift.json", "metrics.json", "models", "predictions", "ensemble")
        paths = {name.partition(".")[0]: self.root / name for name in names}
        paths |= {"manifest": self.project.manifest, "blob": self.project.blob}
        return paths | {"verdict": self.root / "promotion.json", "page": self.root / "promotion.html"}

    def verdict(self) -> dict[str, Any]:
        verdict: dict[str, Any] = read_json(self.root / "promotion.json")
        return verdict

    def page(self) -> str:
        return (self.root / "promotion.html").read_text(encoding="utf-8")


@pytest.fixture
def workshop(
    empty_database: Path,
    project: Any,
    images: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Workshop:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    images(dict.fromkeys(CLASSES, 40), size=(8, 8), noise=90)
    workshop = Workshop(project, tmp_path)
    workshop.split()
    return workshop


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias("shop", "champion").version)


def bundle_of(version: str) -> Path:
    return Path(MlflowClient().get_model_version_download_uri("shop", version).removeprefix("file://"))


def tags(version: str) -> dict[str, str]:
    return dict(MlflowClient().get_model_version("shop", version).tags)


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


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_killed_around_the_move_of_the_alias_loses_no_report(
    workshop: Workshop, moment: str
) -> None:
    """The alias once moved first: a kill left a champion without a report."""
    workshop.make(c=1.0)
    workshop.promote_and_kill(moment)
    assert workshop.verdict()["decision"] == "promoted"
    assert "Every rule holds" in workshop.page()
    if moment == "before":
        assert MlflowClient().get_registered_model("shop").aliases == {}
    again = workshop.promote()
    assert champion() == "1"
    assert again["decision"] == ("promoted" if moment == "before" else "unchanged")
    assert again["decisions"] == (2 if moment == "before" else 1)
    assert tags("1")["promotion"].startswith(again["decision"])
    version = MlflowClient().get_model_version("shop", "1")
    assert "Verdict: every rule holds, and there was no champion" in str(version.description)
    run = MlflowClient().get_run(version.run_id)
    assert run.info.status == "KILLED"
    logged = {file.path for file in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"promotion.json", "promotion.html"} <= logged


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


def test_a_champion_that_cannot_be_used_any_more_is_one_line(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.promote()
    (next(bundle_of("1").rglob("spec.json"))).unlink()
    workshop.make(c=0.5)
    with pytest.raises(ServingError, match="models:/shop/1 cannot be used: ") as caught:
        workshop.promote()
    assert "\n" not in str(caught.value)


def test_a_champion_is_not_judged_on_images_it_was_trained_on(workshop: Workshop) -> None:
    """With another split seed, most of the test split was in the old champion's train split."""
    workshop.make(c=1.0)
    workshop.promote()
    trained_on = of_split(workshop, "train") | of_split(workshop, "val")
    workshop.split(seed=7)
    workshop.make(c=0.5)
    new = of_split(workshop, "test") - trained_on
    assert 20 < len(new) < 60
    few = workshop.promote(min_images=60)
    assert few["decision"] == "kept"
    allowed = "allowed: 60 at least (promote.min_images)"
    assert few["reason"] == f"images new to both models: {len(new)} of the test split's 80, {allowed}"
    assert "no decision was counted" in workshop.page()

    enough = workshop.promote(min_images=10)
    assert (enough["images"], enough["test_images"]) == (len(new), 80)
    # All of them were in the test split that the first decision was taken on.
    assert enough["decisions"] == 2
    assert f"{len(new)} are new to both models" in workshop.page()
    assert sum(recall["champion"] > 0 for recall in enough["recall"].values()) > 0


def of_split(workshop: Workshop, split: str) -> set[str]:
    table = Manifest.read(workshop.project.manifest)
    return set(table.strings("id")[table.strings("split") == split].tolist())


def test_a_champion_that_does_not_say_what_it_has_seen_is_one_line(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.promote()
    (next(bundle_of("1").rglob("seen.bin"))).unlink()
    workshop.make(c=0.5)
    with pytest.raises(ServingError, match="models:/shop/1 does not say which images it has seen") as caught:
        workshop.promote()
    assert "delete the alias champion of shop in MLflow" in str(caught.value)


def test_a_challenger_that_was_not_evaluated_is_refused(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    scores = read_json(workshop.root / "metrics.json")
    write_json(workshop.root / "metrics.json", {"ensemble": scores["ensemble"] | {"n": 79}})
    with pytest.raises(StoreError, match=r"metrics\.json has no scores of ensemble on 80 images"):
        workshop.promote()


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


def experiments() -> list[str]:
    return [experiment.experiment_id for experiment in MlflowClient().search_experiments()]


def test_predictions_of_other_images_are_refused(workshop: Workshop) -> None:
    workshop.make(c=1.0)
    workshop.project.ingest(near_duplicates={"distance": None}, test_fraction=0.3)
    with pytest.raises(StoreError, match="is of other images than the manifest's test split"):
        workshop.promote()
