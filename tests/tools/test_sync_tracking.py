"""What `make sync-tracking` says of records that wait, and what it leaves of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages import cli, tracking
from stages.tools.sync_tracking import sync_tracking

WAITING = Path(".tracking")


@pytest.fixture(autouse=True)
def nothing_waits(tracked: Path) -> Iterator[None]:
    """The folder is shared by the tests of this file."""
    yield
    for folder in ("models", WAITING):
        shutil.rmtree(folder, ignore_errors=True)


def fail(recipe: str, tags: dict[str, str] | None = None) -> Path:
    """Let a stage fail while no server answers; the folder of its record."""
    before = set(WAITING.glob("*"))
    with pytest.MonkeyPatch.context() as unreachable:
        unreachable.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        unreachable.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(ZeroDivisionError), tracking.run(recipe, "member", tags or {}):
            _ = 1 / 0
    (folder,) = set(WAITING.glob("*")) - before
    return folder


def ended(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit status of the command, and the lines that it prints."""
    capsys.readouterr()
    try:
        cli.main(sync_tracking, [])
    except SystemExit as end:
        return int(end.code or 0), capsys.readouterr().err.splitlines()
    return 0, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    "address",
    [
        "htp://host",
        "localhost:5000",
        "http://[::1",
        "https:/host",
        "http://host:99999",
        "mysql://me:s3cret@host",
    ],
)
def test_a_mistyped_address_is_one_line_and_moves_no_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    fail("mistyped")
    before = sorted(WAITING.rglob("*"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    status, (line,) = ended(capsys)
    assert status == 1
    assert f"tracking at {address.replace('me:s3cret', '***')}: " in line
    assert "allowed in MLFLOW_TRACKING_URI: http://HOST:PORT, https://HOST:PORT, sqlite:///FILE" in line
    assert "s3cret" not in line
    assert sorted(WAITING.rglob("*")) == before


def test_refused_and_damaged_records_are_counted_and_end_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    for recipe in ("refused", "whole", "broken"):
        with tracking.run(recipe, "member", {}, keep=Path("models") / recipe):
            pass
    client = MlflowClient()
    client.delete_experiment(client.get_experiment_by_name("refused").experiment_id)
    (Path("models") / "broken" / "tracking" / "record.json").write_text("{", encoding="utf-8")
    refused, damaged, intact = fail("refused"), fail("whole"), fail("whole")
    (damaged / "record.json").write_text("{", encoding="utf-8")

    status, lines = ended(capsys)
    assert status == 1
    counted, error = lines[-2:]
    # The one in .tracking: the server has that in outputs.
    assert "uploaded=1 partial=0 refused=2 damaged=2 unreachable=0" in counted
    assert "not uploaded: 2 records that the server refuses" in error
    assert "2 that are damaged" in error
    assert (
        sum("skipped_refused_record" in line and "mlflow experiments restore" in line for line in lines) == 2
    )
    assert refused.exists()
    assert not intact.exists()
    # The next one says so as well, and has nothing to upload.
    status, lines = ended(capsys)
    assert status == 1
    assert "uploaded=0 partial=0 refused=2 damaged=2 unreachable=0" in lines[-2]


def test_records_that_are_uploaded_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    fail("uploaded")
    status, (line,) = ended(capsys)
    assert status == 0
    assert "uploaded=1 partial=0 refused=0 damaged=0 unreachable=0" in line
    assert not list(WAITING.glob("*"))


def test_a_record_of_which_the_server_refuses_a_part_is_counted_as_partial(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail("partial", {"not?allowed": "1"})
    status, lines = ended(capsys)
    assert status == 0
    assert "skipped_refused_part part=tags" in lines[0]
    assert "uploaded=1 partial=1 refused=0" in lines[-1]
