"""train: one fitted member, and its run in a real MLflow store."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from stages.common.errors import LearnerError, ParamsError
from stages.common.files import digest, read_json
from stages.data import image_set, store
from stages.models import learners
from stages.models.learners import cnn, logistic_regression
from stages.tools import preview
from stages.train import train
from tests.paths import ROOT
from tests.project import Images, Project

MODELS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]


def logistic(**changes: Any) -> logistic_regression.Params:
    values = MODELS["hog_logistic"] | {"input": "features/pixels", "c": [0.1, 1.0]} | changes
    return logistic_regression.Params.model_validate(values)


@pytest.fixture(scope="module")
def member(tracked: Path, features: Path) -> Path:
    """A logistic regression on pixels, trained and tracked."""
    folder = tracked / "models" / "logistic"
    train("logistic", params=logistic(), recipe="tiny", data=features, model=folder)
    return folder


def run_of(folder: Path) -> Run:
    return MlflowClient().get_run(read_json(folder / "run.json")["run_id"])


def artifacts(run: Run, folder: str | None) -> set[str]:
    return {artifact.path for artifact in MlflowClient().list_artifacts(run.info.run_id, folder)}


def test_a_member_says_what_it_is_and_how_to_feed_it(member: Path, features: Path) -> None:
    assert {path.name for path in member.iterdir()} == {
        "model.skops",
        "spec.json",
        "history.json",
        "run.json",
        "seen.bin",
        "tracking",
    }
    spec = read_json(member / "spec.json")
    assert (spec["name"], spec["kind"], spec["input"]) == (
        "logistic",
        "logistic_regression",
        "features/pixels",
    )
    assert (spec["shape"], spec["dtype"]) == ([16 * 16 * 3], "float32")
    assert spec["provenance"]["classes"] == ["cat", "dog", "panda"]
    assert read_json(member / "history.json")["c"] == [0.1, 1.0]
    assert isinstance(learners.load(member), logistic_regression.LogisticRegression)
    # MLflow is asked for what an earlier attempt has logged only where there was one.
    assert read_json(member / "tracking" / "record.json")["resumed"] is False


def test_its_run_is_tagged_with_the_commit_the_data_and_the_stage(
    member: Path, tracked: Path, packed: Any
) -> None:
    run = run_of(member)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tracked, capture_output=True, text=True, check=True
    )
    tags = {
        "stage": "train@logistic",
        "member": "logistic",
        "recipe": "tiny",
        "manifest": digest(packed.manifest),
        "git.commit": commit.stdout.strip(),
        "git.dirty": "false",
        "device": "cpu",
    }
    assert tags.items() <= run.data.tags.items()
    assert run.info.run_name == "logistic"
    assert run.info.status == "FINISHED"
    assert MlflowClient().get_experiment(run.info.experiment_id).name == "tiny"


def test_its_run_has_params_metrics_and_figures(member: Path) -> None:
    run = run_of(member)
    assert run.data.params["kind"] == "logistic_regression"
    assert json.loads(run.data.params["c"]) == [0.1, 1.0]
    assert run.data.metrics["final_val_accuracy"] == 1.0
    assert run.data.metrics["final_val_n"] == 12
    assert run.data.metrics["fit_seconds"] > 0
    assert run.data.metrics["fit_peak_memory_mib"] > 50
    assert artifacts(run, "figures") == {
        f"figures/{name}.png"
        for name in ("confusion_val", "confusion_normalized_val", "reliability_val", "learning_curves")
    }
    assert artifacts(run, "per_class") == {"per_class/val.csv"}
    assert artifacts(run, "architecture") == {"architecture/architecture.txt"}
    assert {"log.txt", "environment"} <= artifacts(run, None)
    (read,) = run.inputs.dataset_inputs
    assert json.loads(read.dataset.profile)["images"] == {"train": 36, "val": 12}


def test_a_networks_run_has_its_metrics_per_epoch(tracked: Path, packed: Any) -> None:
    values = MODELS["lenet"] | {"network": "shallownet", "code": "stages/models/networks/shallownet.py"}
    values["train"] = MODELS["lenet"]["train"] | {"epochs": 2, "batch_size": 8, "save_epochs": 1}
    folder = tracked / "models" / "net"
    params = cnn.Params.model_validate(values)
    train("net", params=params, recipe="tiny", data=packed.packed, model=folder)

    run = run_of(folder)
    history = MlflowClient().get_metric_history(run.info.run_id, "val_loss")
    assert [(metric.step, metric.value) for metric in history] == list(
        enumerate(read_json(folder / "history.json")["val_loss"], start=1)
    )
    assert run.data.params["train.epochs"] == "2"
    assert run.data.params["optimizer.learning_rate"] == "0.01"
    assert read_json(folder / "spec.json")["shape"] == [16, 16, 3]
    assert {"figures/confusion_val.png", "figures/learning_curves.png"} <= artifacts(run, "figures")
    checkpoints = list(tracked.rglob("epoch-*.npz"))
    # With the member, and not in the model that is served.
    assert {path.parent for path in checkpoints} == {folder / "checkpoints"}
    assert sorted(path.name[:9] for path in checkpoints) == ["epoch-001", "epoch-002"]
    assert "architecture/architecture.txt" in artifacts(run, "architecture")
    assert ("architecture/architecture.png" in artifacts(run, "architecture")) == bool(shutil.which("dot"))


def test_a_continuation_with_another_metric_has_it_for_its_own_epochs(
    tracked: Path, packed: Any, tmp_path: Path
) -> None:
    values = MODELS["lenet"] | {"network": "shallownet", "code": "stages/models/networks/shallownet.py"}
    settings = MODELS["lenet"]["train"] | {"epochs": 1, "batch_size": 8}
    folder = tracked / "models" / "net"
    first = cnn.Params.model_validate(values | {"train": settings})
    train("net", params=first, recipe="tiny", data=packed.packed, model=folder)
    shutil.copytree(folder, tmp_path / "finished")

    values |= {"start_from": {"member": str(tmp_path / "finished")}}
    second = cnn.Params.model_validate(values | {"train": settings | {"top5_accuracy": True}})
    train("net", params=second, recipe="tiny", data=packed.packed, model=folder)
    assert read_json(folder / "history.json").keys() == read_json(tmp_path / "finished/history.json").keys()
    client, run_id = MlflowClient(), run_of(folder).info.run_id
    steps = {
        name: [metric.step for metric in client.get_metric_history(run_id, name)]
        for name in ("val_accuracy", "val_top5_accuracy")
    }
    assert steps == {"val_accuracy": [1, 2], "val_top5_accuracy": [2]}


def test_a_member_of_another_split_is_not_continued(tracked: Path, packed: Any, tmp_path: Path) -> None:
    """It has seen images that are in the test split now."""
    finished = tmp_path / "finished"
    finished.mkdir()
    (finished / "model.keras").write_bytes(b"weights")
    with store.Reader(packed.packed / "test.h5") as test:
        image_set.write(finished / "seen.bin", image_set.of_ids(test.ids.tolist()))
    params = cnn.Params.model_validate(MODELS["lenet"] | {"start_from": {"member": str(finished)}})
    folder = tmp_path / "models" / "net"
    with pytest.raises(ParamsError, match=r"was trained on 12 of the 12 images of the test split"):
        train("net", params=params, recipe="tiny", data=packed.packed, model=folder)
    assert not folder.exists()


def test_a_failed_training_leaves_no_member_and_a_failed_run(
    tracked: Path, features: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "logistic"
    with pytest.raises(LearnerError, match="99 folds"):
        train("logistic", params=logistic(folds=99), recipe="failing", data=features, model=folder)
    assert list(folder.parent.iterdir()) == []
    experiment = MlflowClient().get_experiment_by_name("failing")
    runs = MlflowClient().search_runs([experiment.experiment_id])
    assert {run.data.tags["stage"]: run.info.status for run in runs} == {
        "train@logistic": "FAILED",
        "pipeline": "FAILED",
    }


def test_a_patch_larger_than_the_images_is_refused_before_the_sheet_is_drawn(
    tracked: Path, packed: Any, tmp_path: Path
) -> None:
    """Its augmented images were an unexpected error, which is tried again."""
    augment = yaml.safe_load((ROOT / "conf/augment/base.yaml").read_text(encoding="utf-8"))
    params = cnn.Params.model_validate(MODELS["lenet"] | {"augment": augment, "patch": [40, 16]})
    refused = pytest.raises(LearnerError, match=r"patch is 40x16; the images of .*train\.h5 are 16x16")
    with refused:
        train("net", params=params, recipe="patch", data=packed.packed, model=tmp_path / "models" / "net")
    with refused:
        preview.draw({"net": params}, packed.packed, tmp_path / "sheets")


@pytest.mark.slow
def test_a_network_is_scored_as_delivered_on_val_and_on_plain_train_images(
    tracked: Path, packed: Any
) -> None:
    """Not by its history, which has augmentation and dropout in it, and the last epoch's weights."""
    augment = yaml.safe_load((ROOT / "conf/augment/base.yaml").read_text(encoding="utf-8")) | {"cutmix": 1.0}
    settings = MODELS["minivggnet"]["train"] | {"epochs": 3, "keep": "best", "monitor": "val_accuracy"}
    values = MODELS["minivggnet"] | {"augment": augment, "train": settings}
    folder = tracked / "models" / "net"
    train(
        "net",
        params=cnn.Params.model_validate(values),
        recipe="tiny",
        data=packed.packed,
        model=folder,
    )
    history, fit = read_json(folder / "history.json"), read_json(folder / "fit.json")
    accuracy = history["val_accuracy"]
    assert fit["epoch"] == 1 + accuracy.index(max(accuracy))
    learner = learners.load(folder)
    for split in ("train", "val"):
        with store.Reader(packed.packed / f"{split}.h5") as rows:
            right = learners.predict_all(learner, rows).argmax(axis=1) == rows.column("labels")
        assert fit[split]["n"] == len(right)
        assert fit[split]["accuracy"] == pytest.approx(right.mean())
    assert run_of(folder).data.metrics["final_train_accuracy"] == fit["train"]["accuracy"]
    assert set(fit) == {"epoch", "train", "val"}


