"""What a pod's status says: why it waits, and how it ended."""

import re
from dataclasses import dataclass
from typing import Any

from pipelines.runners._pod import CONTAINER

# No retry helps: a name, a login or an object is wrong. The login is that of a pull alone: a network plug-in
# or a file server says the same words for a while, until its own login is renewed.
_PERMANENT = re.compile(
    r"InvalidImageName|persistentvolumeclaim \".*\" not found|secret \".*\" not found|couldn't find key"
    r"|manifest unknown|not found: |: not found|repository does not exist"
    r"|(ErrImagePull|Failed to pull image).*(unauthorized|authentication required|denied)"
)


@dataclass(frozen=True)
class Waiting:
    """Why a pod has not started.

    Attributes:
        text: The cluster's words; empty when it says nothing.
        permanent: Whether it can only start after a person has changed something.
    """

    text: str
    permanent: bool


def waiting(pod: Any, warning: str) -> Waiting:
    """Say why a pod has not started.

    Args:
        pod: A V1Pod.
        warning: Its newest warning event.

    Returns:
        The reason.
    """
    conditions = pod.status.conditions or []
    unscheduled = [
        condition
        for condition in conditions
        if condition.type == "PodScheduled" and condition.status == "False"
    ]
    starting = ("ContainerCreating", "PodInitializing")
    held = [state.waiting for state in _states(pod) if state.waiting and state.waiting.reason not in starting]
    texts = [f"{item.reason}: {item.message or ''}".rstrip(": ") for item in (*unscheduled, *held)]
    # A pull that fails is first said with its cause, and then, as ImagePullBackOff, without.
    if warning and not any(warning in text for text in texts):
        texts.append(warning)
    lines = [" ".join(text.split()) for text in texts]
    return Waiting("; ".join(lines), any(map(_PERMANENT.search, lines)))


def terminated(pod: Any) -> Any:
    """The terminated state of the stage's container; None while it has not ended."""
    return next((state.terminated for state in _states(pod) if state.terminated is not None), None)


def describe(pod: Any) -> str:
    """The cluster's own words on the end of a pod: an eviction, a reason, a signal."""
    ended = terminated(pod)
    words = [pod.status.reason, pod.status.message]
    if ended is not None and ended.reason not in ("Error", "Completed"):
        words.append(ended.reason)
    return ": ".join(" ".join(word.split()) for word in words if word)


def _states(pod: Any) -> list[Any]:
    statuses = pod.status.container_statuses or []
    return [status.state for status in statuses if status.name == CONTAINER and status.state is not None]
