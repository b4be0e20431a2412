"""Messages about runs: a log line and a webhook for each event, and notes on Airflow's pages."""

import json
import logging
import math
import urllib.request
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from tenacity import before_sleep_log, retry, retry_if_exception, stop_after_attempt, wait_exponential

from pipelines.config import Config, load
from pipelines.markdown import code

log = logging.getLogger(__name__)
# Airflow's own limit, in characters.
_MAX_NOTE = 1000
_TRIES = 4
# Of a server that is unreachable, an address that is none, another server. No message is worth a run.
_FAILURES = (OSError, ValueError, HTTPException, TypeError, KeyError)


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
            _send(config.webhook, "POST", message, {})
        except _FAILURES as error:
            log.warning("skipped_webhook reason=%s", _reason(error))


def add_note(config: Config, ti: Any, text: str) -> None:
    """Put text above the note of a task's run. A task can do so only through the API, with a login."""
    _annotate(config, ti, text, f"dagRuns/{quote(ti.run_id)}")


def add_task_note(config: Config, ti: Any, text: str) -> None:
    """Put text above the note of a task itself, which its page shows first."""
    index = f"/{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
    _annotate(config, ti, text, f"dagRuns/{quote(ti.run_id)}/taskInstances/{quote(ti.task_id)}{index}")


def slots_of_pool(config: Config, name: str) -> float | None:
    """How many slots a pool of Airflow has; infinity without a limit, None where that cannot be known.

    Raises:
        LookupError: Airflow has no such pool.
    """
    try:
        if (access := _access(config)) is None:
            return None
        slots = _slots(f"{access[0]}/pools/{quote(name)}", access[1])
    except _FAILURES as error:
        log.warning("skipped_pool_check reason=%s", _reason(error))
        return None
    if slots is None:
        raise LookupError(name)
    return slots if slots >= 0 else math.inf


def _slots(page: str, header: dict[str, str]) -> int | None:
    """The slots of a pool as the API has them, -1 without a limit; None where there is no such pool."""
    try:
        return int(_ask(page, "GET", None, header)["slots"])
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise


def answer_to_earlier_try(config: Config, ti: Any) -> dict[str, Any] | None:
    """A person's answer to a question of a task's last try; None without one, or where it cannot be known."""
    if ti.try_number < 2:
        return None
    # A question belongs to the task and not to a try: it has the last answer until it is asked again.
    question = f"taskInstances/{quote(ti.task_id)}/{ti.map_index}/hitlDetails"
    try:
        if (access := _access(config)) is None:
            return None
        api, header = access
        page = f"{api}/dags/{quote(ti.dag_id)}/dagRuns/{quote(ti.run_id)}/{question}"
        answer = _ask(page, "GET", None, header)
        if not answer["response_received"]:
            return None
        return answer | {"responded_at": datetime.fromisoformat(answer["responded_at"])}
    except _FAILURES as error:
        log.warning("skipped_earlier_answer reason=%s", _reason(error))
        return None


def _annotate(config: Config, ti: Any, text: str, path: str) -> None:
    try:
        if (access := _access(config)) is None:
            log.info("skipped_note reason=CONVOY_AIRFLOW_LOGIN is not set")
            return
        api, header = access
        page = f"{api}/dags/{quote(ti.dag_id)}/{path}"
        # Shorter than a note: it is whole in it, whatever follows.
        text = shortened(text, _MAX_NOTE * 9 // 10)
        # The API cannot append. Of two tasks that write at once, one overwrites the other, which looks again.
        for _ in range(_TRIES):
            earlier = _ask(page, "GET", None, header)["note"] or ""
            if text in earlier:
                break
            note = shortened("\n\n".join(filter(None, [text, earlier])))
            _send(page, "PATCH", {"note": note}, header)
    except _FAILURES as error:
        log.warning("skipped_note reason=%s", _reason(error))


def _access(config: Config) -> tuple[str, dict[str, str]] | None:
    """The address of Airflow's API, and the header of a logged-in request; None without a login."""
    address = config.airflow_api or config.airflow_url
    if not (config.airflow_login and address):
        return None
    user, _, password = config.airflow_login.partition(":")
    token = _ask(f"{address}/auth/token", "POST", {"username": user, "password": password}, {})
    return f"{address}/api/v2", {"Authorization": f"Bearer {token['access_token']}"}


def shortened(text: str, most: int = _MAX_NOTE) -> str:
    """Cut a text that is too long for a note, after a whole line where it has one, and say so."""
    if len(text) <= most:
        return text
    ending = "\n… the rest is in the task's log"
    cut = text[: most - len(ending)]
    return (cut.rpartition("\n")[0] or cut) + ending


def _reason(error: Exception) -> str:
    """An error in words that name no address: that of a webhook is a secret, and those of URLs quote it."""
    if isinstance(error, OSError):
        return str(error)
    return f"{type(error).__name__}: the address is wrong, or another server answers there"


def _ask(url: str, method: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
    """Send a request to the API; its answers are JSON objects."""
    answer = json.loads(_send(url, method, body, headers))
    if not isinstance(answer, dict):
        raise TypeError(f"the answer is {type(answer).__name__}; must be an object")
    return answer


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
def _send(url: str, method: str, body: Any, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: bytes = response.read()
    return answer
