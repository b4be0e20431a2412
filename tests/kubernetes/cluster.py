"""The cluster that docker/with-cluster.sh starts, as a test uses it."""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.paths import ROOT

NAMESPACE = "convoy"
# A service account that docker/kubernetes/rights.yaml gives its rights to.
AIRFLOW = ("airflow", "airflow-scheduler")


@dataclass(frozen=True)
class Cluster:
    """A cluster with the manifests of docker/kubernetes applied.

    Attributes:
        host: This machine's address as pods see it.
        volume: The folder that pods see as /convoy.
        registry: HOST:PORT of an image registry; empty at first.
        apiserver: The process of the API server.
        kubeconfig: A file with the rights that Airflow has.
    """

    host: str
    volume: Path
    registry: str
    apiserver: int
    kubeconfig: Path

    @property
    def images(self) -> str:
        """The pattern of the images that tests build: CONVOY_IMAGES."""
        return f"{self.registry}/convoy/{{target}}:test"

    def kubectl(self, *words: str, text: str | None = None, kubeconfig: Path | None = None) -> str:
        """`kubectl WORDS` with all rights, or those of another file.

        Raises:
            AssertionError: It failed; with its own words.
        """
        done = self.try_kubectl(*words, text=text, kubeconfig=kubeconfig)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def try_kubectl(
        self, *words: str, text: str | None = None, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same, whether it fails or not."""
        environment = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
        return subprocess.run(
            ["kubectl", *words], input=text, env=environment, capture_output=True, text=True, check=False
        )

    def get(self, *words: str) -> Any:
        """`kubectl --namespace convoy get WORDS`, read."""
        return json.loads(self.kubectl("--namespace", NAMESPACE, "get", *words, "--output", "json"))

    def pods(self) -> list[str]:
        """The names of the stages' pods that exist."""
        return [pod["metadata"]["name"] for pod in self.get("pods")["items"]]

    def create_secret(self, name: str, **values: str | Path) -> None:
        """Create a Secret of texts and of files, as airflow.yaml says, in the place of an earlier one."""
        words = [
            f"--from-file={key}={value}" if isinstance(value, Path) else f"--from-literal={key}={value}"
            for key, value in values.items()
        ]
        self.delete_secret(name)
        self.kubectl("--namespace", NAMESPACE, "create", "secret", "generic", name, *words)

    def delete_secret(self, name: str) -> None:
        """Delete a Secret, if there is one of this name."""
        self.kubectl("--namespace", NAMESPACE, "delete", "secret", name, "--ignore-not-found")

    def can(
        self, verb: str, resource: str, namespace: str = NAMESPACE, kubeconfig: Path | None = None
    ) -> str:
        """Whether Airflow, or the user of another kubeconfig, may do so: `yes` or `no`."""
        kind, _, subresource = resource.partition("/")
        words = ["auth", "can-i", verb, kind, f"--subresource={subresource}"]
        words += ["--namespace", namespace] if namespace else []
        return self.try_kubectl(*words, kubeconfig=kubeconfig or self.kubeconfig).stdout.strip()

    def pods_that_stay(self, seconds: float = 60) -> list[str]:
        """The names of those that still exist after a while: the end of a pod takes its node some seconds."""
        deadline = time.monotonic() + seconds
        while (names := self.pods()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return names

    def folder(self) -> Path:
        """A new folder on the claim."""
        return Path(tempfile.mkdtemp(prefix="test", dir=self.volume))

    def own(self, folder: Path) -> None:
        """Give a folder on the claim to the user that pods run as, as storage.yaml says."""
        subprocess.run(["chown", "--recursive", "1000:1000", str(folder)], check=True)


def prepared(folder: Path) -> Cluster:
    """Apply the manifests as they are, and make Airflow's service account."""
    variables = {
        name: os.environ[f"CONVOY_CLUSTER_{name.upper()}"] for name in ("host", "volume", "registry")
    }
    cluster = Cluster(
        variables["host"],
        Path(variables["volume"]),
        variables["registry"],
        int(os.environ["CONVOY_CLUSTER_APISERVER"]),
        folder / "kubeconfig",
    )
    cluster.kubectl("apply", "--kustomize", str(ROOT / "docker" / "kubernetes"))
    give_account(cluster)
    return cluster


def give_account(cluster: Cluster) -> None:
    """Make Airflow's namespace and service account as its Helm chart does, and a kubeconfig for it."""
    namespace, account = AIRFLOW
    for kind, name in (("Namespace", namespace), ("ServiceAccount", account)):
        place = {} if kind == "Namespace" else {"namespace": namespace}
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **place}}
        cluster.kubectl("apply", "--filename", "-", text=json.dumps(manifest))
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    answer = cluster.kubectl("create", "--raw", path, "--filename", "-", text=json.dumps(request))
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": json.loads(answer)["status"]["token"]}
    cluster.kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
