"""A container per task; the image is one of docker/stage.Dockerfile."""

import json
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from pipelines.config import Config
from pipelines.proxy import spec
from pipelines.runners import Runner, Work, _ended
from pipelines.runners._images import image
from pipelines.runners._patience import patiently
from pipelines.runners._ranks import Ranks, ignore_address

log = logging.getLogger(__name__)
# The worker gives its stage ten seconds to write a checkpoint.
_SECONDS_TO_STOP = 15
_SECONDS_TO_RECONNECT = 1
_SECONDS_TO_REMOVE = 60
_UNREACHABLE = (RequestException, HTTPError, ConnectionError)
# What an engine says at the start: without NVIDIA's runtime; with it, and no GPU, or fewer than wanted.
_NO_GPU = re.compile("device driver|nvidia|GPU vendor", re.IGNORECASE)
_NO_FOLDER = "bind source path does not exist"


class Docker:
    """A container with the folders that tasks share mounted at their own paths.

    Of the repository it sees `.git`, read only: a task clones, and the workspace holds files that are none of
    a stage's business (docker/.env, .dvc/config.local). `record` adds objects and experiments to it. The
    container's user is this process's, so that what it writes into the shared folders belongs to their owner.

    Docker's API is called directly. Airflow's DockerOperator cannot drop capabilities or limit processes,
    removes the container before its end can be read, and needs more calls than the proxy allows.

    Args:
        config: Where everything is.
        on_running: Called with the container's address on its network when it runs, perhaps more than once.
    """

    def __init__(self, config: Config, on_running: Callable[[str], None] = ignore_address) -> None:
        self._config, self._on_running = config, on_running
        self._container: str | None = None
        self._cancelled = False

    def container(self, work: Work) -> spec.Container:
        """What the container of a work is, apart from what is the same for all of them.

        Raises:
            ValueError: The stage's `memory` is no amount.
        """
        limits, config = work.settings, self._config
        variables = work.variables | {"CONVOY_RESULT": str(self._result(work))}
        return spec.Container(
            image=image(config, limits.image, limits.gpu),
            run=work.variables["CONVOY_RUN"],
            user=f"{os.getuid()}:{os.getgid()}",
            network=config.docker_network,
            variables=tuple(f"{name}={value}" for name, value in variables.items()),
            folders=_folders(config, work.writes_repository),
            memory=spec.bytes_of(limits.memory or config.memory),
            nano_cpus=int((limits.cpu or 0) * 10**9),
            gpus=limits.gpu,
        )

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        """Run the container to its end, after removing one that an earlier try left; see `Runner.run`."""
        result = self._result(work)
        result.parent.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        try:
            client = patiently(_connect, _passes)
        except DockerException as error:
            if (cause := _of_socket(error)) is None:
                raise
            place = os.environ.get("DOCKER_HOST", "/var/run/docker.sock")
            return _ended.not_started("docker", f"{place}: {cause.strerror}")
        # Airflow died and its container did not: two of one task would write the same checkpoints.
        _remove(client, work.name)
        try:
            request = spec.request(self.container(work))
            self._container = client.create_container_from_config(request, work.name)["Id"]
        except ImageNotFound as error:
            hint = "docker/images.sh builds those of docker/, `docker pull` gets others"
            return {"outcome": "refused", "reason": f"{error.explanation}: {hint}"}
        except ValueError as error:
            return {"outcome": "refused", "reason": str(error)}
        except APIError as error:
            if _passes(error):
                raise
            reason = f"the engine refuses the container: {error.explanation}"
            # DVC removes refs/exps with the last experiment. Airflow's own container cannot make it again.
            hint = "; `make up` makes the folders that stages need" if _NO_FOLDER in reason else ""
            return {"outcome": "refused", "reason": reason + hint}
        try:
            ended = self._to_its_end(client, self._container, work)
        except BaseException:
            # The removal kills the worker, which then leaves no checkpoint.
            with suppress(DockerException, *_UNREACHABLE):
                self.cancel()
            raise
        finally:
            _remove(client, self._container)
        if result.exists():
            written: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
            return written
        return {"outcome": "stopped", "reason": "cancelled"} if self._cancelled else ended

    def cancel(self) -> None:
        """Stop the container; `run` goes on, and removes it.

        Airflow kills the task five seconds later; one that takes longer to stop stays, stopped, until the
        next try or the proxy removes it.
        """
        self._cancelled = True
        if self._container is not None:
            # By a client of its own: the interrupted code may hold a lock of the other's connections.
            with suppress(NotFound):
                _connect().stop(self._container, timeout=_SECONDS_TO_STOP)

    def _to_its_end(self, client: APIClient, container: str, work: Work) -> dict[str, Any]:
        """Start a container and log what it says; return a result for one whose worker leaves none."""
        gpus = work.settings.gpu
        if self._cancelled:
            return {"outcome": "stopped", "reason": "cancelled"}
        try:
            client.start(container)
        except APIError as error:
            reason = " ".join(str(error.explanation).split())
            if gpus and _NO_GPU.search(reason):
                hint = "gpus in the form, or gpu under meta: in dvc.yaml, says how many"
                return {
                    "outcome": "refused",
                    "reason": f"the engine does not have {gpus} GPUs: {reason}; {hint}",
                }
            return {"outcome": "failed", "reason": f"the container does not start: {reason}"}
        if self._cancelled:
            # Before it ran, so that `cancel` had nothing to stop.
            client.stop(container, timeout=_SECONDS_TO_STOP)
        tail, since = _ended.Tail(work.label), 0.0
        try:
            while (state := patiently(lambda: client.inspect_container(container), _passes))["State"][
                "Running"
            ]:
                if since:
                    time.sleep(_SECONDS_TO_RECONNECT)
                self._on_running(_address(state, self._config.docker_network))
                since = _follow(client, container, since, tail)
        except NotFound:
            return {"outcome": "failed", "reason": "the container was removed while it ran (docker rm?)"}
        if not since:
            # It ended before its log was requested.
            _follow(client, container, since, tail)
        ended = state["State"]
        limit = _ended.size(state["HostConfig"]["Memory"])
        return _ended.result(
            ended["ExitCode"], tail, out_of_memory=ended["OOMKilled"], limit=limit, detail=ended["Error"]
        )

    def _result(self, work: Work) -> Path:
        return Path(self._config.state) / "results" / f"{work.name}.json"


