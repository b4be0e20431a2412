"""What the tests on a cluster need around them."""

import os

import pytest

from tests.docker.conftest import base_image, build, engine  # noqa: F401
from tests.kubernetes.cluster import Cluster, prepared
from tests.paths import ROOT
from tests.pipelines.conftest import airflow_environment, make  # noqa: F401
from tests.pipelines.driven import Driven


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster with the manifests applied. Skip where none is in reach."""
    if "CONVOY_CLUSTER_HOST" not in os.environ:
        pytest.skip("no cluster is in reach; `make e2e-kubernetes` starts one")
    return prepared(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="session")
def data_image(cluster: Cluster, base_image: None) -> str:  # noqa: F811
    """Build the data image under the name that a pod has it by, and return that."""
    return build("data", ROOT, cluster.images.format(target="data"))


@pytest.fixture
def driven(cluster: Cluster, data_image: str, airflow_environment: None) -> Driven:  # noqa: F811
    """The kubernetes runner on the tiny repository, which is on the claim."""
    return Driven("kubernetes", make(cluster.folder()), cluster)
