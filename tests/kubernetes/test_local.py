"""`make airflow` on this machine, whose tasks are pods."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes import servers
from tests.kubernetes.airflow import settings_of_the_chart
from tests.kubernetes.cluster import Cluster
from tests.pipelines.conftest import ROOT, make
from tests.pipelines.e2e.client import Airflow
from tests.pipelines.e2e.conftest import PYTHON, Local

pytestmark = pytest.mark.slow
LOGIN = "robot:hunter2"


@pytest.fixture
def airflow(cluster: Cluster, data_image: str, tmp_path: Path) -> Iterator[Airflow]:
    """Airflow on the pipeline of seconds, with the settings of airflow.yaml."""
    if not PYTHON.exists():
        pytest.skip("Airflow is not installed; `make e2e-airflow` does it")
    repository = make(tmp_path)
    shutil.copytree(ROOT / "pipelines", repository.root / "pipelines")
    repository.write(".gitignore", "/out/\n__pycache__\n/.convoy/\n/local.log\n/mlflow.db\n/mlartifacts/\n")
    repository.commit()
    project = tmp_path / "project.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", repository.root, project], check=True)
    settings = settings_of_the_chart() | {
        "KUBECONFIG": str(cluster.kubeconfig),
        "CONVOY_IMAGES": cluster.images,
        "CONVOY_REPOSITORY": "",
        "CONVOY_PASSES": "GIT_SSL_CAINFO",
        "GIT_SSL_CAINFO": "/convoy/git.crt",
    }
    with servers.git_over_https(cluster.host, tmp_path, LOGIN) as certificate:
        shutil.copy(certificate, cluster.volume / "git.crt")
        address = f"https://{LOGIN}@{servers.GIT_HOST}/{project.name}"
        cluster.create_secret("convoy-login", CONVOY_REPOSITORY=address)
        local = Local(repository.root, "--mlflow-address", cluster.host, **settings)
        try:
            yield local.start()
        finally:
            local.stop()
            cluster.delete_secret("convoy-login")


def test_a_run_of_pods_is_green_and_reaches_mlflow(airflow: Airflow, cluster: Cluster) -> None:
    assert airflow.mlflow.startswith(f"http://{cluster.host}:")
    run = airflow.trigger("train", recipe="small")
    assert airflow.ended("train", run) == "success"
    assert set(airflow.states("train", run).values()) == {"success"}
    again = airflow.trigger("train", recipe="small")
    assert airflow.ended("train", again) == "success"
    assert airflow.states("train", again)["train@a"] == "skipped"
    assert cluster.pods_that_stay() == []
