"""`make airflow` on this machine, whose tasks are pods."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes import servers
from tests.kubernetes.airflow import settings_of_the_chart
from tests.kubernetes.cluster import Cluster
from tests.pipelines.conftest import add_airflow, make
from tests.pipelines.e2e.client import Airflow
from tests.pipelines.e2e.conftest import Local

pytestmark = pytest.mark.slow
LOGIN = "robot:hunter2"


@pytest.fixture
def airflow(
    cluster: Cluster, data_image: str, airflow_environment: None, tmp_path: Path
) -> Iterator[Airflow]:
    """Airflow on the pipeline of seconds, with the settings of airflow.yaml."""
    repository = make(tmp_path)
    add_airflow(repository)
    project = servers.bare(repository.root, tmp_path)
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
    states = airflow.states("train", again)
    assert states.pop("plan") == "success"
    assert set(states.values()) == {"skipped"}, "the first run has been recorded"
    assert cluster.pods_that_stay() == []
