"""Configuration from the environment of Airflow's own processes, with defaults for one machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The checkout that this file belongs to: its dvc.yaml is the graph, its conf/ has the recipes.
CODE = Path(__file__).parents[1]
DVC_YAML = CODE / "dvc.yaml"
# Variables that the stages get from Airflow's own processes: with CONVOY_DEBUG=1 an error has its traceback.
ALWAYS_PASSED = ("MLFLOW_TRACKING_URI", "KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "CONVOY_DEBUG")


@dataclass(frozen=True)
class Config:
    """Where everything is, as the runners' tasks see it.

    Each field is the variable CONVOY_ and its name in capitals.

    Attributes:
        repository: What tasks clone: a folder or a URL.
        commit: What they check out: a branch or a commit.
        cache: The shared DVC cache, a folder; empty with `remote`.
        remote: A DVC remote of the repository, used instead of a shared cache.
        state: A folder that outlives tasks: checkpoints, durations, results.
        data: The folder that tasks see as datasets/; empty for none.
        python: The Python of the stages' environment (process runner).
        runner: process, docker or kubernetes: the form's default, and what retrain uses.
        images: The name of an image, with {target} for the target that a stage's meta names.
        mlflow_url: MLflow as a browser reaches it.
        airflow_url: Airflow as a browser reaches it.
        airflow_api: Airflow as a task reaches it; airflow_url if not set.
        airflow_login: user:password of Airflow's API, for notes; empty for no notes.
        webhook: A URL that gets JSON messages: failures, successes, promotions, drift; empty for none.
        approval: 1: a run waits for a person's approval before promotion, unless its form says otherwise.
        retrain_cron: The schedule of retrain, a cron expression; empty for only when new data are reported.
        clean_up_cron: The schedule on which clean_up removes, a cron expression; empty for only by hand.
        watch: A folder whose changes run retrain, as new data; empty for none. The triggerer must see it.
        watch_seconds: Between two looks at it; a change counts when two looks in a row see the same.
        memory: The memory limit of a stage whose meta names none (docker and kubernetes runners).
        docker_network: The network of a stage's container.
        namespace: The Kubernetes namespace of the pods.
        claim: A persistent volume claim, mounted at /convoy in every pod; empty for none.
        start_timeout: Minutes that a pod may wait for a node, its image and its volumes.
        secrets: Comma-separated names of Secrets whose keys become environment variables of every pod.
        ssh_secret: A Secret with ssh-privatekey and known_hosts, for a repository over SSH; empty for none.
        pull_secrets: Comma-separated names of Secrets that images are pulled with.
        node_selector: Comma-separated labels, NAME=VALUE, of the nodes that pods may run on.
        tolerations: A JSON list of Kubernetes' tolerations.
        priority_class: The pods' PriorityClass; empty for the cluster's default.
        passes: Comma-separated names of further variables that the stages get.
        passed_variables: Those variables with their values, and those of ALWAYS_PASSED; not read from the
            environment itself.
    """

    repository: str = str(CODE)
    commit: str = "HEAD"
    cache: str = str(CODE / ".dvc" / "cache")
    remote: str = ""
    state: str = str(CODE / ".convoy")
    data: str = str(CODE / "datasets")
    python: str = str(CODE / ".venv" / "bin" / "python")
    runner: str = "process"
    images: str = "convoy/{target}:latest"
    mlflow_url: str = ""
    airflow_url: str = ""
    airflow_api: str = ""
    airflow_login: str = ""
    webhook: str = ""
    approval: str = ""
    retrain_cron: str = ""
    clean_up_cron: str = ""
    watch: str = ""
    watch_seconds: str = "60"
    memory: str = "8Gi"
    docker_network: str = "host"
    namespace: str = "convoy"
    claim: str = ""
    start_timeout: str = "60"
    secrets: str = ""
    ssh_secret: str = ""
    pull_secrets: str = ""
    node_selector: str = ""
    tolerations: str = "[]"
    priority_class: str = ""
    passes: str = ""
    passed_variables: dict[str, str] = field(default_factory=dict)


def load(environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration from environment variables."""
    fields = [name for name in Config.__dataclass_fields__ if name != "passed_variables"]
    values = {name: environment[key] for name in fields if (key := f"CONVOY_{name.upper()}") in environment}
    if values.get("remote"):
        values.setdefault("cache", "")
    names = [*filter(None, values.get("passes", "").split(",")), *ALWAYS_PASSED]
    passed = {name: environment[name] for name in names if environment.get(name)}
    return Config(**values, passed_variables=passed)
