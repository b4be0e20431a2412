"""A pod per task, by Airflow's KubernetesPodOperator."""

import re
from contextlib import suppress
from inspect import unwrap
from typing import Any

from airflow.exceptions import AirflowException
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models

from pipelines.config import Config
from pipelines.runners import COMMAND, Work
from pipelines.runners.docker import image

_RESULT = "/airflow/xcom/return.json"
_OUTCOMES = {99: "restored", 2: "refused", 143: "stopped"}


class Kubernetes:
    """A pod in the namespace of the configuration; `claim`, if there is one, is mounted at /convoy.

    The result comes through Airflow's sidecar. A pod that failed leaves it no result, so its exit status and
    last line, which Kubernetes keeps, stand in for it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._operator: KubernetesPodOperator | None = None

    def operator(self, work: Work) -> KubernetesPodOperator:
        """The operator that runs this work; everything about the pod is said here."""
        limits, config = work.settings, self._config
        amounts = {"cpu": limits.cpu and str(limits.cpu), "memory": limits.memory}
        requests = {key: value for key, value in amounts.items() if value}
        gpus = {"nvidia.com/gpu": str(limits.gpu)} if limits.gpu else {}
        claim = models.V1PersistentVolumeClaimVolumeSource(claim_name=config.claim)
        volumes = [models.V1Volume(name="convoy", persistent_volume_claim=claim)] if config.claim else []
        mounts = [models.V1VolumeMount(name="convoy", mount_path="/convoy")] if config.claim else []
        return KubernetesPodOperator(
            task_id=work.name,
            name=pod_name(work.name),
            namespace=config.namespace,
            image=image(config, limits.image, limits.gpu),
            cmds=["python"],
            arguments=list(COMMAND),
            env_vars=work.variables | {"CONVOY_RESULT": _RESULT, "CONVOY_WORK": ""},
            volumes=volumes,
            volume_mounts=mounts,
            container_resources=models.V1ResourceRequirements(
                # Memory over the limit kills the pod; a limit on processors would only slow it down.
                requests=requests | gpus,
                limits={key: value for key, value in requests.items() if key == "memory"} | gpus,
            ),
            security_context=models.V1PodSecurityContext(run_as_non_root=True, fs_group=1000),
            automount_service_account_token=False,
            labels={"convoy-run": pod_name(work.variables["CONVOY_RUN"])},
            termination_message_policy="FallbackToLogsOnError",
            on_finish_action="delete_pod",
            # A pod of an earlier try, of an Airflow that died, is taken up again.
            reattach_on_restart=True,
            get_logs=True,
            do_xcom_push=True,
        )

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the pod to its end."""
        self._operator = self.operator(work)
        result: dict[str, Any] | None = None
        with suppress(AirflowException):
            # Without its decorator, which warns that an operator runs in another: that is what a runner is.
            result = unwrap(KubernetesPodOperator.execute)(self._operator, context)
        return result or _ended(self._operator.remote_pod or self._operator.pod)

    def cancel(self) -> None:
        """Delete the pod."""
        if self._operator is not None:
            self._operator.on_kill()


def create(config: Config) -> Kubernetes:
    """The runner, for one work."""
    return Kubernetes(config)


def pod_name(text: str) -> str:
    """What Kubernetes allows as a name and as a label: at most 63 of a-z, 0-9 and dashes inside."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[-63:].strip("-")


def _ended(pod: Any) -> dict[str, Any] | None:
    """The result that a pod's status tells; None if its container was killed or never started."""
    statuses = (pod.status.container_statuses or []) if pod is not None and pod.status else []
    for one in statuses:
        ended = one.state.terminated if one.name == "base" and one.state else None
        if ended is not None and ended.exit_code in (1, *_OUTCOMES):
            last = (ended.message or "").strip().splitlines() or [""]
            reason = last[-1].partition(": ")[2] or last[-1]
            return {"outcome": _OUTCOMES.get(ended.exit_code, "failed"), "reason": reason}
    return None
