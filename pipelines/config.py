"""Where everything is, from the environment of Airflow's own processes, with defaults for one machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The code this file belongs to: its dvc.yaml is the graph, its conf/ has the recipes.
CODE = Path(__file__).parents[1]
DVC_YAML = CODE / "dvc.yaml"


@dataclass(frozen=True)
class Config:
    """Paths as the runners' tasks see them. Each field is the variable CONVOY_ and its name in capitals.

    repository      what tasks clone: a folder or a URL
    commit          what they check out: a branch or a commit
    cache           the shared DVC cache; empty with `remote`
    remote          a DVC remote of the repository instead of a shared cache
    state           a folder that outlives tasks: checkpoints, durations, results
    data            what stands in for datasets/; empty for nothing
    python          the Python of the stages' environment (process runner)
    runner          process, docker or kubernetes: what the form proposes and retrain uses
    images          the name of an image, from the target that a stage's meta names
    mlflow_url      MLflow as a browser reaches it
    airflow_url     Airflow as a browser reaches it
    airflow_api     Airflow as a task reaches it; airflow_url if not set
    airflow_login   user:password of Airflow's API, to write a run's note; empty: no notes
    webhook         a URL that is told of failures, as JSON; empty: nobody
    retrain_cron    when retrain runs by the clock; empty: only when new data are reported
    docker_network  the network of a stage's container
    namespace       where pods are started
    claim           a persistent volume claim, mounted at /convoy in every pod; empty: none
    passes          names of more variables, with commas, that are handed on to the stages
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
    retrain_cron: str = ""
    docker_network: str = "host"
    namespace: str = "convoy"
    claim: str = ""
    passes: str = ""
    handed_on: dict[str, str] = field(default_factory=dict)


def load(environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration that the variables describe."""
    names = [name for name in Config.__dataclass_fields__ if name != "handed_on"]
    given = {name: environment[key] for name in names if (key := f"CONVOY_{name.upper()}") in environment}
    if given.get("remote"):
        given.setdefault("cache", "")
    passed = [*filter(None, given.get("passes", "").split(",")), "MLFLOW_TRACKING_URI", "KERAS_BACKEND"]
    return Config(**given, handed_on={name: environment[name] for name in passed if environment.get(name)})
