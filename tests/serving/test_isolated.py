"""Models with the same code share a process, others get their own; which of its ends a retry may cure."""

import socket
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from stages.common.errors import PERMANENT, TRANSIENT, ServingError, exit_status
from stages.serving import isolated

# A model whose class is the process that answers, and whose probability is that of its code.
MODEL = """
import os
import mlflow
import pandas as pd

class Answering(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        from shares import SHARE
        return pd.DataFrame({"probabilities": [{str(os.getpid()): SHARE}] * len(model_input)})

mlflow.models.set_model(Answering())
"""


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """Save a model with code; returns its URI."""

    def save(name: str, code: str) -> str:
        parts = tmp_path / f"{name}-parts"
        parts.mkdir()
        (parts / "model.py").write_text(MODEL, encoding="utf-8")
        (parts / "shares.py").write_text(code, encoding="utf-8")
        mlflow.pyfunc.save_model(
            str(tmp_path / name),
            python_model=str(parts / "model.py"),
            code_paths=[str(parts / "shares.py")],
            pip_requirements=["mlflow"],
        )
        return (tmp_path / name).as_uri()

    return save


@pytest.fixture
def image(tmp_path: Path) -> isolated.Place:
    path = tmp_path / "image"
    path.write_bytes(b"pixels")
    return str(path), 0, 6


@pytest.mark.slow
def test_models_with_the_same_code_share_a_process(
    saved: Any, image: isolated.Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    uris = [saved("first", "SHARE = 0.5"), saved("second", "SHARE = 0.5"), saved("third", "SHARE = 0.25")]
    first, second, third = isolated._classify(uris, [image], None, timed=True)
    assert [len(answers["latencies_ms"]) for answers in (first, second, third)] == [1, 1, 1]
    assert first["classes"] == second["classes"] != third["classes"]
    # Each judgement left the models it had downloaded.
    assert not list(temporary.iterdir())
    assert [answers["probabilities"].tolist() for answers in (first, second, third)] == [
        [[0.5]],
        [[0.5]],
        [[0.25]],
    ]


@pytest.mark.slow
def test_the_error_names_the_model_that_cannot_be_used(saved: Any, image: isolated.Place) -> None:
    uris = [saved("sound", "SHARE = 0.5"), (Path(image[0]).parent / "absent").as_uri()]
    with pytest.raises(ServingError, match=r"absent cannot be used: "):
        isolated._classify(uris, [image], None, timed=False)


# In place of Python: what the process does with its arguments.
KILLED = "#!/bin/sh\nkill -KILL $$\n"


@pytest.mark.slow
def test_a_killed_process_is_a_transient_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux kills the largest process when memory is short; the error was permanent, so nothing retried."""
    python = tmp_path / "python"
    python.write_text(KILLED, encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(
        ServingError, match=r"models:/m-1: .* was killed by SIGKILL, .*; run it again"
    ) as caught:
        isolated.classify("models:/m-1", [])
    assert exit_status(caught.value) == TRANSIENT


# Writes all answers, and crashes while it ends.
CRASHED = """#!/bin/sh
echo '[{{"classes": ["a"], "probabilities": "answered.npy"}}]' > "$4"
cp "{probabilities}" "$(dirname "$4")/answered.npy"
kill -SEGV $$
"""


def test_a_crash_after_the_last_answer_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was an IndexError."""
    python = tmp_path / "python"
    probabilities = tmp_path / "probabilities.npy"
    np.save(probabilities, np.array([[1.0]]))
    python.write_text(CRASHED.format(probabilities=probabilities), encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    answers = isolated.classify("models:/m-1", [])
    assert (answers["classes"], answers["probabilities"].tolist()) == (["a"], [[1.0]])


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "host.invalid"], ids=["closed port", "no address"])
def test_an_mlflow_that_does_not_answer_is_a_transient_error(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without an address was a permanent error, so nothing retried."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@{host}:{closed.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(ServingError, match=r"models:/m-1 cannot be used: ") as caught:
            isolated.classify("models:/m-1", [])
    assert exit_status(caught.value) == TRANSIENT
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_model_that_does_not_exist_is_a_permanent_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(ServingError, match=r"models:/m-1 cannot be used: ") as caught:
        isolated.classify("models:/m-1", [])
    assert exit_status(caught.value) == PERMANENT
