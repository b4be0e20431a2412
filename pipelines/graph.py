"""Read dvc.yaml as a graph of stages, with a YAML parser alone.

A scheduler parses its DAG files again and again. DVC would need 0.4 to 0.7 s for it, its import included.
Values that DVC fills in from the params stay open, because each run has params of its own: a `foreach` stage
is one stage with open members, and its paths are known up to `${…}`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

# Safe, in C where PyYAML has it: that reads dvc.yaml in a tenth of the time.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEMPLATE = re.compile(r"\$\{[^}]*\}")
_OUTPUT_KEYS = ("outs", "metrics", "plots")
# The commands that CONVOY_PROCESSES starts as several processes which train together.
_TRAINS = re.compile(r"\bpython -m stages\.train\b")
SETTINGS: dict[str, type] = {
    "image": str,
    "cpu": float,
    "memory": str,
    "gpu": int,
    "nodes": int,
    "pool": str,
    "retries": int,
    "timeout": int,
    "messages": list,
    "approval": str,
}


# The pool of a task that names none.
DEFAULT_POOL = "default_pool"


class GraphError(Exception):
    """dvc.yaml holds something that cannot become a task."""


@dataclass(frozen=True)
class Settings:
    """How a stage is run: its `meta:` in dvc.yaml.

    Attributes:
        image: A target of docker/stage.Dockerfile, or any image by its full name.
        cpu: Cores; None for no limit.
        memory: A number with a unit that Docker and Kubernetes both accept: 4Gi; None for no limit.
        gpu: Number of GPUs of each process.
        nodes: Number of processes that train a network together; 1 for every stage that trains none.
        pool: The Airflow pool whose slots the task takes.
        retries: How often a transient error is retried.
        timeout: Minutes after which the task is stopped.
        messages: Names of events in the stage's log that are posted to the webhook.
        approval: A boolean param with which the stage changes nothing outside of the run. The stage waits for
            a person where the run's form asks for it, and a person who rejects sets the param. At most one
            stage has it.
        trains: Whether the stage's command trains networks; no key of `meta:`.
    """

    image: str = "data"
    cpu: float | None = None
    memory: str | None = None
    gpu: int = 0
    nodes: int = 1
    pool: str = DEFAULT_POOL
    retries: int = 2
    timeout: int = 24 * 60
    messages: tuple[str, ...] = ()
    approval: str = ""
    trains: bool = False

    def with_gpus(self, gpus: int | None) -> "Settings":
        """The same with a run's number of GPUs, where that is not None and the stage's image can use them."""
        return self if gpus is None or self.image != "train" else replace(self, gpu=gpus)

    def with_nodes(self, nodes: int | None) -> "Settings":
        """The same with a run's number of processes, where that is not None and the stage trains networks."""
        return self if nodes is None or not self.trains else replace(self, nodes=nodes)

    def with_pool(self, pool: str | None) -> "Settings":
        """The same with a run's pool, where that is not empty and the stage's `meta:` names none."""
        return replace(self, pool=pool) if pool and self.pool == DEFAULT_POOL else self

    @property
    def slots(self) -> int:
        """How many slots of its pool a task takes: one for each GPU of each process."""
        return max(1, self.gpu) * self.nodes


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml.

    Attributes:
        name: Its key in dvc.yaml.
        description: Its `desc:`.
        members: For a `foreach` stage, the params key whose entries are its members; else None.
        upstream: Names of the stages that it waits for directly.
        paired: Those of `upstream` of which a member needs only the member of the same name: predict@a needs
            train@a.
        settings: How it is run.
    """

    name: str
    description: str
    members: str | None
    upstream: frozenset[str]
    paired: frozenset[str]
    settings: Settings

    def addresses(self, params: Mapping[str, Any]) -> list[str]:
        """List what DVC calls the stage under these params: NAME, or NAME@MEMBER for each member."""
        if self.members is None:
            return [self.name]
        section: Any = params
        for key in self.members.split("."):
            section = section.get(key) or {}
        return [f"{self.name}@{member}" for member in section]


def load(path: Path) -> dict[str, Stage]:
    """Read the stages of a dvc.yaml.

    Args:
        path: The file.

    Returns:
        The stages by name, each after those it depends on.

    Raises:
        GraphError: A stage cannot become a task.
    """
    declared = yaml.load(path.read_bytes(), Loader=_LOADER)["stages"]  # noqa: S506
    bodies = {name: stage.get("do", stage) for name, stage in declared.items()}
    ancestors = _direct_upstream(bodies)
    stages = {
        name: Stage(
            name=name,
            description=str(bodies[name].get("desc", "")),
            members=_members_key(name, declared[name]),
            upstream=(upstream := _without_transitive(ancestors[name], ancestors)),
            paired=frozenset(other for other in upstream if _pairs(declared[other], declared[name])),
            settings=_settings(name, declared[name].get("meta", bodies[name].get("meta", {})), bodies[name]),
        )
        for name in bodies
    }
    _check_approval(stages)
    return {name: stages[name] for name in _topological_order(ancestors)}


def _direct_upstream(bodies: Mapping[str, Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """By stage, the stages whose outputs it reads: certain ones first, then what `${item.…}` may name."""
    upstream: dict[str, frozenset[str]] = {name: frozenset() for name in bodies}
    for certain in (True, False):
        for name, body in bodies.items():
            for other, producer in bodies.items():
                if _feeds(producer, body, certain) and name not in _ancestors(other, upstream) | {other}:
                    upstream[name] |= {other}
    return upstream


def _members_key(name: str, declared: Mapping[str, Any]) -> str | None:
    """The params key that `foreach` names."""
    if "matrix" in declared:
        raise GraphError(
            f"dvc.yaml: {name}: matrix is not supported; foreach over a section of the params is"
        )
    section = declared.get("foreach")
    if section is None:
        return None
    if not isinstance(section, str) or not re.fullmatch(r"\$\{[\w.]+\}", section):
        raise GraphError(f"dvc.yaml: {name}: foreach must name a section of the params: ${{models}}")
    return section[2:-1]


def _check_approval(stages: Mapping[str, Stage]) -> None:
    """Refuse more than one question to a person in a run, and one for each member."""
    waiting = [stage for stage in stages.values() if stage.settings.approval]
    if len(waiting) > 1 or any(stage.members for stage in waiting):
        names = ", ".join(stage.name for stage in waiting)
        raise GraphError(f"dvc.yaml: {names}: one stage, without foreach, may have meta.approval")


def _settings(name: str, meta: Mapping[str, Any], body: Mapping[str, Any]) -> Settings:
    """Check a stage's `meta`."""
    for key, value in meta.items():
        if key not in SETTINGS:
            raise GraphError(f"dvc.yaml: {name}: meta has no {key}; it has {', '.join(SETTINGS)}")
        allowed = (int, float) if SETTINGS[key] is float else SETTINGS[key]
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise GraphError(f"dvc.yaml: {name}: meta.{key} is {value!r}; must be {SETTINGS[key].__name__}")
    values: dict[str, Any] = {**meta, "messages": tuple(meta.get("messages", ()))}
    # A `cmd` may be a list of commands.
    settings = Settings(**values, trains=bool(_TRAINS.search(str(body.get("cmd", "")))))
    if settings.nodes < 1 or (settings.nodes > 1 and not settings.trains):
        must = "a number from 1" if settings.trains else "1, as the stage trains no network"
        raise GraphError(f"dvc.yaml: {name}: meta.nodes is {settings.nodes}; must be {must}")
    return settings


