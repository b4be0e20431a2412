"""Two pods train one network: by the runner alone, and under Airflow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import build
from tests.kubernetes import page, servers
from tests.kubernetes.cluster import NAMESPACE, Cluster
from tests.paths import ROOT
from tests.pipelines import driven_ranks
from tests.pipelines.driven import Driven
from tests.pipelines.driven_ranks import EPOCHS, TRAIN, Training
from tests.pipelines.e2e.client import Airflow, wait_until
from tests.pipelines.e2e.conftest import Local
from tests.pipelines.e2e.mlflow import Mlflow

pytestmark = pytest.mark.slow
LOGIN = "robot:hunter2"
MINUTES = 60
OVERRIDES = [
    "~models.minivggnet",
    "ensemble.members=[lenet,hog_logistic]",
    f"models.lenet.train.epochs={EPOCHS}",
    # Another file has run the same with the seed of the recipe: DVC would take it from the claim's cache.
    "models.lenet.train.seed=7",
]
AFTER_TRAINING = ("predict@lenet", "ensemble", "evaluate", "promote", "summarize", "record")


@pytest.fixture(scope="module")
def jax_image(cluster: Cluster, data_image: str) -> str:
    """Build the image with Keras on JAX under the name that a pod has it by."""
    return build("train-jax", ROOT, cluster.images.format(target="train-jax"))


@pytest.fixture
def driven(cluster: Cluster, jax_image: str, airflow_environment: None) -> Driven:
    """The kubernetes runner on a clone of this project, which is on the claim."""
    return Driven("kubernetes", driven_ranks.repository(cluster.folder()), cluster)


@pytest.fixture
def airflow(cluster: Cluster, jax_image: str, airflow_environment: None, tmp_path: Path) -> Iterator[Airflow]:
    """Airflow on a clone of this project, outside of the cluster as docs/kubernetes.md has it, on JAX."""
    repository = driven_ranks.repository(tmp_path).root
    project = servers.bare(repository, tmp_path)
    settings = page.exported({"registry.example.com/convoy/{target}:latest": cluster.images}, tmp_path)
    settings |= {"CONVOY_PASSES": "GIT_SSL_CAINFO", "GIT_SSL_CAINFO": "/convoy/git.crt"}
    with servers.git_over_https(cluster.host, tmp_path, LOGIN) as certificate:
        shutil.copy(certificate, cluster.volume / "git.crt")
        address = f"https://{LOGIN}@{servers.GIT_HOST}/{project.name}"
        cluster.create_secret("convoy-login", CONVOY_REPOSITORY=address)
        local = Local(repository, "--mlflow-address", cluster.host, KERAS_BACKEND="jax", **settings)
        try:
            yield local.start()
        finally:
            local.stop()
            cluster.delete_secret("convoy-login")


def test_a_rank_whose_pod_is_deleted_ends_all_and_the_retry_resumes(driven: Driven, cluster: Cluster) -> None:
    shared = driven.repository.shared
    training = Training(driven, f"sqlite:///{shared}/mlflow.db")
    assert training("pack", nodes=1)[0]["outcome"] == "ran"

    def command() -> list[str]:
        return ["kubectl", "--namespace", NAMESPACE, "delete", "pod", "--wait=false", _rank_1(cluster)]

    deleted, seconds, _ = training.interrupted(command)
    assert deleted["outcome"] in ("stopped", "failed"), "which Airflow retries"
    assert seconds < driven_ranks.SECONDS_TO_END + 5, "the kubelet takes some to remove a pod"
    assert cluster.pods_that_stay() == []

    pair, output = training()
    assert pair["outcome"] == "ran", output
    assert "event=resumed_training" in output, "from rank 0's checkpoint"
    assert driven.remains(TRAIN) == []
    assert driven_ranks.runs_of_training(shared / "mlflow.db") == 1
    alone, _ = training(nodes=1, CONVOY_RUN="alone", CONVOY_FORCED=f'["{TRAIN}"]')
    driven_ranks.assert_same_losses(training.history(pair), training.history(alone))


def test_a_run_with_two_nodes_whose_pod_is_deleted_is_retried_and_green(
    airflow: Airflow, cluster: Cluster
) -> None:
    mlflow = Mlflow(airflow.mlflow)
    run = airflow.trigger("train", "two-pods", recipe="digits", overrides=OVERRIDES, nodes=2)
    name = "train-two-pods"
    wait_until(lambda: 1 < len(mlflow.epochs(name)) < EPOCHS, 30 * MINUTES, "two epochs of the training")
    cluster.kubectl("--namespace", NAMESPACE, "delete", "pod", "--wait=false", _rank_1(cluster))
    assert airflow.ended("train", run, 30 * MINUTES) == "success"
    tasks = {task.address: task for task in airflow.tasks("train", run)}
    assert tasks.pop("approve").state == "skipped", "the form asks for no approval"
    training = tasks[TRAIN]
    # Another file may have run the recipe on the claim; what it has in common with this run is skipped.
    assert {tasks.pop(name).state for name in (TRAIN, *AFTER_TRAINING)} == {"success"}
    assert {task.state for task in tasks.values()} <= {"success", "skipped"}
    assert training.tries == 2
    output = "\n".join(
        airflow.log("train", run, training.name, attempt, training.index) for attempt in (1, 2)
    )
    assert "rank 1: " in output
    assert "event=resumed_training" in output
    assert mlflow.epochs(name) == list(range(1, EPOCHS + 1)), "one run in MLflow has every epoch"
    assert cluster.pods_that_stay() == []


def _rank_1(cluster: Cluster) -> str:
    """The name of the pod that is rank 1."""
    (name,) = [name for name in cluster.pods() if "-rank1-" in name]
    return name
