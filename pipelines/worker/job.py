"""What the environment asks of the worker, and how it says that it cannot."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ACTIONS = ("plan", "stage", "record")


class RefusedError(Exception):
    """The user's to mend; a retry cannot help."""


class FailedError(Exception):
    """It went wrong; a retry may help."""


@dataclass(frozen=True)
class Job:
    """One task. The package's docstring says what each of the variables means."""

    action: str
    repository: str
    result: Path
    commit: str
    run: str
    stage: str
    params: str
    overrides: list[str]
    cache: Path | None
    remote: str
    state: Path | None
    data: Path | None
    work: Path | None
    run_url: str
    mlflow_url: str


def read(environment: Mapping[str, str] = os.environ) -> Job:
    """The job that the variables describe. Raises RefusedError for one that is missing or wrong."""

    def text(name: str, default: str | None = None) -> str:
        value = environment.get(f"CONVOY_{name}") or default
        if value is None:
            raise RefusedError(f"CONVOY_{name} is not set")
        return value

    def folder(name: str) -> Path | None:
        return Path(value).absolute() if (value := text(name, "")) else None

    action = text("ACTION")
    if action not in ACTIONS:
        raise RefusedError(f"CONVOY_ACTION is {action}; allowed: {', '.join(ACTIONS)}")
    return Job(
        action=action,
        repository=text("REPOSITORY"),
        result=Path(text("RESULT")).absolute(),
        commit=text("COMMIT", "HEAD"),
        run=text("RUN", "run"),
        stage=text("STAGE") if action == "stage" else "",
        params=text("PARAMS") if action != "plan" else "",
        overrides=json.loads(text("OVERRIDES", "[]")),
        cache=folder("CACHE"),
        remote=text("REMOTE", ""),
        state=folder("STATE"),
        data=folder("DATA"),
        work=folder("WORK"),
        run_url=text("RUN_URL", ""),
        mlflow_url=text("MLFLOW_URL", environment.get("MLFLOW_TRACKING_URI", "")).rstrip("/"),
    )
