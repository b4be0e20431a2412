"""evaluate: what the numbers, reports, plots and the run say of known probabilities."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from stages.common.errors import StoreError
from stages.common.files import digest, read_json, write_json
from stages.data import store
from stages.data.manifest import Manifest
from stages.ensemble import ensemble
from stages.evaluate import _warn_of_absent_classes, evaluate
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams
from stages.params import Ensemble, Evaluate, Predict
from stages.predict import predict
from stages.scoring.predictions import Predictions
from stages.train import train
from tests.project import Images, Project

CLASSES = ["cat", "dog", "panda"]
METRICS = {
    "accuracy",
    "top5_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "log_loss",
    "ece",
    "n",
}
HISTORIES = {
    "net": {
        "epoch": [1.0, 2.0],
        "loss": [0.9, 0.5],
        "accuracy": [0.5, 0.9],
        "val_loss": [1.0, 0.6],
        "val_accuracy": [0.4, 0.8],
        "learning_rate": [0.1, 0.1],
    },
    "classifier": {"c": [1.0], "cv_log_loss": [0.5]},
}


class Setting:
    """Members with hand-made predictions on the test split of a real manifest."""

    def __init__(self, root: Path, data: Any) -> None:
        self.root, self.data = root, data
        table = Manifest.read(data.manifest)
        self.ids = table.strings("id")[table.strings("split") == "test"]
        labels = table.labels(CLASSES)
        self.actual = np.array([labels[identity] for identity in self.ids.tolist()])
        # `net` is always right and sure at 0.8; `classifier` calls every panda a cat; so does the ensemble.
        right = np.full((len(self.ids), 3), 0.1, np.float32)
        right[np.arange(len(self.ids)), self.actual] = 0.8
        wrong = right[:, [2, 1, 0]].copy()
        wrong[self.actual != 2] = right[self.actual != 2]
        for name, probabilities in {"net": right, "classifier": wrong}.items():
            self.write(root / "predictions" / name / "test.h5", probabilities, self.ids)
            write_json(root / "models" / name / "history.json", HISTORIES[name])
            write_json(root / "models" / name / "run.json", {"run_id": f"run-of-{name}"})
        self.write(root / "ensemble" / "test.h5", wrong, self.ids)

    def write(self, path: Path, probabilities: np.ndarray, ids: Any) -> None:
        shape = probabilities.shape
        with store.create(path, "probabilities", shape, np.float32, ids=ids, provenance={}) as out:
            out.write(0, probabilities)

    def evaluate(self) -> None:
        members = {name: LearnerParams(kind="x", input="x", code="x") for name in HISTORIES}
        evaluate(
            Evaluate(calibration_bins=10),
            members,
            "tiny",
            manifest=self.data.manifest,
            classes=self.data.classes,
            packed=self.data.packed,
            models=self.root / "models",
            predictions=self.root / "predictions",
            ensemble=self.root / "ensemble",
            report=self.root / "reports",
            plots=self.root / "plots",
        )


@pytest.fixture
def setting(tracked: Path, packed: Any, tmp_path: Path) -> Setting:
    return Setting(tmp_path, packed)


@pytest.fixture(scope="module")
def done(tracked: Path, packed: Any, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """An evaluation that has run."""
    setting = Setting(tmp_path_factory.mktemp("evaluated"), packed)
    setting.evaluate()
    return setting


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_metrics_are_there_for_every_member_and_the_ensemble(done: Setting) -> None:
    metrics = read_json(done.root / "reports" / "metrics.json")
    assert list(metrics) == ["net", "classifier", "ensemble"]
    assert all(set(scores) == METRICS for scores in metrics.values())
    n = len(done.ids)
    assert metrics["net"]["accuracy"] == 1.0
    assert metrics["net"]["n"] == n == 12
    assert metrics["net"]["log_loss"] == pytest.approx(-np.log(0.8), abs=1e-6)
    assert metrics["net"]["ece"] == pytest.approx(0.2, abs=1e-6)
    assert metrics["classifier"]["accuracy"] == pytest.approx(2 / 3)
    # Cat: precision 1/2, recall 1; dog 1 and 1; panda 0 and 0.
    assert metrics["classifier"]["macro_precision"] == pytest.approx(0.5)
    assert metrics["classifier"]["macro_recall"] == pytest.approx(2 / 3)
    assert metrics["ensemble"] == metrics["classifier"]


def test_the_report_has_a_table_per_member(done: Setting) -> None:
    text = (done.root / "reports" / "classification_report.txt").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line in ("net", "classifier", "ensemble")] == [
        "net",
        "classifier",
        "ensemble",
    ]
    assert all(text.count(f" {name} ") == 3 for name in CLASSES)


def test_plots_have_the_predictions_and_the_learning_curves_of_networks(done: Setting) -> None:
    plots = done.root / "plots"
    assert {path.name for path in (plots / "confusion").iterdir()} == {
        "net.csv",
        "classifier.csv",
        "ensemble.csv",
    }
    header, *pairs = rows(plots / "confusion" / "classifier.csv")
    assert header == ["actual", "predicted"]
    assert len(pairs) == 12
    assert {tuple(pair) for pair in pairs} == {("cat", "cat"), ("dog", "dog"), ("panda", "cat")}
    for curve, values in {
        "loss": [["1.0", "0.9", "1.0"], ["2.0", "0.5", "0.6"]],
        "accuracy": [["1.0", "0.5", "0.4"], ["2.0", "0.9", "0.8"]],
    }.items():
        # The classifier has no epochs.
        assert {path.name for path in (plots / curve).iterdir()} == {"net.csv"}
        assert rows(plots / curve / "net.csv") == [["epoch", "train", "val"], *values]


def test_the_run_has_all_numbers_reports_and_links_to_the_members_runs(done: Setting) -> None:
    link = read_json(done.root / "reports" / "run.json")
    run = MlflowClient().get_run(link["run_id"])
    assert link["experiment"] == "tiny"
    metrics = read_json(done.root / "reports" / "metrics.json")
    flat = {f"{name}.{key}": value for name, scores in metrics.items() for key, value in scores.items()}
    assert run.data.metrics == pytest.approx(flat)
    tags = {
        "stage": "evaluate",
        "recipe": "tiny",
        "manifest": digest(done.data.manifest),
        "run.net": "run-of-net",
        "run.classifier": "run-of-classifier",
    }
    assert tags.items() <= run.data.tags.items()
    parent = MlflowClient().get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["git.commit"] == run.data.tags["git.commit"]
    files = {artifact.path for artifact in MlflowClient().list_artifacts(link["run_id"])}
    assert {"metrics.json", "classification_report.txt", "figures"} <= files
    figures = {artifact.path for artifact in MlflowClient().list_artifacts(link["run_id"], "figures")}
    assert {f"figures/confusion_{name}.png" for name in metrics} <= figures
    assert {f"figures/predictions_{name}.png" for name in metrics} <= figures
    # `net` makes no errors.
    assert {f"figures/errors_{name}.png" for name in ("classifier", "ensemble")} <= figures
    assert "figures/errors_net.png" not in figures
    for folder, ending in {"per_class": "csv", "predictions": "npz"}.items():
        listed = {artifact.path for artifact in MlflowClient().list_artifacts(link["run_id"], folder)}
        assert listed == {f"{folder}/{name}.{ending}" for name in metrics}


def test_the_parent_run_has_what_executions_are_compared_by(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOY_RUN", f"compared in {setting.root}")
    files = {
        "conf/config.yaml": "defaults:\n  - _self_\n  - recipe: tiny\n",
        "conf/recipe/tiny.yaml": "# @package _global_\nrecipe: tiny\nepochs: 1\n",
        "params.yaml": "recipe: tiny\nepochs: 2\n",
    }
    for name, text in files.items():
        (setting.root / name).parent.mkdir(parents=True, exist_ok=True)
        (setting.root / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("DVC_ROOT", str(Path.cwd()))
    monkeypatch.chdir(setting.root)
    setting.evaluate()
    run = MlflowClient().get_run(read_json(setting.root / "reports" / "run.json")["run_id"])
    parent = MlflowClient().get_run(run.data.tags["mlflow.parentRunId"])
    metrics = read_json(setting.root / "reports" / "metrics.json")
    flat = {f"{name}.{key}": value for name, scores in metrics.items() for key, value in scores.items()}
    assert flat.items() <= parent.data.metrics.items()
    assert 0.3 < parent.data.metrics["ensemble.accuracy_low"] < 0.5
    assert 0.8 < parent.data.metrics["ensemble.accuracy_high"] < 0.9
    assert parent.data.params == {"epochs": "2"}
    (read,) = parent.inputs.dataset_inputs
    assert (read.dataset.name, read.tags[0].value) == ("tiny (test)", "test")
    assert {"manifest", "mlflow.user"} <= set(parent.data.tags)
    assert parent.data.tags["mlflow.source.name"] == "dvc.yaml"
    note = parent.data.tags["mlflow.note.content"]
    assert "| net | 1.0000 (0.7575 to 1.0000) | 0.2231 |" in note
    assert "Differs from the recipe: `epochs=2`" in note
    for part in ("run-of-net", "run-of-classifier", run.info.run_id):
        assert f"(#/experiments/{run.info.experiment_id}/runs/{part})" in note


def test_what_was_tracked_stays_with_the_report(done: Setting) -> None:
    artifacts = done.root / "reports" / "tracking" / "artifacts"
    with np.load(artifacts / "predictions" / "classifier.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == done.ids.tolist()
        assert arrays["labels"].tolist() == done.actual.tolist()
        assert arrays["probabilities"].shape == (12, 3)
    name, *header = rows(artifacts / "comparison.csv")[0]
    assert (name, set(header)) == ("name", METRICS)
    assert [row[0] for row in rows(artifacts / "comparison.csv")[1:]] == ["net", "classifier", "ensemble"]
    panda = {row[0]: row[1:] for row in rows(artifacts / "per_class" / "classifier.csv")[1:]}["panda"]
    assert [float(value) for value in panda] == [0.0, 0.0, 0.0, 4.0]


def test_the_table_on_the_terminal_has_a_row_per_member(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    setting.evaluate()
    header, *lines = capsys.readouterr().out.strip("\n").splitlines()
    assert set(header.split()) == METRICS
    table = {line.split()[0]: dict(zip(header.split(), line.split()[1:], strict=True)) for line in lines}
    assert table["net"]["accuracy"] == "1.0000"
    assert table["classifier"]["accuracy"] == "0.6667"
    assert table["ensemble"]["n"] == "12"


def test_the_order_of_predictions_does_not_matter(setting: Setting) -> None:
    file = setting.root / "predictions" / "net" / "test.h5"
    with store.Reader(file) as reader:
        backwards = reader.read(0, len(reader))[::-1].copy()
    setting.write(file, backwards, setting.ids[::-1])
    setting.evaluate()
    assert read_json(setting.root / "reports" / "metrics.json")["net"]["accuracy"] == 1.0


@pytest.mark.parametrize("where", ["predictions/net/test.h5", "ensemble/test.h5"])
def test_predictions_of_other_images_are_refused(setting: Setting, where: str) -> None:
    ids = setting.ids.copy()
    ids[0] = "0" * 16
    setting.write(setting.root / where, np.full((12, 3), 1 / 3, np.float32), ids)
    with pytest.raises(StoreError, match=f"{where} is of other images than the manifest's test split"):
        setting.evaluate()
    assert not (setting.root / "reports").exists()


def test_missing_predictions_are_named(setting: Setting) -> None:
    (setting.root / "predictions" / "net" / "test.h5").unlink()
    with pytest.raises(StoreError, match=r"net/test\.h5 does not exist; run the stage that makes it"):
        setting.evaluate()


@pytest.mark.slow
def test_a_val_split_of_other_images_is_found_with_train_val(
    tracked: Path, project: Project, images: Images, tmp_path: Path
) -> None:
    """From the source to the report: val and test show as a cat what train shows as a dog."""
    drawn = images({"cat": 60, "dog": 60}, root=tmp_path / "drawn")
    for label, other in (("cat", "dog"), ("dog", "cat")):
        for number, path in enumerate(sorted((drawn / label).iterdir())):
            place = f"train/{label}" if number < 40 else f"{'val' if number < 50 else 'test'}/{other}"
            (project.source / place).mkdir(parents=True, exist_ok=True)
            path.rename(project.source / place / path.name)
    project.ingest(split="from_path", train_val_fraction=0.25, near_duplicates={"distance": None})
    project.resize()
    project.mean()
    project.pack()

    values = yaml.safe_load(Path(__file__).parents[1].joinpath("params.yaml").read_text())["models"]["lenet"]
    values |= {"network": "shallownet", "code": "stages/models/networks/shallownet.py"}
    values["train"] |= {"epochs": 8, "batch_size": 8}
    params = cnn.Params.model_validate(values)
    root, model, predictions = project.root, project.root / "models/net", project.root / "predictions"
    train("net", params=params, recipe="tiny", data=project.packed, model=model)
    crops = Predict(crops="center")
    predict("net", params=crops, model=model, data=project.packed, predictions=predictions / "net")
    average = Ensemble(members=["net"], weights="uniform")
    ensemble(average, predictions=predictions, ensemble=root / "ensemble")
    evaluate(
        Evaluate(calibration_bins=10),
        {"net": params},
        "tiny",
        manifest=project.manifest,
        classes=project.classes,
        packed=project.packed,
        models=root / "models",
        predictions=predictions,
        ensemble=root / "ensemble",
        report=root / "reports",
        plots=root / "plots",
    )
    findings = {each["name"]: each for each in read_json(root / "reports" / "diagnosis.json")["net"]}
    assert findings["train and val differ"]["figure"].startswith(
        "train error 0.000, train-val error 0.000, val error 1.000, test error 1.000"
    )
    # 60 of the 80 train images are left to train on.
    assert findings["small data set"]["figure"].startswith("30 train images of a class")
    profile = json.loads(
        MlflowClient()
        .get_run(read_json(root / "reports" / "run.json")["run_id"])
        .inputs.dataset_inputs[0]
        .dataset.profile
    )
    assert profile["images"] == {"train": 60, "train_val": 20, "val": 20, "test": 20}


def test_metrics_are_plain_json(done: Setting) -> None:
    text = (done.root / "reports" / "metrics.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert json.loads(text)


def test_classes_without_test_images_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    predictions = Predictions(np.array(["a", "b"]), np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    _warn_of_absent_classes(predictions, ["cat", "dog"])
    (record,) = caplog.records
    assert record.message == "left_classes_out_of_macro_averages"
    assert vars(record)["fields"] == {"scored": 1, "absent": 1, "first": "dog"}
