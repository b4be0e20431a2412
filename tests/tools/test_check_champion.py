"""check_champion: a registry that lacks the champion of promotion.json is noticed."""

import logging
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.common.errors import ServingError
from stages.common.files import write_json
from stages.serving.registry import Registry, Version
from stages.tools.check_champion import check_champion

pytestmark = pytest.mark.slow


def register(name: str) -> Version:
    """A version of a model that has no files."""
    client = MlflowClient()
    run = client.create_run("0")
    model = client.create_logged_model("0", name="model", source_run_id=run.info.run_id)
    client.finalize_logged_model(model.model_id, "READY")
    return Registry(name).register(f"models:/{model.model_id}", run.info.run_id, "digest")


def write_verdict(folder: Path, decision: str, **uris: str | None) -> Path:
    path = folder / "promotion.json"
    models = {role: uri and {"uri": uri} for role, uri in uris.items()}
    write_json(path, {"model": "checked", "decision": decision, **models})
    return path


def test_the_registry_is_asked_for_the_champion_of_the_verdict(
    tracked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry, version = Registry("checked"), register("checked")
    assert registry.move(version, None)
    promoted = write_verdict(tmp_path, "promoted", challenger=version.uri, champion=None)
    with caplog.at_level(logging.INFO, logger="convoy"):
        check_champion(promoted)
    assert "checked_champion" in caplog.text

    later = register("checked")
    assert registry.move(later, version)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="convoy"):
        check_champion(promoted)
    assert "found_another_champion" in caplog.text

    MlflowClient().delete_model_version("checked", version.number)
    with pytest.raises(ServingError, match=f"names {version.uri} as champion, which the registry lacks"):
        check_champion(promoted)
    check_champion(write_verdict(tmp_path, "kept", challenger=version.uri, champion=later.uri))

    # A first challenger was refused; another one was promoted since, and DVC restored this verdict.
    caplog.clear()
    refused = write_verdict(tmp_path, "refused", challenger=version.uri, champion=None)
    with caplog.at_level(logging.INFO, logger="convoy"):
        check_champion(refused)
    assert "found_another_champion" in caplog.text
    MlflowClient().delete_registered_model_alias("checked", "champion")
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="convoy"):
        check_champion(refused)
    assert "found_no_champion" in caplog.text
