"""dvc.yaml as a graph of stages: read with a YAML parser alone, so that a scheduler can do it at every look.

DVC itself would need 0.4 to 0.7 s for it, its import included. What it fills in from the params is left open
here, because the params are those of a run and not known before it: a `foreach` stage stays one stage with
open members, and what its paths will be is known up to `${…}`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Safe, in C where PyYAML has it: that reads dvc.yaml in a tenth of the time.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEMPLATE = re.compile(r"\$\{[^}]*\}")
SETTINGS: dict[str, type] = {
    "image": str,
    "cpu": float,
    "memory": str,
    "gpu": int,
    "pool": str,
    "retries": int,
    "timeout": int,
}


class GraphError(Exception):
    """dvc.yaml holds something that cannot become a task."""


@dataclass(frozen=True)
class Settings:
    """How a stage is run, from `meta:` beside it in dvc.yaml.

    `image` names a target of docker/stage.Dockerfile, or any image by its full name; `cpu` is in cores,
    `memory` a number with a unit that docker and Kubernetes both know, `gpu` a count, `timeout` in minutes.
    """

    image: str = "data"
    cpu: float | None = None
    memory: str | None = None
    gpu: int = 0
    pool: str = "default_pool"
    retries: int = 2
    timeout: int = 24 * 60


@dataclass(frozen=True)
class Stage:
    """One stage. `members` is the params key whose entries a `foreach` stage has its members from.

    `paired` are those of `upstream` of which a member needs its own counterpart only: predict@a, train@a.
    """

    name: str
    description: str
    members: str | None
    upstream: frozenset[str]
    paired: frozenset[str]
    settings: Settings

    def addresses(self, params: Mapping[str, Any]) -> list[str]:
        """What DVC calls the stage under these params: its name, or NAME@MEMBER for each member."""
        if self.members is None:
            return [self.name]
        inside: Any = params
        for part in self.members.split("."):
            inside = inside.get(part) or {}
        return [f"{self.name}@{member}" for member in inside]


def load(path: Path) -> dict[str, Stage]:
    """The stages of a dvc.yaml by name, each after those it depends on. Raises GraphError."""
    declared = yaml.load(path.read_bytes(), Loader=_LOADER)["stages"]  # noqa: S506
    bodies = {name: stage.get("do", stage) for name, stage in declared.items()}
    upstream: dict[str, frozenset[str]] = {name: frozenset() for name in bodies}
    for sure in (True, False):
        for name, body in bodies.items():
            for other, maker in bodies.items():
                if _feeds(maker, body, sure) and name not in _all_before(other, upstream) | {other}:
                    upstream[name] |= {other}
    stages = {
        name: Stage(
            name=name,
            description=str(bodies[name].get("desc", "")),
            members=_members(name, declared[name]),
            upstream=(direct := _reduced(upstream[name], upstream)),
            paired=frozenset(one for one in direct if _pairs(declared[one], declared[name])),
            settings=_settings(name, declared[name].get("meta", bodies[name].get("meta", {}))),
        )
        for name in bodies
    }
    return {name: stages[name] for name in _ordered(upstream)}


def _members(name: str, declared: Mapping[str, Any]) -> str | None:
    """The params key that `foreach` names."""
    if "matrix" in declared:
        raise GraphError(
            f"dvc.yaml: {name}: matrix is not supported; foreach over a section of the params is"
        )
    over = declared.get("foreach")
    if over is None:
        return None
    if not isinstance(over, str) or not re.fullmatch(r"\$\{[\w.]+\}", over):
        raise GraphError(f"dvc.yaml: {name}: foreach must name a section of the params: ${{models}}")
    return over[2:-1]


def _settings(name: str, meta: Mapping[str, Any]) -> Settings:
    """Check a stage's `meta`."""
    for key, value in meta.items():
        if key not in SETTINGS:
            raise GraphError(f"dvc.yaml: {name}: meta has no {key}; it has {', '.join(SETTINGS)}")
        allowed = (int, float) if SETTINGS[key] is float else SETTINGS[key]
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise GraphError(f"dvc.yaml: {name}: meta.{key} is {value!r}; must be {SETTINGS[key].__name__}")
    return Settings(**meta)


def _feeds(maker: Mapping[str, Any], user: Mapping[str, Any], sure: bool) -> bool:
    """Whether an output of one stage can be a dependency of the other.

    `${item.…}` as a whole path can be any output: such a stage waits for all that do not wait for it (`sure`
    is False). Other values of the params, as `${ingest.source.path}`, are what a user brings, no output.
    """
    for dep in _paths(user, "deps"):
        whole = _TEMPLATE.fullmatch(dep)
        if whole and not sure and dep.startswith("${item."):
            return True
        if not whole and any(_overlap(dep, out) for kind in _OUTS for out in _paths(maker, kind)):
            return True
    return False


def _pairs(maker: Mapping[str, Any], user: Mapping[str, Any]) -> bool:
    """Whether a member of one foreach stage needs of the other nothing but what the same member makes."""
    if "foreach" not in user or maker.get("foreach") != user["foreach"]:
        return False
    outs = [out for kind in _OUTS for out in _paths(maker["do"], kind)]
    deps = [dep for dep in _paths(user["do"], "deps") if any(_overlap(dep, out) for out in outs)]
    return all("${key}" in dep for dep in deps if not _TEMPLATE.fullmatch(dep))


_OUTS = ("outs", "metrics", "plots")


def _paths(body: Mapping[str, Any], kind: str) -> Iterator[str]:
    """The paths of a list that may hold options for them."""
    for one in body.get(kind, []):
        yield one if isinstance(one, str) else next(iter(one))


def _overlap(first: str, second: str) -> bool:
    """Whether one path can be the other, or lie in it."""
    for one, other in zip(first.strip("/").split("/"), second.strip("/").split("/"), strict=False):
        if one == other:
            continue
        template, text = (one, other) if "${" in one else (other, one)
        if "${" not in template:
            return False
        # Two templates side by side can always be the same.
        if "${" not in text and not re.fullmatch(".+".join(map(re.escape, _TEMPLATE.split(template))), text):
            return False
    return True


def _all_before(name: str, upstream: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Every stage that this one waits for, directly or not."""
    found: set[str] = set()
    ahead = list(upstream[name])
    while ahead:
        if (one := ahead.pop()) not in found:
            found.add(one)
            ahead += upstream[one]
    return frozenset(found)


def _reduced(direct: frozenset[str], upstream: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Without those that others of them wait for already: the image of the graph stays readable."""
    return frozenset(
        one for one in direct if not any(one in _all_before(other, upstream) for other in direct - {one})
    )


def _ordered(upstream: Mapping[str, frozenset[str]]) -> list[str]:
    """Names so that each comes after those it waits for, otherwise as the file has them."""
    order: list[str] = []
    while len(order) < len(upstream):
        order.append(next(name for name in upstream if name not in order and upstream[name] <= set(order)))
    return order
