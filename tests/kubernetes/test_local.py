"""`make airflow` on this machine, whose tasks are pods."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kubernetes import page, servers
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
    """Airflow on the pipeline of seconds, with the variables that docs/kubernetes.md has for it."""
    repository = make(tmp_path)
    add_airflow(repository)
    project = servers.bare(repository.root, tmp_path)
    images = {"registry.example.com/convoy/{target}:latest": cluster.images}
    trusted = {"CONVOY_PASSES": "GIT_SSL_CAINFO", "GIT_SSL_CAINFO": "/convoy/git.crt"}
    settings = page.exported(images, tmp_path) | trusted
    kubeconfig = Path(settings["KUBECONFIG"])
    assert cluster.can("create", "pods", kubeconfig=kubeconfig) == "yes"
    assert cluster.can("get", "secrets", kubeconfig=kubeconfig) == "no", "Airflow's rights and no others"
    (user,) = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["users"]
    assert user["name"] == "airflow-outside", "the reader's own login is not in it"
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
