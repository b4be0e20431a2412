"""Tracking that cannot be used is told in one line; runs link to code where there is any."""

import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages import tracking
from stages.tracking import TrackingError


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


def test_a_server_that_does_not_answer_is_one_line(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(TrackingError, match=r"tracking at http://127\.0\.0\.1:9: "),
        tracking.run("t", "n", {}),
    ):
        pass


def test_changes_that_are_not_committed_are_told(tracked: Path) -> None:
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


def test_outside_a_repository_there_is_no_commit_to_name(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with tracking.run("tiny", "nowhere", {"stage": "x"}) as run:
        run.params({"a": {"b": [1, 2], "c": None}, "d": True})
    found = MlflowClient().get_run(run.link["run_id"])
    assert "git.commit" not in found.data.tags
    assert found.data.tags["stage"] == "x"
    assert found.data.params == {"a.b": "[1, 2]", "a.c": "null", "d": "True"}


def test_a_failure_inside_ends_the_run_as_failed(tracked: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracking.run("tiny", "bad", {}) as run:  # noqa: PT012
        link = run.link
        _ = 1 / 0
    assert MlflowClient().get_run(link["run_id"]).info.status == "FAILED"
