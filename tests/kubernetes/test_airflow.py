"""The digits recipe under an Airflow that runs in the cluster: its pods, and their ends.

In the order of the file, as Airflow's start and the first run's results are shared.
"""

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import base_image, engine  # noqa: F401
from tests.kubernetes import airflow, page, servers
from tests.kubernetes.cluster import AIRFLOW, NAMESPACE, Cluster, give_account
from tests.pipelines.e2e.client import Airflow, wait_until
from tests.pipelines.e2e.mlflow import Mlflow

pytestmark = pytest.mark.slow
LOGIN = "robot:hunter2"
EPOCHS = 12
OVERRIDES = [
    "~models.minivggnet",
    "ensemble.members=[lenet,hog_logistic]",
    f"models.lenet.train.epochs={EPOCHS}",
]
MINUTES = 60


class Site:
    """Airflow, MLflow and the repository's server."""

    def __init__(self, cluster: Cluster, airflow: Airflow, mlflow: Mlflow, repository: Path) -> None:
        self.cluster, self.airflow, self.mlflow, self.repository = cluster, airflow, mlflow, repository

    def training(self) -> str:
        """The name of the pod that trains lenet; empty where none runs."""
        pods = self.cluster.get("pods", "--selector", "convoy-stage=train-lenet")["items"]
        return str(pods[0]["metadata"]["name"]) if pods else ""


@pytest.fixture(scope="module")
def site(cluster: Cluster, base_image: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:  # noqa: F811
    """What docs/kubernetes.md leads to when it is followed word by word."""
    folder = tmp_path_factory.mktemp("site")
    project = airflow.project(folder)
    clone, password = folder / "work", secrets.token_hex(16)
    image = clone / "datasets" / "own" / "0.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"image")
    registry = {"registry.example.com": cluster.registry}
    typed = registry | {
        "https://USER:TOKEN@git.example.com/team/project.git": f"https://{LOGIN}@{servers.GIT_HOST}/{project.name}",
        "ADMIN_PASSWORD": password,
        # A Secret of any files: test_remotes.py clones over SSH.
        "=KEY": "=datasets/own/0.png",
        "=KNOWN_HOSTS": "=datasets/own/0.png",
    }
    page.with_names(clone, registry, CONVOY_PASSES="GIT_SSL_CAINFO", GIT_SSL_CAINFO="/convoy/git.crt")
    with (
        servers.mlflow(cluster.host, folder) as mlflow,
        servers.git_over_https(cluster.host, folder, LOGIN) as certificate,
    ):
        shutil.copy(certificate, cluster.volume / "git.crt")
        # The page makes it.
        cluster.kubectl("delete", "namespace", AIRFLOW[0])
        release = page.follow(clone, typed)
        give_account(cluster)
        try:
            client = airflow.started(cluster, release, password)
            yield Site(cluster, client, Mlflow(mlflow), project)
        finally:
            airflow.removed(cluster, release)
            for name in ("convoy-login", "convoy-ssh"):
                cluster.delete_secret(name)
            # Of a run that a failed test has left.
            cluster.kubectl("--namespace", NAMESPACE, "delete", "pods", "--all")


def test_the_page_leads_to_images_on_the_claim_and_in_the_registry(site: Site) -> None:
    copied = site.cluster.volume / "datasets" / "own" / "0.png"
    assert copied.read_bytes() == b"image"
    assert copied.stat().st_uid == 1000
    words = ["curl", "--silent", f"http://{site.cluster.registry}/v2/_catalog"]
    catalog = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert {"convoy/airflow", "convoy/data", "convoy/train"} <= {*catalog["repositories"]}


def test_a_training_whose_pod_is_deleted_resumes_and_the_run_ends_green(site: Site) -> None:
    run = site.airflow.trigger("train", recipe="digits", overrides=OVERRIDES)
    name = wait_until(lambda: _parent_name(site), 30 * MINUTES, "a run in MLflow")
    wait_until(lambda: 1 < len(site.mlflow.epochs(name)) < EPOCHS, 30 * MINUTES, "two epochs of the training")
    site.cluster.kubectl("--namespace", NAMESPACE, "delete", "pod", site.training())
    assert site.airflow.ended("train", run, 40 * MINUTES) == "success"
    tasks = {task.address: task for task in site.airflow.tasks("train", run)}
    assert tasks.pop("approve").state == "skipped", "the form asks for no approval"
    assert {task.state for task in tasks.values()} == {"success"}
    training = tasks["train@lenet"]
    assert training.tries == 2
    assert site.mlflow.epochs(name) == list(range(1, EPOCHS + 1)), "one run in MLflow has every epoch"
    output = "\n".join(
        site.airflow.log("train", run, training.name, attempt, training.index) for attempt in (1, 2)
    )
    assert "the pod was deleted while it ran" in output
    assert "event=resumed_training" in output
    assert "hunter2" not in output
    assert "might not work" not in output, "what Kubernetes' client prints"
    assert site.cluster.pods_that_stay() == []
    note = site.airflow.run("train", run)["note"]
    assert f"DVC experiment `{name}`" in note
    assert "(http://127.0.0.1:5000/#/experiments/" in note, "MLflow, as a browser reaches it"
    # record has pushed to the repository.
    words = ["git", "for-each-ref", "--format=%(refname)", "refs/exps"]
    pushed = subprocess.run(words, cwd=site.repository, capture_output=True, text=True, check=True).stdout
    assert name in pushed


def test_the_same_again_is_skipped(site: Site) -> None:
    run = site.airflow.trigger("train", recipe="digits", overrides=OVERRIDES)
    assert site.airflow.ended("train", run, 20 * MINUTES) == "success"
    states = site.airflow.states("train", run)
    assert states.pop("plan") == "success"
    assert set(states.values()) == {"skipped"}, "the first run has been recorded"


def test_cancelling_a_run_deletes_its_pods(site: Site) -> None:
    longer = [*OVERRIDES[:2], "models.lenet.train.epochs=1000"]
    run = site.airflow.trigger("train", recipe="digits", overrides=longer)
    wait_until(site.training, 20 * MINUTES, "the training's pod")
    site.airflow.ask("PATCH", f"dags/train/dagRuns/{run}", {"state": "failed"})
    wait_until(lambda: not site.cluster.pods(), 2 * MINUTES, "the end of the pods")


def _parent_name(site: Site) -> str:
    """The name of the one execution that MLflow has; empty where it has none yet."""
    for run in site.mlflow.runs(""):
        for tag in run["data"].get("tags", []):
            if tag["key"] == "convoy.run":
                return str(tag["value"])
    return ""
