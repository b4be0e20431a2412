"""Who is told what: failures as one log line and a webhook, the plan and the links as the run's note."""

import json
import logging
import urllib.request
from typing import Any
from urllib.parse import quote

from pipelines.config import Config, load

log = logging.getLogger(__name__)
# Airflow's own limit.
_LONGEST_NOTE = 1000


def failed(context: Any) -> None:
    """Airflow's failure callback: one line in the log and in the run's note, and JSON to the webhook."""
    ti, error, config = context["ti"], context.get("exception") or "it was killed", load()
    event = {
        "dag": ti.dag_id,
        "run": ti.run_id,
        "task": ti.task_id,
        "member": getattr(context["task"], "member", None),
        "try": ti.try_number,
        "error": " ".join(str(error).split()),
        "log": ti.log_url,
    }
    log.error("failed: %s", json.dumps(event, ensure_ascii=False))
    note(config, ti, f"Failed: {event['error']}")
    if config.webhook:
        try:
            _send(config.webhook, "POST", event, {})
        except OSError as error:
            log.warning("the webhook does not answer: %s", error)


def note(config: Config, ti: Any, text: str) -> None:
    """Put text above the note of a task's run.

    A task has no other way to it than the API, for which a login is configured.
    """
    api = config.airflow_api or config.airflow_url
    if not (config.airflow_login and api):
        log.info("no CONVOY_AIRFLOW_LOGIN: the run has no note")
        return
    user, _, password = config.airflow_login.partition(":")
    try:
        token = _send(f"{api}/auth/token", "POST", {"username": user, "password": password}, {})
        bearer = {"Authorization": f"Bearer {token['access_token']}"}
        page = f"{api}/api/v2/dags/{quote(ti.dag_id)}/dagRuns/{quote(ti.run_id)}"
        before = _send(page, "GET", None, bearer)["note"]
        _send(page, "PATCH", {"note": shortened("\n\n".join(filter(None, [text, before])))}, bearer)
    except OSError as error:
        log.warning("the run's note is not written: %s", error)


def shortened(text: str) -> str:
    """The beginning, up to a whole line, where it is too long for a note."""
    if len(text) <= _LONGEST_NOTE:
        return text
    rest = "\n… the rest stands in the log of plan"
    return text[: _LONGEST_NOTE - len(rest)].rpartition("\n")[0] + rest


def _send(url: str, method: str, body: Any, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text.startswith(b"{") else None
