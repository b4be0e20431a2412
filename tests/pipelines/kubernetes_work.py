"""One work of the kubernetes runner, as Airflow's task asks for it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.pipelines.cluster import NAME
from tests.pipelines.conftest import AIRFLOW_PYTHON
from tests.pipelines.driven import runner_process

VARIABLES = {
    "CONVOY_ACTION": "stage",
    "CONVOY_RUN": "train-one",
    "CONVOY_REPOSITORY": "https://git.example.com/team/project.git",
    "CONVOY_STATE": "/convoy/state",
    "CONVOY_WORK": "/convoy/state/work",
    "CONVOY_REMOTE": "",
}
CONFIG = {"namespace": "convoy", "claim": "convoy", "images": "registry.example.com/convoy/{target}:1"}


@contextmanager
def started(
    kubeconfig: Path, *, config: dict[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """The runner in a process of its own, as Airflow's task would run it."""
    request = {
        "runner": "kubernetes",
        "config": CONFIG | (config or {}),
        "name": NAME,
        "variables": VARIABLES,
        **options,
    }
    words = [str(AIRFLOW_PYTHON)]
    with runner_process(words, json.dumps(request), KUBECONFIG=str(kubeconfig)) as process:
        yield process
