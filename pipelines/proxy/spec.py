"""A stage's container as a request to the engine: the closed schema that the docker runner and the proxy
share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RUN_LABEL = "org.convoy.run"
STACK_LABEL = "org.convoy.stack"
COMMAND = ("python", "-m", "pipelines.worker")
# On disk, removed with the container: the rest of a container's root is read only. Keras and matplotlib write
# to the home; a tmpfs would count as the stage's memory.
SCRATCH = ("/tmp", "/home/convoy")  # noqa: S108
_NAME = re.compile(r"convoy-[A-Za-z0-9_.-]{1,240}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


class RefusedError(Exception):
    """The request asks for more than a stage's container needs."""


@dataclass(frozen=True)
class Container:
    """What may differ between the containers of two stages; everything else is fixed in `request`.

    Attributes:
        image: Name of the image, with its tag.
        run: Name of the run, for the label that people filter by.
        user: `UID:GID` of the process.
        network: Name of the network it is attached to.
        variables: `NAME=VALUE`, one per environment variable.
        folders: Host folders, each mounted at its own path, and whether the container may write to it.
        memory: Limit in bytes; there is no swap beyond it.
        nano_cpus: Limit in 10^-9 cores; 0 for all cores.
        gpus: Count of GPUs.
    """

    image: str
    run: str
    user: str
    network: str
    variables: tuple[str, ...]
    folders: Mapping[str, bool]
    memory: int
    nano_cpus: int = 0
    gpus: int = 0


@dataclass(frozen=True)
class Policy:
    """What a container may be at most.

    Attributes:
        images: Names of the images that may be run.
        folders: Folders that may be mounted, and whether they may be written to. They are compared as text,
            and no container may write to the folder above one of them: no stage can put a link in their
            place.
        user: The only `UID:GID`.
        network: The only network.
        memory: Largest limit in bytes; a higher request gets this one.
        nano_cpus: Largest limit in 10^-9 cores; a higher request gets this one.
    """

    images: frozenset[str]
    folders: Mapping[str, bool]
    user: str
    network: str
    memory: int
    nano_cpus: int

    def __post_init__(self) -> None:
        """Raises RefusedError where a folder that may be written to has another of the folders in it."""
        for above in (path for path, writable in self.folders.items() if writable):
            for path in self.folders:
                if path.startswith(f"{above.rstrip('/')}/"):
                    raise RefusedError(
                        f"{above} may be written to and holds {path}; name another CONVOY_HOME"
                    )

    def check(self, container: Container) -> None:
        """Raises RefusedError for the first thing that is not allowed."""
        if container.image not in self.images:
            raise RefusedError(f"image {container.image}; allowed: {', '.join(sorted(self.images))}")
        if container.user != self.user:
            raise RefusedError(f"user {container.user}; allowed: {self.user}")
        if container.network != self.network:
            raise RefusedError(f"network {container.network}; allowed: {self.network}")
        for path, writable in container.folders.items():
            if path not in self.folders:
                raise RefusedError(f"mount of {path}; allowed: {', '.join(sorted(self.folders))}")
            if writable and not self.folders[path]:
                raise RefusedError(f"mount of {path} to write to it; allowed: read only")


def request(container: Container) -> dict[str, Any]:
    """Build the body of `POST /containers/create`.

    Args:
        container: What differs between stages.

    Returns:
        The body: a read-only root, no capabilities, no new privileges, limits, bounded logs.
    """
    gpus = [{"Count": container.gpus, "Capabilities": [["gpu"]]}] if container.gpus else []
    return {
        "Image": container.image,
        "Cmd": [*COMMAND],
        "Env": [*container.variables],
        "User": container.user,
        "Labels": {RUN_LABEL: container.run},
        "Volumes": {path: {} for path in SCRATCH},
        "HostConfig": {
            "NetworkMode": container.network,
            "Mounts": [
                {"Type": "bind", "Source": path, "Target": path, "ReadOnly": not writable}
                for path, writable in container.folders.items()
            ],
            "Memory": container.memory,
            "MemorySwap": container.memory,
            "NanoCpus": container.nano_cpus,
            # Half of a service's share: PostgreSQL and the scheduler answer while stages train.
            "CpuShares": 512,
            # And where the host has no memory left, the kernel ends a stage first.
            "OomScoreAdj": 500,
            "PidsLimit": 4096,
            # TensorFlow and OpenCV put threads' buffers there; Docker's default is 64 MB.
            "ShmSize": 1 << 30,
            "DeviceRequests": gpus,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "2"}},
        },
    }


def parse(body: Any) -> Container:
    """Read a body that `request` has built.

    Args:
        body: The decoded JSON.

    Returns:
        The container for which `request` gives this very body.

    Raises:
        RefusedError: It differs from such a body in any key or value.
    """
    try:
        host = body["HostConfig"]
        container = Container(
            image=_text(body["Image"]),
            run=_text(body["Labels"][RUN_LABEL]),
            user=_text(body["User"]),
            network=_text(host["NetworkMode"]),
            variables=tuple(map(_text, body["Env"])),
            folders={_text(mount["Source"]): not mount["ReadOnly"] for mount in host["Mounts"]},
            memory=_count(host["Memory"]),
            nano_cpus=_count(host["NanoCpus"]),
            gpus=sum(_count(device["Count"]) for device in host["DeviceRequests"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RefusedError(f"not the request of a stage's container: {error!r}") from None
    if container.memory < 6 << 20:
        raise RefusedError(f"memory {container.memory}; must be at least 6 MiB")
    if wrong := [text for text in container.variables if not _VARIABLE.match(text)]:
        raise RefusedError(f"variable {wrong[0]!r} is not NAME=VALUE")
    if differing := sorted(_differing(request(container), body)):
        raise RefusedError(f"no stage's container has this: {', '.join(differing)}")
    return container


def check_name(name: str) -> None:
    """Raises RefusedError for a name that could be that of a service in the network."""
    if not _NAME.fullmatch(name):
        raise RefusedError(f"name {name!r}; must begin with convoy-, and hold letters, digits, _, . and -")


def bytes_of(amount: str) -> int:
    """A number with a unit of Kubernetes, in bytes: `512Mi`, `8Gi`, `2G`. Raises ValueError for another."""
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", amount)
    if matched is None or matched[2] not in _UNITS:
        raise ValueError(f"memory is {amount!r}; allowed: a number with {', '.join(filter(None, _UNITS))}")
    return int(float(matched[1]) * _UNITS[matched[2]])


def folders_of_push(git: str) -> list[str]:
    """The folders that a push of an experiment writes to; git takes no command from a file in them.

    The rest stays read only. A `commondir` would name another configuration, and the host's next `git status`
    would run its `core.fsmonitor`.

    Args:
        git: A repository's `.git`, or a bare repository.
    """
    return [f"{git}/objects", f"{git}/refs/exps"]


def _differing(expected: Any, body: Any, key: str = "") -> set[str]:
    """Dotted keys at which two JSON values differ."""
    if isinstance(expected, dict) and isinstance(body, dict):
        return {
            place
            for name in {*expected, *body}
            for place in _differing(expected.get(name), body.get(name), f"{key}.{name}".lstrip("."))
        } | {f"{key}.{name}".lstrip(".") for name in expected.keys() ^ body.keys()}
    return set() if expected == body and type(expected) is type(body) else {key}


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"{value!r} is no text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value