@pytest.mark.slow
def test_a_network_is_scored_on_train_val_and_not_trained_on_it(
    tracked: Path, project: Project, images: Images
) -> None:
    images({"cat": 20, "dog": 20}, noise=90)
    project.ingest(train_val_fraction=0.25, near_duplicates={"distance": None})
    project.resize()
    project.mean()
    project.pack()
    values = MODELS["lenet"] | {"network": "shallownet", "code": "stages/models/networks/shallownet.py"}
    values["train"] = MODELS["lenet"]["train"] | {"epochs": 2, "batch_size": 8}
    params, folder = cnn.Params.model_validate(values), tracked / "models" / "net"

    def answers() -> Any:
        train("net", params=params, recipe="tiny", data=project.packed, model=folder)
        with store.Reader(project.packed / "val.h5") as rows:
            return learners.predict_all(learners.load(folder), rows)

    with_split = answers()
    fit, run = read_json(folder / "fit.json"), run_of(folder)
    with store.Reader(project.packed / "train_val.h5") as rows:
        right = learners.predict_all(learners.load(folder), rows).argmax(axis=1) == rows.column("labels")
    assert set(fit) == {"epoch", "train", "train_val", "val"}
    assert fit["train_val"]["n"] == len(right) == 6
    assert fit["train_val"]["accuracy"] == pytest.approx(right.mean())
    assert run.data.metrics["final_train_val_accuracy"] == fit["train_val"]["accuracy"]
    (project.packed / "train_val.h5").unlink()
    np.testing.assert_allclose(answers(), with_split, atol=1e-6)
    assert set(read_json(folder / "fit.json")) == {"epoch", "train", "val"}
