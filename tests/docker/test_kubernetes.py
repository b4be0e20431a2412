from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.docker.conftest import ROOT

FOLDER = ROOT / "docker" / "kubernetes"
KUSTOMIZATION = FOLDER / "kustomization.yaml"
VALUES = FOLDER / "airflow.yaml"
MANIFESTS = sorted(set(FOLDER.glob("*.yaml")) - {KUSTOMIZATION, VALUES})


def _documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_schema_allows_it(path: Path) -> None:
    for document in _documents(path):
        kubernetes_validate.validate(document, "1.31", strict=True)


def test_every_manifest_is_applied() -> None:
    resources = yaml.safe_load(KUSTOMIZATION.read_text(encoding="utf-8"))["resources"]
    assert {FOLDER / name for name in resources} == set(MANIFESTS)


def test_airflow_may_run_pods_and_nothing_else() -> None:
    (role,) = (one for one in _documents(FOLDER / "rights.yaml") if one["kind"] == "Role")
    resources = {resource for rule in role["rules"] for resource in rule["resources"]}
    verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}
    assert resources == {"pods", "pods/log", "pods/exec", "events"}
    assert not {"*", "impersonate", "escalate", "bind"} & verbs


def test_a_stage_has_no_token() -> None:
    accounts = {
        one["metadata"]["name"]: one.get("automountServiceAccountToken", True)
        for one in _documents(FOLDER / "rights.yaml")
        if one["kind"] == "ServiceAccount"
    }
    assert accounts["default"] is False
