"""The job that the environment describes, and the two ways in which it can fail."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.worker.lines import without_login

ACTIONS = ("plan", "stage", "rank", "record", "clean_up")
# The number of a process among those that train one network: Keras' own variable.
_RANK = "KERAS_DISTRIBUTION_PROCESS_ID"


class RefusedError(Exception):
    """Permanent error: it needs a person; a retry cannot help."""


class FailedError(Exception):
    """Transient or unexpected error: a retry may help."""


@dataclass(frozen=True)
class Job:
    """One task. The package's docstring says what each variable means; each field is one of them.

    `rank`: 0 but for the action `rank`.
    """

    action: str
    repository: str
    commit: str
    run: str
    stage: str
    rank: int
    params: str
    overrides: list[str]
    messages: list[str]
    forced: list[str]
    cache: Path | None
    remote: str
    state: Path | None
    data: Path | None
    work: Path | None
    run_url: str
    mlflow_url: str
    days: int
    removes: bool


def read(environment: Mapping[str, str] = os.environ) -> Job:
    """Read the job from environment variables.

    Args:
        environment: Names and values; the process's own by default.

    Returns:
        The job.

    Raises:
        RefusedError: A variable is missing or wrong.
    """

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
        commit=text("COMMIT", "HEAD"),
        run=text("RUN", "run"),
        stage=text("STAGE") if action in ("stage", "rank") else "",
        rank=_rank(environment.get(_RANK, "")) if action == "rank" else 0,
        params=text("PARAMS") if action in ("stage", "rank", "record") else "",
        overrides=_texts("OVERRIDES", text("OVERRIDES", "[]")),
        messages=_texts("MESSAGES", text("MESSAGES", "[]")),
        forced=_texts("FORCED", text("FORCED", "[]")),
        cache=folder("CACHE"),
        remote=text("REMOTE", ""),
        state=folder("STATE"),
        data=folder("DATA"),
        work=folder("WORK"),
        run_url=text("RUN_URL", ""),
        # It becomes a link in notes and in DVC's experiments.
        mlflow_url=without_login(text("MLFLOW_URL", environment.get("MLFLOW_TRACKING_URI", ""))).rstrip("/"),
        days=read_days(text("DAYS", "30"), "CONVOY_DAYS"),
        removes=text("REMOVE", "0") == "1",
    )


def state_of(workspace: Path) -> Path:
    """The state folder of the tasks of `make airflow`. With a claim, CONVOY_STATE is a folder in its pods."""
    state = "" if os.environ.get("CONVOY_CLAIM") else os.environ.get("CONVOY_STATE", "")
    return Path(state).absolute() if state else workspace / ".convoy"


def read_days(value: str, name: str) -> int:
    """Read a number of days. Raises RefusedError, with the name that the number has for its user."""
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 36_500):
        raise RefusedError(f"{name} is {value[:20]}; must be a number of days from 1 to 36500")
    return int(value)


def _rank(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and int(value) >= 1):
        raise RefusedError(f"{_RANK} is {value[:20]!r}; must be a number from 1, as CONVOY_ACTION is rank")
    return int(value)


def _texts(name: str, value: str) -> list[str]:
    try:
        texts = json.loads(value)
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RefusedError(f"CONVOY_{name} is {value[:200]}; must be a JSON list of texts")
    return texts
