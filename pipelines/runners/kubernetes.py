"""A pod per task, by Kubernetes' own client.

Airflow's KubernetesPodOperator, the rejected alternative, takes 13 s of CPU to import; the client takes
0.4 s. The operator brings the result by a sidecar that runs as root, holds each line of the log back until
the next one, and makes a second pod while the first one terminates.
"""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from pipelines.config import Config
from pipelines.proxy.spec import bytes_of
from pipelines.runners import Runner, Work, _ended, _pod
from pipelines.runners._patience import patiently
from pipelines.runners._pod_log import Log
from pipelines.runners._pod_status import describe, terminated, waiting
from pipelines.runners._ranks import Ranks, ignore_address

log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LOOKS = 1.0
# A deleted pod ends within its grace period of 30 s; on a node that does not answer, never.
_SECONDS_TO_GO = 120.0
# Of a call, to connect and to answer.
_SECONDS_TO_ANSWER = (30.0, 60.0)
_DELETED = "the pod was deleted while it ran: its node was drained or lost, or a person deleted it"


class Kubernetes:
    """A pod in the namespace of the configuration; `claim`, if there is one, is mounted at /convoy.

    The result is the last line of the worker's output: the claim may be out of Airflow's reach, and a pod's
    termination message ends at 4 KiB, less than the params of a run.

    Args:
        settings: Namespace, claim, and what a pod has besides.
        on_running: Called with the pod's address when it runs, perhaps more than once.
    """

    def __init__(self, settings: Config, on_running: Callable[[str], None] = ignore_address) -> None:
        self._config, self._on_running = settings, on_running
        self._name = ""
        self._cancelled = False
        # What was last logged of a pod that waits; when one that was deleted has to have ended.
        self._shown, self._end = "", math.inf

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the pod to its end; see `Runner.run`."""
        try:
            pod = _pod.manifest(self._config, work)
        except ValueError as error:
            return _refused(str(error))
        try:
            api = _connect()
        except ConfigException as error:
            return _ended.not_started("kubernetes", str(error))
        self._name = pod["metadata"]["name"]
        try:
            if not self._removed(api):
                return _failed(
                    f"the pod {self._name} of an earlier try does not end: is its node unreachable?"
                )
            patiently(lambda: self._create(api, pod), _passes)
        except ApiException as error:
            verdict = _failed if _passes(error) else _refused
            return verdict(f"the cluster refuses the pod: {_message(error)}")
        output = Log(api, self._config.namespace, self._name, work.label)
        try:
            limit = _ended.size(bytes_of(_pod.memory_limit(self._config, work)))
            ended = self._to_its_end(api, output, limit)
        finally:
            self._delete(api)
        result = output.result() or ended
        if result["outcome"] == "stopped" and not self._cancelled:
            # The worker knows the signal and not its reason.
            result |= {"reason": f"{_DELETED} ({result['reason']})"}
        return result

    def cancel(self) -> None:
        """Delete the pod; `run` sees it end. Kubernetes gives the worker 30 s to stop."""
        self._cancelled = True
        if self._name:
            # By a client of its own: the interrupted code may hold a lock of the other's connections.
            self._delete(_connect())

    def _to_its_end(self, api: Any, output: Log, limit: str) -> dict[str, Any]:
        """Follow the pod; return a result for one whose worker leaves none."""
        deadline = time.monotonic() + float(self._config.start_timeout) * 60
        while True:
            try:
                pod = patiently(lambda: api.read_namespaced_pod(self._name, self._config.namespace), _passes)
            except ApiException as error:
                if error.status != 404:
                    raise
                return self._gone()
            if ended := terminated(pod):
                output.read_rest()
                memory = ended.reason == "OOMKilled"
                tail = output.tail
                return _ended.result(
                    ended.exit_code, tail, out_of_memory=memory, limit=limit, detail=describe(pod)
                )
            if self._stays(pod):
                return _failed(f"the deleted pod {self._name} does not end: is its node unreachable?")
            if pod.status.phase == "Running":
                self._on_running(pod.status.pod_ip)
                output.follow()
            elif pod.status.phase in ("Failed", "Succeeded"):
                # The node has removed the container already; the log may still have the worker's last lines.
                output.read_rest()
                words = describe(pod)
                return _failed(f"the pod ended without its container: {words}") if words else self._gone()
            elif (result := self._given_up(api, pod, output.tail.label, deadline)) is not None:
                return result
            if self._cancelled:
                self._delete(api)
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _stays(self, pod: Any) -> bool:
        """Whether a deleted pod has not ended in time: a lost node leaves it Running until it is removed."""
        if pod.metadata.deletion_timestamp is not None:
            self._end = min(self._end, time.monotonic() + _SECONDS_TO_GO)
        return time.monotonic() > self._end

    def _given_up(self, api: Any, pod: Any, label: str, deadline: float) -> dict[str, Any] | None:
        """Log why a pod has not started; the result of one that cannot start, or has not started in time."""
        reason = waiting(pod, self._warning(api, pod.metadata.uid))
        if reason.text and reason.text != self._shown:
            log.info("awaited_pod reason=%s", label + reason.text)
            self._shown = reason.text
        if reason.permanent:
            return _refused(reason.text)
        if time.monotonic() < deadline:
            return None
        minutes = f"CONVOY_START_TIMEOUT is {self._config.start_timeout} minutes"
        return _failed(f"the pod has not started in time: {reason.text or 'no reason is known'} ({minutes})")

    def _gone(self) -> dict[str, Any]:
        if self._cancelled:
            return {"outcome": "stopped", "reason": "cancelled"}
        return _failed(_DELETED)

    def _warning(self, api: Any, uid: str) -> str:
        """The newest warning among the pod's events: a volume that cannot be mounted is said nowhere else."""
        # Not by name: an earlier try's pod had the same one, and its events outlive it by an hour.
        selector = f"involvedObject.uid={uid},type=Warning"
        with suppress(ApiException, HTTPError):
            events = api.list_namespaced_event(self._config.namespace, field_selector=selector).items
            if events:
                newest = max(events, key=lambda event: str(event.last_timestamp or event.event_time or ""))
                return f"{newest.reason}: {newest.message}"
        return ""

    def _removed(self, api: Any) -> bool:
        """Delete an earlier try's pod and wait until it is gone: two would write the same checkpoints."""
        deadline = time.monotonic() + _SECONDS_TO_GO
        self._delete(api)
        while True:
            try:
                patiently(lambda: api.read_namespaced_pod(self._name, self._config.namespace), _passes)
            except ApiException as error:
                if error.status == 404:
                    return True
                raise
            if time.monotonic() > deadline:
                return False
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _create(self, api: Any, pod: dict[str, Any]) -> None:
        try:
            api.create_namespaced_pod(self._config.namespace, pod)
        except ApiException as error:
            # A first call whose answer was lost has created it: there was none before.
            if error.status != 409:
                raise

    def _delete(self, api: Any) -> None:
        with suppress(ApiException, HTTPError):
            api.delete_namespaced_pod(self._name, self._config.namespace)


