"""The store of image results is shown and emptied."""

from pathlib import Path

import numpy as np
import pytest

from stages import cli
from stages.data import results_store
from stages.tools.results_cache import results_cache


def test_the_store_is_shown_and_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(results_store.FOLDER_VARIABLE, str(tmp_path))
    with results_store.opened("facts", {}) as results:
        results.add("ab" * 32, np.zeros(2_000_000, np.uint8))
    cli.main(results_cache, [])
    errors = capsys.readouterr().err
    assert "kind=facts files=1 megabytes=2.0" in errors
    assert str(tmp_path) in errors
    cli.main(results_cache, ["--empty"])
    assert "megabytes=0.0" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.h5"))
