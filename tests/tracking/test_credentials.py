"""The login in a tracking URI reaches no file and no line of a run, and no tag on the server."""

import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages import tracking
from stages.common import log

SECRET = "s3cret-word"


@pytest.mark.slow
def test_a_login_in_the_uri_is_nowhere_in_what_a_run_writes(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("train")
    uri = f"http://user:{SECRET}@127.0.0.1:9"
    with monkeypatch.context() as unreachable:
        unreachable.setenv("MLFLOW_TRACKING_URI", uri)
        unreachable.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with tracking.run("secret", "kept", {"stage": "x"}, keep=tmp_path / "outputs") as run:
            log.event("looked_at", server=uri)
            run.params({"server": uri})
        with (  # noqa: PT012
            pytest.raises(ValueError, match="127"),
            tracking.run("secret", "failed", {"note": f"at {uri}"}) as run,
        ):
            run.tags({"server": uri})
            raise ValueError(f"no answer from {uri}")
        with pytest.raises(tracking.Unreachable) as caught:
            tracking.sync([tmp_path / "outputs"])
    captured = capsys.readouterr()
    assert "unreachable" in captured.err
    assert SECRET not in captured.err + captured.out + str(caught.value)
    folders = [tmp_path, tracked / ".tracking"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 10
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []

    tracking.sync([tmp_path / "outputs"])
    assert tracking.upload_waiting() == tracking.Counts(uploaded=1)
    experiment = MlflowClient().get_experiment_by_name("secret")
    runs = MlflowClient().search_runs([experiment.experiment_id], "tags.stage = 'x'")
    assert [run.data.params["server"] for run in runs] == ["http://***@127.0.0.1:9"]
    with sqlite3.connect(tracked / "mlflow.db") as store:
        assert SECRET not in "\n".join(store.iterdump())
    stored = [path for path in (tracked / "mlruns").rglob("*") if path.is_file()]
    assert [path for path in stored if SECRET.encode() in path.read_bytes()] == []


def test_a_signature_in_the_params_is_nowhere_in_the_store(tracked: Path) -> None:
    url = f"https://host/a.tar?X-Amz-Signature={SECRET}"
    params = tracked / "params.yaml"
    params.write_text(f"url: {url}\n", encoding="utf-8")
    try:
        with tracking.run("tiny", "signed", {}) as run:
            run.params({"url": url})
    finally:
        params.unlink()
    stored = MlflowClient().get_run(str(run.link["run_id"])).data.params
    assert stored["url"] == "https://host/a.tar?X-Amz-Signature=***"
    texts = [path.read_text(encoding="utf-8") for path in (tracked / "mlruns").rglob("params.yaml")]
    assert "url: https://host/a.tar?X-Amz-Signature=***\n" in texts
    assert SECRET not in "".join(texts)


@pytest.mark.slow
def test_a_login_among_the_values_of_a_run_does_not_reach_the_server(tracked: Path, tmp_path: Path) -> None:
    uri = f"https://user:{SECRET}@data.example/x.zip?token={SECRET}"
    (params := tmp_path / "params.yaml").write_text(f"url: {uri}\n", encoding="utf-8")
    with (  # noqa: PT012
        pytest.raises(ValueError, match="no answer"),
        tracking.run("reached", "failed", {"note": f"at {uri}"}) as run,
    ):
        run.params({"source": {"url": uri}})
        run.file(params, "recipe")
        run.members({}, {}, {"ingest.source.url": uri}, note=f"from {uri}")
        raise ValueError(f"no answer from {uri}")
    logged = MlflowClient().get_run(str(run.link["run_id"])).data
    assert logged.params["source.url"] == "https://***@data.example/x.zip?token=***"
    with sqlite3.connect(tracked / "mlflow.db") as store:
        assert SECRET not in "\n".join(store.iterdump())
    stored = [path for path in (tracked / "mlruns").rglob("*") if path.is_file()]
    assert "params.yaml" in {path.name for path in stored}
    assert [path for path in stored if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_an_address_that_cannot_be_used_is_shown_without_its_login(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"foo://user:{SECRET}@host/x")
    with pytest.raises(tracking.TrackingError) as caught, tracking.run("tiny", "one", {}):
        pass
    assert SECRET not in str(caught.value)
    assert "foo://***@host/x" in str(caught.value)