def create(settings: Config) -> Runner:
    """The runner, for one work, or for one in several pods."""
    return Ranks(partial(Kubernetes, settings))


def _connect() -> Any:
    """A client of the cluster: of the kubeconfig, or of the pod that Airflow runs in."""
    settings = client.Configuration()
    # Not `load_config`, which prints into each task's log that the second "might not work".
    if "KUBECONFIG" in os.environ or Path.home().joinpath(".kube", "config").exists():
        config.load_kube_config(client_configuration=settings)
    else:
        config.load_incluster_config(client_configuration=settings)
    return client.CoreV1Api(_Client(settings))


class _Client(client.ApiClient):
    """Ends a call that gets no answer. The library waits for ever, as over a connection that is gone."""

    def request(self, *words: Any, **options: Any) -> Any:
        options["_request_timeout"] = options.get("_request_timeout") or _SECONDS_TO_ANSWER
        return super().request(*words, **options)


def _passes(error: Exception) -> bool:
    if isinstance(error, ApiException):
        return error.status in (0, 429) or error.status >= 500
    return isinstance(error, HTTPError)


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _refused(reason: str) -> dict[str, Any]:
    return {"outcome": "refused", "reason": reason}


def _failed(reason: str) -> dict[str, Any]:
    return {"outcome": "failed", "reason": reason}
