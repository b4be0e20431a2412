"""What a run holds, and that nothing is lost when a server or a stage dies."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from stages import tracking
from stages.common.files import read_json
from stages.tracking import TrackingError, record
from tests.paths import ROOT


@pytest.mark.parametrize("scheme", ["foo:///x", "file:///tmp/x", "sqlite:///{folder}/text.db"])
def test_a_store_that_cannot_be_used_is_one_line(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    (tmp_path / "text.db").write_text("no database")
    uri = scheme.format(folder=tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError) as caught, tracking.run("tiny", "one", {}):
        pass
    assert str(caught.value).startswith(f"tracking at {uri}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_server_that_does_not_answer_is_one_warning_and_the_record_waits(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as unreachable:
        unreachable.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        unreachable.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with tracking.run("t", "n", {}, keep=tmp_path) as run:
            run.epoch(1, {"loss": 0.5})
        (warning,) = [record for record in caplog.records if record.name == "convoy"]
        reason = warning.__dict__["fields"]["reason"]
        assert "127.0.0.1:9" in reason
        assert "\n" not in reason
        assert read_json(tmp_path / "run.json")["run_id"] is None
    before = contents(tmp_path)
    assert tracking.sync([tmp_path]) == tracking.Counts(uploaded=1)
    assert tracking.sync([tmp_path]) == tracking.Counts(), "nothing is sent twice"
    assert contents(tmp_path) == before
    client = MlflowClient()
    run_id = tracking.resolve(client, read_json(tmp_path / "run.json"))
    assert run_id is not None
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [metric.value for metric in client.get_metric_history(run_id, "loss")] == [0.5]
    assert {artifact.path for artifact in client.list_artifacts(run_id)} == {"environment", "log.txt"}


def test_what_is_sent_twice_is_there_once(tracked: Path, tmp_path: Path) -> None:
    with tracking.run("t", "twice", {}, keep=tmp_path) as run:
        run.params({"a": 1})
        run.dataset("ab" * 32, "train", {"train": 3})
        run.epoch(1, {"loss": 0.5})
        run.epoch(2, {"loss": 0.25})
        run.history({"epoch": [1.0, 2.0], "phase": [1.0, 2.0], "loss": [0.5, 0.25]})
    client, link = MlflowClient(), read_json(tmp_path / "run.json")
    before = client.get_run(link["run_id"])
    # As if the server had died when it had all parts and not yet the tag that says so.
    client.set_tag(link["run_id"], f"record.{link['record']}", "open")
    tracking.sync([tmp_path])
    after = client.get_run(link["run_id"])
    assert after.to_dictionary() == before.to_dictionary()
    assert [metric.value for metric in client.get_metric_history(link["run_id"], "loss")] == [0.5, 0.25]
    (experiment,) = client.search_experiments(filter_string="name = 't'")
    assert len(client.search_runs([experiment.experiment_id], "attributes.run_name = 'phase 1'")) == 1


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_fails_while_the_server_is_unreachable_is_uploaded_by_the_next(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as unreachable:
        unreachable.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        unreachable.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(ZeroDivisionError), tracking.run("t", "failed", {}) as failed:  # noqa: PT012
            link = failed.link
            _ = 1 / 0
    assert [path.name for path in record.waiting().iterdir()] == [link["record"]]
    with tracking.run("t", "next", {}):
        pass
    assert list(record.waiting().iterdir()) == []
    client = MlflowClient()
    run = client.get_run(str(tracking.resolve(client, link)))
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "division by zero"


def test_uncommitted_changes_are_tagged(tracked: Path) -> None:
    with tracking.run("tiny", "clean", {}) as clean:
        pass
    tags = MlflowClient().get_run(clean.link["run_id"]).data.tags
    assert tags["git.dirty"] == "false"
    file = tracked / "code.py"
    file.write_text("")
    subprocess.run(["git", "add", file], cwd=tracked, check=True)
    try:
        with tracking.run("tiny", "dirty", {}) as dirty:
            pass
    finally:
        subprocess.run(["git", "rm", "-q", "--force", file], cwd=tracked, check=True)
    assert MlflowClient().get_run(dirty.link["run_id"]).data.tags["git.dirty"] == "true"


def test_a_new_recipe_is_an_uncommitted_change(tracked: Path) -> None:
    recipe = tracked / "conf" / "recipe" / "mine.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.touch()
    try:
        with tracking.run("tiny", "new", {}) as run:
            pass
    finally:
        shutil.rmtree(tracked / "conf")
    assert MlflowClient().get_run(str(run.link["run_id"])).data.tags["git.dirty"] == "true"


def test_params_that_dvc_composed_are_no_change_of_the_code(tracked: Path) -> None:
    params = tracked / "params.yaml"
    params.write_text("epochs: 2\n")
    subprocess.run(["git", "add", params], cwd=tracked, check=True)
    try:
        with tracking.run("tiny", "knob", {}) as run:
            pass
    finally:
        subprocess.run(["git", "rm", "-q", "--force", params], cwd=tracked, check=True)
    assert MlflowClient().get_run(str(run.link["run_id"])).data.tags["git.dirty"] == "false"


def test_a_model_logged_at_once_leaves_the_run_running(tracked: Path, tmp_path: Path) -> None:
    """As promote does: what it registers is not judged yet."""

    def save(path: Path) -> None:
        path.mkdir()
        Model(flavors={"python_function": {"loader_module": "none"}}).save(str(path / "MLmodel"))
        (path / "weights").write_text("1", encoding="utf-8")

    client = MlflowClient()
    with tracking.run("tiny", "promote", {"stage": "promote"}) as run:
        run_id = str(run.link["run_id"])
        uri = run.log_model(save)
        assert client.get_run(run_id).info.status == "RUNNING"
    assert client.get_run(run_id).info.status == "FINISHED"
    model = client.get_logged_model(uri.removeprefix("models:/"))
    assert (model.source_run_id, model.name, model.status) == (run_id, "model", "READY")
    downloaded = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    assert (downloaded / "weights").read_text(encoding="utf-8") == "1"
    assert (Model.load(str(downloaded)).run_id, Model.load(str(downloaded)).model_id) == (
        run_id,
        model.model_id,
    )


def test_outside_a_repository_there_is_no_commit_to_name(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with tracking.run("tiny", "nowhere", {"stage": "x"}) as run:
        run.params({"a": {"b": [1, 2], "c": None}, "d": True})
    logged = MlflowClient().get_run(run.link["run_id"])
    assert "git.commit" not in logged.data.tags
    assert logged.data.tags["stage"] == "x"
    assert logged.data.params == {"a.b": "[1, 2]", "a.c": "null", "d": "True"}


def test_a_failure_inside_ends_the_run_as_failed(tracked: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracking.run("tiny", "bad", {}) as run:  # noqa: PT012
        link = run.link
        _ = 1 / 0
    assert MlflowClient().get_run(link["run_id"]).info.status == "FAILED"


# It waits for its epochs to be on the server, as the thread that sends them is killed with it.
KILLED = """
import os, signal, threading
from mlflow import MlflowClient
from stages import tracking
with tracking.run("tiny", "long", {"stage": "train@long"}) as run:
    run.epoch(1, {"loss": 0.5})
    run.epoch(2, {"loss": 0.25})
    while len(MlflowClient().get_metric_history(run.link["run_id"], "loss")) < 2:
        threading.Event().wait(0.05)
    print(run.link["run_id"], run.link["record"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed() -> tuple[str, str]:
    """The ids of a run whose process was killed, and of its record."""
    words = [sys.executable, "-c", KILLED]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run_id, identity = done.stdout.split()
    return run_id, identity


@pytest.mark.slow
def test_a_run_that_was_killed_is_ended_by_the_next_with_all_that_it_logged(tracked: Path) -> None:
    run_id, _ = killed()
    with tracking.run("tiny", "other", {"stage": "train@other"}):
        client = MlflowClient()
        run = client.get_run(run_id)
        assert run.info.status == "KILLED"
        assert client.get_run(run.data.tags["mlflow.parentRunId"]).info.status == "KILLED"
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [1, 2]
    assert list(record.waiting().iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "same_machine", [True, False], ids=["its record is on this machine", "its record is lost"]
)
def test_a_run_that_was_killed_goes_on(tracked: Path, same_machine: bool) -> None:
    run_id, identity = killed()
    if not same_machine:
        shutil.rmtree(record.waiting())
    client = MlflowClient()
    with tracking.run("tiny", "long", {"stage": "train@long"}, identity=identity, resume=True) as again:
        # From the checkpoint of epoch 1.
        again.epoch(2, {"loss": 0.25})
        again.epoch(3, {"loss": 0.125})
    assert again.link["run_id"] == run_id
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    history = [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "loss")]
    assert history == [(1, 0.5), (2, 0.25), (3, 0.125)]
    # Below the execution that has finished it.
    assert client.get_run(run.data.tags["mlflow.parentRunId"]).info.status == "FINISHED"


def test_a_run_that_failed_and_then_succeeded_has_the_last_attempts_figures(tracked: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(OSError, match="No space"),
        tracking.run("tiny", "twice", {"stage": "train@twice"}, identity="e" * 32) as run,
    ):
        run.metrics({"val_accuracy": 0.5})
        raise OSError("No space left on device")
    client = MlflowClient()
    assert client.get_run(str(run.link["run_id"])).data.tags["error"] == "No space left on device"
    with tracking.run("tiny", "twice", {"stage": "train@twice"}, identity="e" * 32, resume=True) as again:
        again.metrics({"val_accuracy": 0.9})
    assert again.link["run_id"] == run.link["run_id"]
    logged = client.get_run(str(run.link["run_id"]))
    assert (logged.info.status, logged.data.metrics["val_accuracy"]) == ("FINISHED", 0.9)
    assert "error" not in logged.data.tags


def test_a_run_that_this_server_does_not_have_is_begun_anew(tracked: Path) -> None:
    with tracking.run("tiny", "long", {"stage": "train@long"}, identity="f" * 32, resume=True) as run:
        run.epoch(2, {"loss": 0.25})
    logged = MlflowClient().get_run(str(run.link["run_id"]))
    assert logged.info.run_id != "f" * 32
    assert (logged.info.status, logged.data.metrics["loss"]) == ("FINISHED", 0.25)


def test_a_run_that_a_person_deleted_stays_deleted(tracked: Path, tmp_path: Path) -> None:
    with tracking.run("tiny", "unwanted", {}, keep=tmp_path) as run:
        pass
    client = MlflowClient()
    client.delete_run(str(run.link["run_id"]))
    tracking.sync([tmp_path])
    assert client.get_run(str(run.link["run_id"])).info.lifecycle_stage == "deleted"
    assert tracking.resolve(client, run.link) == run.link["run_id"]


def test_phases_are_runs_below_the_run(tracked: Path) -> None:
    with tracking.run("tiny", "phased", {"stage": "train@phased"}) as run:
        run.history({"epoch": [1.0, 2.0], "phase": [1.0, 2.0], "loss": [0.5, 0.25]})
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tiny").experiment_id
    below = f"tags.`mlflow.parentRunId` = '{run.link['run_id']}'"
    runs = {run.info.run_name: run for run in client.search_runs([experiment], below)}
    assert {name: run.info.status for name, run in runs.items()} == {
        "phase 1": "FINISHED",
        "phase 2": "FINISHED",
    }
    assert runs["phase 1"].data.metrics == {"loss": 0.5, "phase": 1.0}
    assert runs["phase 2"].data.metrics == {"loss": 0.25, "phase": 2.0}


def test_a_run_has_its_data_set_machine_packages_and_params(tracked: Path) -> None:
    (tracked / "params.yaml").write_text("seed: 1\n")
    try:
        with tracking.run("tiny", "described", {"stage": "train@described"}) as run:
            run.dataset("ab" * 32, "train", {"train": 3, "val": 2})
            run.dataset("ab" * 32, "test", {"train": 3, "val": 2, "test": 1})
    finally:
        (tracked / "params.yaml").unlink()
    client, run_id = MlflowClient(), str(run.link["run_id"])
    logged = client.get_run(run_id)
    read = {entry.tags[0].value: entry.dataset for entry in logged.inputs.dataset_inputs}
    assert {dataset.digest for dataset in read.values()} == {("ab" * 32)[:36]}
    assert {context: json.loads(dataset.profile) for context, dataset in read.items()} == {
        "train": {"manifest": "ab" * 32, "images": {"train": 3, "val": 2}},
        "test": {"manifest": "ab" * 32, "images": {"train": 3, "val": 2, "test": 1}},
    }
    assert int(logged.data.tags["machine.cores"]) >= 1
    for folder, names in {"environment": {"machine.json", "packages.txt"}, "recipe": {"params.yaml"}}.items():
        files = {artifact.path for artifact in client.list_artifacts(run_id, folder)}
        assert files == {f"{folder}/{name}" for name in names}
