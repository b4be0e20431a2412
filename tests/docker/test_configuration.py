"""What compose.yaml and the Helm values tell Airflow is what pipelines/config.py knows."""

import re
from typing import Any

import yaml

from pipelines.config import Config, load
from tests.docker.conftest import ROOT

KNOWN = {f"CONVOY_{name.upper()}" for name in Config.__dataclass_fields__}
KUBERNETES = ROOT / "docker" / "kubernetes"


def test_compose() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    variables: dict[str, str] = services["scheduler"]["environment"]
    told = {name: re.sub(r"\$\{.*?\}", "x", value) for name, value in variables.items()}
    assert {name for name in told if name.startswith("CONVOY_")} <= KNOWN
    assert load(told).runner == "docker"


def test_kubernetes() -> None:
    values: dict[str, Any] = yaml.safe_load((KUBERNETES / "airflow.yaml").read_text("utf-8"))
    variables = {one["name"]: one["value"] for one in values["env"]}
    config = load(variables)
    assert {name for name in variables if name.startswith("CONVOY_")} <= KNOWN
    assert (
        config.namespace
        == yaml.safe_load((KUBERNETES / "namespace.yaml").read_text("utf-8"))["metadata"]["name"]
    )
    assert (
        config.claim == yaml.safe_load((KUBERNETES / "storage.yaml").read_text("utf-8"))["metadata"]["name"]
    )
    handed_on = set(config.passes.split(","))
    assert handed_on == {one["envName"] for one in values["secret"]}
