"""The whole graph under DVC, in a clone: what runs, what does not, and what a killed stage leaves behind."""

import csv
import hashlib
import json
import os
import re
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

from stages.data import store
from stages.data.manifest import Manifest
from tests.dvc_clone import TINY, Clone, ran

pytestmark = pytest.mark.slow

EPOCHS = "models.lenet.train.epochs"
AFTER_LENET = ["train@lenet", "predict@lenet", "ensemble", "evaluate", "promote", "summarize"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Everything run once. Each test leaves it up to date with its params."""
    clone = Clone(tmp_path_factory.mktemp("pipeline") / "clone")
    ran_first = clone.experiment(f"{EPOCHS}=2")
    assert sorted(ran_first) == sorted(clone.stages())
    return clone


def test_every_dep_and_out_is_there(clone: Clone) -> None:
    lock = yaml.safe_load((clone.root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    assert set(lock) == set(clone.stages())
    assert {"ingest", "extract@hog", "predict@hog_logistic", *AFTER_LENET} <= set(lock)
    for name, stage in lock.items():
        for entry in stage["deps"] + stage["outs"]:
            assert (clone.root / entry["path"]).exists(), f"{name}: {entry['path']}"
    assert clone.half_written() == []
    metrics = clone.json("reports/metrics.json")
    assert list(metrics) == ["lenet", "hog_logistic", "ensemble"]
    assert metrics["ensemble"]["accuracy"] > 0.9


def test_outputs_are_links_into_the_cache_and_read_only(clone: Clone) -> None:
    for name in ("data/resized.h5", "data/packed/train.h5", "models/lenet/model.keras"):
        output = clone.root / name
        assert output.stat().st_nlink > 1 or output.is_symlink(), name
        assert output.stat().st_mode & 0o222 == 0, name


def test_a_second_run_does_nothing(clone: Clone) -> None:
    output = clone.dvc("repro")
    assert ran(output) == []
    assert "Data and pipelines are up to date." in output


def test_plots_have_data_for_every_member(clone: Clone) -> None:
    plots = json.loads(clone.dvc("plots", "show", "--json"))
    assert not plots.get("errors")
    files = {
        Path(name).relative_to("plots").as_posix()
        for plot, drawn in plots["data"].items()
        for figure in drawn
        for name in re.findall(r"plots/\w+/\w+\.csv", json.dumps([plot, figure]))
    }
    assert {"loss/lenet.csv", "accuracy/lenet.csv"} <= files
    assert {f"confusion/{name}.csv" for name in ("lenet", "hog_logistic", "ensemble")} <= files


SERVE = """
import json, sys
import mlflow, pandas as pd
uri, images = sys.argv[1:]
files = json.load(open(images))
data = []
for file, offset, size in files:
    with open(file, "rb") as opened:
        opened.seek(offset)
        data.append(opened.read(size))
# Without a folder, MLflow leaves what it downloads in that for temporary files.
model = mlflow.pyfunc.load_model(uri, dst_path=".")
model.predict(pd.DataFrame({"image": data})).to_json("found.json", orient="records")
"""


@pytest.mark.parametrize("name", ["lenet", "hog_logistic"])
def test_the_served_model_gives_the_members_probabilities_of_raw_images(
    clone: Clone, tmp_path: Path, name: str
) -> None:
    data = clone.root / "data"
    rows = {row.id: row for row in Manifest.read(data / "manifest.parquet").rows()}
    with store.Reader(clone.root / "predictions" / name / "test.h5") as predicted:
        expected, first = (
            predicted.read(0, 100),
            [rows[identity] for identity in predicted.ids[:100].tolist()],
        )
    images = [(str(data / "images.zip"), row.offset, row.bytes) for row in first]
    (tmp_path / "images.json").write_text(json.dumps(images), encoding="utf-8")
    uri = f"runs:/{clone.json(f'models/{name}/run.json')['run_id']}/model"
    environment = clone.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{clone.root}/mlflow.db"}
    # Far from the checkout: with the code that was logged.
    words = [sys.executable, "-c", SERVE, uri, tmp_path / "images.json"]
    subprocess.run(words, cwd=tmp_path, env=environment, check=True)
    answers = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    probabilities = np.asarray([list(answer["probabilities"].values()) for answer in answers])
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@dataclass(frozen=True)
class Again:
    """The second execution, with other epochs of one member."""

    ran: list[str]
    links: dict[str, Any]


@pytest.fixture(scope="module")
def again(clone: Clone) -> Again:
    """One more execution for all tests of a second one; `links` are those of the first."""
    links = {name: clone.json(f"models/{name}/run.json") for name in ("lenet", "hog_logistic")}
    return Again(clone.experiment(f"{EPOCHS}=3"), links)


def test_executions_have_a_parent_each_with_the_same_members_below_or_linked(
    clone: Clone, again: Again
) -> None:
    client = MlflowClient(f"sqlite:///{clone.root}/mlflow.db")
    experiment = client.get_experiment_by_name("digits").experiment_id

    def executions() -> list[dict[str, str]]:
        runs = client.search_runs([experiment], "tags.stage = 'pipeline'", order_by=["start_time"])
        assert {run.info.status for run in runs} == {"FINISHED"}
        return [{**run.data.tags, "id": run.info.run_id} for run in runs]

    def below(parent: str) -> list[str]:
        children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        return sorted(child.data.tags["stage"] for child in children)

    first, second = executions()
    trained = ["train@hog_logistic", "train@lenet"]
    assert set(below(first["id"])) >= {"evaluate", *trained}
    assert set(below(second["id"])) >= {"evaluate", "train@lenet"}
    assert "train@hog_logistic" not in below(second["id"])
    assert second["run.hog_logistic"] == first["run.hog_logistic"]
    assert second["run.lenet"] != first["run.lenet"]
    words = [sys.executable, "-m", "stages.tools.compare", "--recipe", "digits"]
    output = subprocess.check_output(words, cwd=clone.root, env=clone.environment, text=True)
    assert re.search(r"train\.epochs +2 +3", output)


def test_other_epochs_run_that_member_again_and_what_follows_from_it(clone: Clone, again: Again) -> None:
    assert again.ran == AFTER_LENET
    assert len(clone.json("models/lenet/history.json")["epoch"]) == 3
    # A member that did not run still points at the run that made it.
    assert clone.json("models/hog_logistic/run.json") == again.links["hog_logistic"]
    assert clone.json("models/lenet/run.json") != again.links["lenet"]
    assert clone.repro() == []


def test_an_experiment_in_a_temporary_workspace_is_promoted_in_the_project(
    clone: Clone, again: Again, tmp_path: Path
) -> None:
    client = MlflowClient(f"sqlite:///{clone.root}/mlflow.db")
    # So that the challenger has to beat nobody.
    client.delete_registered_model_alias("digits", "champion")
    overrides = [*TINY, f"{EPOCHS}=3", "models.hog_logistic.c=[0.02]"]
    options = [word for override in overrides for word in ("-S", override)]
    ran_there = ran(clone.dvc("exp", "run", "--temp", "--name", "temporary", *options))
    assert {"train@hog_logistic", "promote", "summarize"} <= set(ran_there)
    assert "ingest" not in ran_there
    assert not list((clone.root / ".dvc" / "tmp" / "exps").rglob("dvc.yaml")), "the workspace is deleted"

    (reference,) = clone.git("for-each-ref", "--format=%(refname)", "refs/exps/**/temporary").split()
    verdict = tmp_path / "promotion.json"
    clone.dvc("get", ".", "reports/promotion.json", "--rev", reference, "--out", str(verdict))
    promotion = json.loads(verdict.read_text(encoding="utf-8"))
    assert promotion["decision"] == "promoted"
    champion = client.get_model_version_by_alias("digits", "champion")
    assert promotion["challenger"]["uri"] == f"models:/digits/{champion.version}"
    run = client.get_run(champion.run_id)
    assert run.info.status == "FINISHED"
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(clone.root / "mlruns")
    model = client.get_model_version_download_uri("digits", champion.version)
    assert (Path(model.removeprefix("file://")) / "MLmodel").is_file()
    assert Path(model.removeprefix("file://")).is_relative_to(clone.root)
    assert clone.repro() == [], "the workspace is as before"


def test_another_size_is_resized_and_not_taken_from_the_run_cache(clone: Clone) -> None:
    def shape() -> tuple[int, ...]:
        with store.Reader(clone.root / "data" / "resized.h5") as rows:
            return rows.shape[1:]

    clone.set("resize.size", [20, 24])
    assert clone.repro("resize") == ["resize"]
    assert shape() == (20, 24, 1)
    # The old size, on the other hand, is in the cache, and all that was made of it.
    clone.set("resize.size", [16, 16])
    assert clone.repro() == []
    assert shape() == (16, 16, 1)


def test_an_edited_network_runs_its_member_again_as_a_whole_even_when_killed_before(clone: Clone) -> None:
    network = clone.root / "stages" / "models" / "networks" / "lenet.py"
    code = network.read_text(encoding="utf-8")
    assert code.count("kl.flattened(x), 500") == 1
    network.write_text(code.replace("kl.flattened(x), 500", "kl.flattened(x), 50"), encoding="utf-8")

    with clone.start("repro") as process:
        assert process.stdout is not None
        output = []
        for line in process.stdout:
            output.append(line)
            if "event=finished_epoch number=1/" in line:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "".join(output)
    assert not (clone.root / "models" / "lenet").exists()
    assert [path.name for path in clone.half_written()] == [".lenet.part"]

    assert clone.repro("predict@lenet") == AFTER_LENET[:2]
    assert clone.half_written() == []
    files = {path.name for path in (clone.root / "models" / "lenet").iterdir()}
    curves = {"history.json", "learning_curves.png"}
    assert files == {"fit.json", "model.keras", "spec.json", "run.json", "seen.bin", "tracking"} | curves
    network.write_text(code, encoding="utf-8")
    assert clone.repro() == [], "the code of before, whose outputs are in the cache"


def test_an_unreadable_image_is_listed_and_too_many_stop_the_run(
    clone: Clone, images: Callable[..., Path]
) -> None:
    source = images({"cat": 30, "dog": 30}, root=clone.root / "datasets" / "pets")
    (source / "cat" / "broken.png").write_bytes(b"no image")
    original = (clone.root / "params.yaml").read_bytes()
    clone.set("ingest.source", {"kind": "folder", "path": "datasets/pets"})

    output = clone.dvc("repro", "ingest", fails=True)
    (line,) = [entry for entry in output.splitlines() if "level=error" in entry]
    assert "1 of 61 files cannot be used, more than ingest.max_reject_fraction = 0.01" in line
    assert "cat/broken.png" in line
    assert "Traceback" not in output

    clone.set("ingest.max_reject_fraction", 0.02)
    assert clone.repro("resize") == ["ingest", "resize"]
    with (clone.root / "data" / "rejects.csv").open(encoding="utf-8", newline="") as file:
        (reject,) = csv.DictReader(file)
    assert (reject["path"], reject["label"], reject["reason"]) == ("cat/broken.png", "cat", "picture")
    with store.Reader(clone.root / "data" / "resized.h5") as rows:
        assert len(rows) == 60

    (clone.root / "params.yaml").write_bytes(original)
    assert clone.repro() == []


def test_nothing_wrote_into_the_cache_by_way_of_a_link(clone: Clone) -> None:
    """After all runs, edits and kills above; root may write into files that are read-only."""
    cached = [path for path in (clone.root / ".dvc" / "cache" / "files" / "md5").rglob("*") if path.is_file()]
    assert len(cached) > 50
    for path in cached:
        assert hashlib.md5(path.read_bytes()).hexdigest() == (path.parent.name + path.name).partition(".")[0]
