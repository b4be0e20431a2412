"""A record that a killed process left half-written stops no later stage."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages import tracking
from stages.common.files import read_json, write_json
from stages.tracking import Counts


def fail(monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """Let a stage fail while no server answers; the folder of its record."""
    before = set(Path(".tracking").glob("*"))
    with monkeypatch.context() as unreachable:
        unreachable.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        unreachable.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(ZeroDivisionError), tracking.run("damage", name, {}):
            _ = 1 / 0
    (folder,) = set(Path(".tracking").glob("*")) - before
    return folder


@pytest.mark.parametrize("remaining", [-7, 0, 40], ids=["cut near its end", "empty", "cut near its start"])
def test_a_damaged_record_stops_no_stage_and_no_other_record(
    tracked: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, remaining: int
) -> None:
    damaged, intact = fail(monkeypatch, f"damaged {remaining}"), fail(monkeypatch, f"whole {remaining}")
    (file,) = damaged.glob("record.json*")
    file.write_bytes(file.read_bytes()[:remaining])
    caplog.clear()
    for name in ("first", "second"):
        with tracking.run("damage", name, {}):
            pass
    warnings = [line.getMessage() for line in caplog.records if line.name == "convoy"]
    assert warnings == ["set_aside_damaged_record"]
    assert not intact.exists()
    (aside,) = Path(".tracking").glob("*.damaged")
    shutil.rmtree(aside)
    experiment = MlflowClient().get_experiment_by_name("damage")
    runs = MlflowClient().search_runs([experiment.experiment_id], "attributes.status = 'FAILED'")
    assert f"whole {remaining}" in {run.info.run_name for run in runs}


def test_a_record_of_another_form_stops_no_stage(
    tracked: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = fail(monkeypatch, "other form")
    file = folder / "record.json"
    values = read_json(file)
    write_json(file, {key: value for key, value in values.items() if key != "phases"})
    caplog.clear()
    for name in ("first", "second"):
        with tracking.run("damage", name, {}):
            pass
    warnings = [line.getMessage() for line in caplog.records if line.name == "convoy"]
    assert "set_aside_damaged_record" in warnings
    (aside,) = Path(".tracking").glob("*.damaged")
    shutil.rmtree(aside)


def reopen(outputs: Path) -> None:
    """As if the server had not got all of this record."""
    link = read_json(outputs / "run.json")
    MlflowClient().set_tag(link["run_id"], f"record.{link['record']}", "open")


def test_a_record_whose_experiment_was_deleted_is_a_warning(
    tracked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for recipe in ("gone", "damage"):
        with tracking.run(recipe, "member", {}, keep=tmp_path / recipe):
            pass
    client = MlflowClient()
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    reopen(tmp_path / "damage")
    caplog.clear()
    assert tracking.sync([tmp_path / "gone", tmp_path / "damage"]) == Counts(uploaded=1, refused=1)
    warnings = [line.getMessage() for line in caplog.records if line.name == "convoy"]
    assert warnings == ["skipped_refused_record"]


def test_a_damaged_record_in_outputs_is_a_warning(
    tracked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two"):
        with tracking.run("damage", name, {}, keep=tmp_path / name):
            pass
    (file,) = (tmp_path / "one" / "tracking").glob("record.json*")
    file.write_bytes(file.read_bytes()[:-7])
    reopen(tmp_path / "two")
    assert tracking.sync([tmp_path / "one", tmp_path / "two"]) == Counts(uploaded=1, damaged=1)
    warnings = [line.getMessage() for line in caplog.records if line.name == "convoy"]
    assert warnings == ["skipped_damaged_record"]
