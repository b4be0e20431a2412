"""Messages about runs: a log line and a webhook for each event, and notes on Airflow's pages."""

import json
import logging
import urllib.request
from typing import Any
from urllib.parse import quote

from tenacity import before_sleep_log, retry, retry_if_exception, stop_after_attempt, wait_exponential

from pipelines.config import Config, load
from pipelines.markdown import code

log = logging.getLogger(__name__)
# Airflow's own limit, in characters.
_MAX_NOTE = 1000
_TRIES = 4


def on_failure(context: Any) -> None:
    """Airflow's failure callback: log the error, note it on the run and post it to the webhook."""
    ti, error, config = context["ti"], context.get("exception") or "the task was killed", load()
    message = " ".join(str(error).split())
    log.error("failed_task reason=%s", message)
    add_note(config, ti, f"Failed: {code(message)}")
    add_task_note(config, ti, f"Failed: {code(message)}")
    post(config, context, "failed", error=message)


def post(config: Config, context: Any, event: str, /, **details: Any) -> None:
    """Post an event to the webhook; without a webhook, only log it.

    Args:
        config: Names the webhook.
        context: Airflow's context of the task that the event is about.
        event: failed, succeeded, or an event of a stage's log that its `meta.messages` names.
        details: Further keys of the message, as JSON; a key that every message has is not replaced.
    """
    ti = context["ti"]
    message = {
        **details,
        "event": event,
        "dag": ti.dag_id,
        "run": ti.run_id,
        "task": ti.task_id,
        "member": getattr(context["task"], "member", None),
        "try": ti.try_number,
        "log": ti.log_url,
    }
    log.info("reported_event %s", json.dumps(message, ensure_ascii=False))
    if config.webhook:
        try:
            _request(config.webhook, "POST", message, {})
        except OSError as error:
            log.warning("skipped_webhook reason=%s", error)


def add_note(config: Config, ti: Any, text: str) -> None:
    """Put text above the note of a task's run. A task can do so only through the API, with a login."""
    _annotate(config, ti, text, f"dagRuns/{quote(ti.run_id)}")


def add_task_note(config: Config, ti: Any, text: str) -> None:
    """Put text above the note of a task itself, which its page shows first."""
    index = f"/{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
    _annotate(config, ti, text, f"dagRuns/{quote(ti.run_id)}/taskInstances/{quote(ti.task_id)}{index}")


def _annotate(config: Config, ti: Any, text: str, path: str) -> None:
    api = config.airflow_api or config.airflow_url
    if not (config.airflow_login and api):
        log.info("skipped_note reason=CONVOY_AIRFLOW_LOGIN is not set")
        return
    user, _, password = config.airflow_login.partition(":")
    try:
        token = _request(f"{api}/auth/token", "POST", {"username": user, "password": password}, {})
        header = {"Authorization": f"Bearer {token['access_token']}"}
        page = f"{api}/api/v2/dags/{quote(ti.dag_id)}/{path}"
        # The API cannot append. Of two tasks that write at once, one overwrites the other, which looks again.
        for _ in range(_TRIES):
            earlier = _request(page, "GET", None, header)["note"] or ""
            if shortened(text) in earlier:
                break
            note = shortened("\n\n".join(filter(None, [text, earlier])))
            _request(page, "PATCH", {"note": note}, header)
    except OSError as error:
        log.warning("skipped_note reason=%s", error)


def shortened(text: str) -> str:
    """Cut a text that is too long for a note after a whole line, and say so."""
    if len(text) <= _MAX_NOTE:
        return text
    ending = "\n… the rest is in the task's log"
    return text[: _MAX_NOTE - len(ending)].rpartition("\n")[0] + ending


def _is_transient(error: BaseException) -> bool:
    """Whether another try may succeed: the server is unreachable, or says that the fault is its own."""
    return isinstance(error, OSError) and getattr(error, "code", 500) >= 500


# An API server that starts again or has too much to do is back within seconds.
@retry(
    retry=retry_if_exception(_is_transient),
    stop=stop_after_attempt(5),
    wait=wait_exponential(multiplier=0.5, max=8),
    before_sleep=before_sleep_log(log, logging.INFO),
    reraise=True,
)
def _request(url: str, method: str, body: Any, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        text = response.read()
    return json.loads(text) if text.startswith(b"{") else None