def _feeds(producer: Mapping[str, Any], consumer: Mapping[str, Any], certain: bool) -> bool:
    """Whether an output of one stage can be a dependency of the other.

    A path that is `${item.…}` as a whole is a folder that another stage makes, so it can be any folder among
    the outputs (`certain` is False): `${item.input}` is data/packed or features/NAME, never a report.
    Other templates, such as `${ingest.source.path}`, are what a user brings and no output.
    """
    for dep in _paths(consumer, ("deps",)):
        if _TEMPLATE.fullmatch(dep):
            if (
                not certain
                and dep.startswith("${item.")
                and any(map(_is_folder, _paths(producer, ("outs",))))
            ):
                return True
        elif any(_overlap(dep, out) for out in _paths(producer, _OUTPUT_KEYS)):
            return True
    return False


def _is_folder(out: str) -> bool:
    """Whether an output is a folder: DVC declares folders and files alike, so a suffix decides."""
    return not Path(_TEMPLATE.sub("x", out)).suffix


def _pairs(producer: Mapping[str, Any], consumer: Mapping[str, Any]) -> bool:
    """Whether a member of one foreach stage needs of the other only the member of the same name."""
    if "foreach" not in consumer or producer.get("foreach") != consumer["foreach"]:
        return False
    outs = list(_paths(producer["do"], _OUTPUT_KEYS))
    deps = [dep for dep in _paths(consumer["do"], ("deps",)) if any(_overlap(dep, out) for out in outs)]
    return all("${key}" in dep for dep in deps if not _TEMPLATE.fullmatch(dep))


def _paths(body: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[str]:
    """The paths of lists whose entries are a path or a mapping from a path to its options."""
    for key in keys:
        for entry in body.get(key, []):
            yield entry if isinstance(entry, str) else next(iter(entry))


def _overlap(first: str, second: str) -> bool:
    """Whether one path can equal the other, or be inside it."""
    for left, right in zip(first.strip("/").split("/"), second.strip("/").split("/"), strict=False):
        if left == right:
            continue
        template, text = (left, right) if "${" in left else (right, left)
        if "${" not in template:
            return False
        # Two templates can always be equal.
        if "${" not in text and not re.fullmatch(".+".join(map(re.escape, _TEMPLATE.split(template))), text):
            return False
    return True


def _ancestors(name: str, upstream: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Every stage that this stage waits for, directly or not."""
    ancestors: set[str] = set()
    pending = list(upstream[name])
    while pending:
        if (parent := pending.pop()) not in ancestors:
            ancestors.add(parent)
            pending += upstream[parent]
    return frozenset(ancestors)


def _without_transitive(direct: frozenset[str], upstream: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Leave out stages that another of them already waits for, so that the drawn graph stays readable."""
    return frozenset(
        name for name in direct if not any(name in _ancestors(other, upstream) for other in direct - {name})
    )


def _topological_order(upstream: Mapping[str, frozenset[str]]) -> list[str]:
    """Names so that each comes after those it waits for, otherwise in the file's order.

    Not by graphlib: its order is by depth. Where a stage stands above one that it waits for, it even differs
    from process to process, as these are sets.
    """
    order: list[str] = []
    while len(order) < len(upstream):
        order.append(next(name for name in upstream if name not in order and upstream[name] <= set(order)))
    return order