def create(config: Config) -> Runner:
    """The runner, for one work, or for one in several containers."""
    return Ranks(partial(Docker, config), shares_host=config.docker_network == "host")


def _connect() -> APIClient:
    """A client of the engine that DOCKER_HOST names."""
    return APIClient(**kwargs_from_env(), version="auto")


def _address(state: Any, network: str) -> str:
    """A running container's address; that of this host where it has its network."""
    networks = state["NetworkSettings"]["Networks"]
    return networks.get(network, {}).get("IPAddress") or "127.0.0.1"


def _remove(client: APIClient, name: str) -> None:
    """Remove a container with its volumes, whatever its state; wait where another removal is under way."""
    deadline = time.monotonic() + _SECONDS_TO_REMOVE
    while time.monotonic() < deadline:
        try:
            patiently(partial(client.remove_container, name, force=True, v=True), _passes)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:
                raise
            time.sleep(0.2)


def _passes(error: Exception) -> bool:
    if isinstance(error, APIError):
        return bool(error.is_server_error())
    # While the engine starts, the client's first call fails with an error of this kind that says why. Its
    # socket may be missing then; one that is forbidden stays so.
    return isinstance(error, (*_UNREACHABLE, DockerException)) and not isinstance(
        _of_socket(error), PermissionError
    )


def _of_socket(error: BaseException | None) -> OSError | None:
    """What the system says of an engine's socket that is missing or forbidden: the client wraps it."""
    while error is not None and not isinstance(error, (FileNotFoundError, PermissionError)):
        error = error.__context__
    return error


def _follow(client: APIClient, container: str, since: float, tail: _ended.Tail) -> float:
    """Log what a container says until it ends or the connection breaks; return the time of the last line."""
    last, rest = since or time.time(), b""
    try:
        for piece in client.logs(container, stream=True, follow=True, since=since or None):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                _show(line, tail)
            last = time.time()
    except _UNREACHABLE as error:
        log.warning("reopened_log_stream reason=%s", error)
    if rest:
        _show(rest, tail)
    return last


def _show(line: bytes, tail: _ended.Tail) -> None:
    text = line.decode(errors="replace").rstrip("\r")
    tail.add(text)
    log.info("%s", tail.label + text)


def _folders(config: Config, writes_repository: bool) -> dict[str, bool]:
    """The host folders that a container sees, and whether it may write to them."""
    shared = _shared(config)
    # The engine wants a folder to be there.
    for path in (config.cache, config.state):
        if path:
            Path(path).mkdir(parents=True, exist_ok=True)
    folders = {}
    if config.repository.startswith("/"):
        repository = Path(config.repository)
        # Not by a missing .git: Airflow's own container sees datasets/ of the repository alone.
        bare = (repository / "HEAD").is_file()
        git = repository if bare else repository / ".git"
        folders[str(git)] = False
        if writes_repository:
            folders |= dict.fromkeys(spec.folders_of_push(str(git)), True)
            if git.is_dir():
                (git / "refs" / "exps").mkdir(parents=True, exist_ok=True)
    if config.data and Path(config.data).is_dir():
        folders[config.data] = False
    return folders | dict.fromkeys(shared, True)


def _shared(config: Config) -> list[str]:
    """Cache and state; or the folder that holds both, where it holds nothing else of ours.

    Nothing can be linked from one mount to another: in two, DVC would copy every output into the cache.
    """
    folders = [path for path in (config.cache, config.state) if path]
    above = {str(Path(path).parent) for path in folders}
    if len(folders) == 2 and len(above) == 1 and not Path(config.repository).is_relative_to(*above):
        return [*above]
    return folders
