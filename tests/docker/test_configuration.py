"""Variables in compose.yaml and the Helm values are fields of pipelines/config.py or reach the stages."""

import re
from typing import Any

import yaml

from pipelines.config import ALWAYS_PASSED, Config, load
from pipelines.postgres import DEADLOCK_TIMEOUT
from tests.docker.conftest import ROOT

FIELDS = {f"CONVOY_{name.upper()}" for name in Config.__dataclass_fields__} | {*ALWAYS_PASSED}
KUBERNETES = ROOT / "docker" / "kubernetes"


def test_compose() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    variables: dict[str, str] = services["scheduler"]["environment"]
    values = {name: re.sub(r"\$\{.*?\}", "x", value) for name, value in variables.items()}
    assert {name for name in values if name.startswith("CONVOY_")} <= FIELDS
    assert load(values).runner == "docker"


def test_kubernetes() -> None:
    values: dict[str, Any] = yaml.safe_load((KUBERNETES / "airflow.yaml").read_text("utf-8"))
    variables = {item["name"]: item["value"] for item in values["env"]}
    config = load(variables)
    assert {name for name in variables if name.startswith("CONVOY_")} <= FIELDS
    assert (
        config.namespace
        == yaml.safe_load((KUBERNETES / "namespace.yaml").read_text("utf-8"))["metadata"]["name"]
    )
    assert (
        config.claim == yaml.safe_load((KUBERNETES / "storage.yaml").read_text("utf-8"))["metadata"]["name"]
    )
    assert config.secrets, "logins come from a Secret"
    assert not [name for name in variables if "PASSWORD" in name]
    assert {item["name"]: item["value"] for item in values["apiServer"]["env"]} == DEADLOCK_TIMEOUT
