"""A container per task, by Airflow's DockerOperator; the image is one of docker/stage.Dockerfile."""

import json
import os
from contextlib import suppress
from inspect import unwrap
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowException
from airflow.providers.docker.operators.docker import DockerOperator
from docker.errors import NotFound
from docker.types import DeviceRequest, Mount

from pipelines.config import Config
from pipelines.runners import COMMAND, Work

# What pipelines.worker exits with when there was nothing to do; see its docstring.
NOTHING_TO_DO = 99


class Docker:
    """A container with the folders that tasks share mounted at their own paths.

    The repository is mounted read only, except for record. The container's user is this process's, so that
    what it writes into the shared folders belongs to whom it should.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._operator: DockerOperator | None = None

    def operator(self, work: Work) -> DockerOperator:
        """The operator that runs this work; everything about the container is said here."""
        limits, config = work.settings, self._config
        gpus = [DeviceRequest(count=limits.gpu, capabilities=[["gpu"]])] if limits.gpu else None
        return DockerOperator(
            task_id=work.name,
            container_name=work.name,
            image=image(config, limits.image, limits.gpu),
            command=["python", *COMMAND],
            environment=work.variables | {"CONVOY_RESULT": str(self._result(work)), "CONVOY_WORK": ""},
            mounts=_folders(config, work.writes_repository),
            user=f"{os.getuid()}:{os.getgid()}",
            network_mode=config.docker_network,
            cpus=limits.cpu or 0,
            mem_limit=limits.memory.removesuffix("i") if limits.memory else None,
            device_requests=gpus,
            # TensorFlow and OpenCV put threads' buffers there; Docker's default is 64 MB.
            shm_size=1 << 30,
            mount_tmp_dir=False,
            auto_remove="force",
            skip_on_exit_code=NOTHING_TO_DO,
            do_xcom_push=False,
            labels={"org.convoy.run": work.variables["CONVOY_RUN"]},
        )

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the container to its end, after removing one that an earlier try left."""
        result = self._result(work)
        result.parent.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        self._operator = self.operator(work)
        with suppress(NotFound):
            # Airflow died and its container did not: two of one task would write the same checkpoints.
            self._operator.cli.remove_container(work.name, force=True)
        # The result says how it ended, a skip and a failure included.
        with suppress(AirflowException):
            # Without its decorator, which warns that an operator runs in another: that is what a runner is.
            unwrap(DockerOperator.execute)(self._operator, context)
        return json.loads(result.read_text(encoding="utf-8")) if result.exists() else None

    def cancel(self) -> None:
        """Stop the container; `run` goes on, and removes it.

        Airflow kills the task five seconds later; one that takes longer to stop stays, stopped, until the
        next try.
        """
        # Not by on_kill, which logs first: this runs in a signal handler, and where the signal came while a
        # line was logged, that would wait for the line's lock for ever.
        if self._operator is not None and self._operator.container is not None:
            self._operator.cli.stop(self._operator.container["Id"])

    def _result(self, work: Work) -> Path:
        return Path(self._config.state) / "results" / f"{work.name}.json"


def create(config: Config) -> Docker:
    """The runner, for one work."""
    return Docker(config)


def image(config: Config, target: str, gpus: int) -> str:
    """The image of a target of docker/stage.Dockerfile; what is no target's name is an image's own."""
    if not target.isidentifier():
        return target
    return config.images.format(target=f"{target}-gpu" if gpus else target)


def _folders(config: Config, writes_repository: bool) -> list[Mount]:
    # Docker wants a folder to be there.
    for path in filter(None, (config.cache, config.state)):
        Path(path).mkdir(parents=True, exist_ok=True)
    read = {config.data: True} if config.data and Path(config.data).is_dir() else {}
    mounts = {config.repository: not writes_repository, **read} | dict.fromkeys(_shared(config), False)
    return [
        Mount(path, path, type="bind", read_only=only) for path, only in mounts.items() if path[:1] == "/"
    ]


def _shared(config: Config) -> list[str]:
    """Cache and state; the folder that both lie in, where that is no one else's.

    Nothing can be linked from one mount to another: in two, DVC would copy every output into the cache.
    """
    folders = [path for path in (config.cache, config.state) if path]
    above = {str(Path(path).parent) for path in folders}
    if len(folders) == 2 and len(above) == 1 and not Path(config.repository).is_relative_to(*above):
        return [*above]
    return folders
