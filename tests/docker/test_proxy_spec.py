"""The closed schema of a stage's container, without an engine."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from pipelines.proxy import spec

STAGE = spec.Container(
    image="convoy/train:latest",
    run="train-one",
    user="1000:1000",
    network="convoy_tasks",
    variables=("CONVOY_RUN=train-one", "CONVOY_PARAMS=a: 1\nb: ä\n"),
    folders={"/srv/project/.git": False, "/srv/project/datasets": False, "/srv/home": True},
    memory=4 << 30,
    nano_cpus=2 * 10**9,
    gpus=1,
)
POLICY = spec.Policy(
    images=frozenset({"convoy/train:latest"}),
    folders={"/srv/project/.git": True, "/srv/project/datasets": False, "/srv/home": True},
    user="1000:1000",
    network="convoy_tasks",
    memory=16 << 30,
    nano_cpus=8 * 10**9,
)


@pytest.mark.parametrize(
    "container", [STAGE, replace(STAGE, folders={"/srv/project/.git": True, "/srv/home": True}, gpus=0)]
)
def test_what_the_runner_builds_is_what_the_proxy_reads(container: spec.Container) -> None:
    sent = json.loads(json.dumps(spec.request(container)))
    assert spec.parse(sent) == container
    POLICY.check(container)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every object, list and value of a body."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in _places(item, (*path, key)))]


def test_no_place_of_the_request_takes_another_key() -> None:
    body = spec.request(STAGE)
    objects = 0
    for place in _places(body):
        changed = copy.deepcopy(body)
        target: Any = changed
        for key in place:
            target = target[key]
        if isinstance(target, dict):
            target["Any"] = "/etc"
            objects += 1
            with pytest.raises(spec.RefusedError):
                spec.parse(changed)
    assert objects > 8


@pytest.mark.parametrize("body", [None, [], "text", {}, {"HostConfig": None}, {"HostConfig": {"Mounts": 1}}])
def test_what_is_no_request_is_refused_in_one_line(body: Any) -> None:
    with pytest.raises(spec.RefusedError) as raised:
        spec.parse(body)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"image": "debian"}, "image debian; allowed: convoy/train:latest"),
        ({"user": "0:0"}, "user 0:0; allowed: 1000:1000"),
        ({"network": "host"}, "network host; allowed: convoy_tasks"),
        ({"folders": {"/srv": False}}, "mount of /srv; allowed: "),
        ({"folders": {"/srv/home/": True}}, "mount of /srv/home/; allowed: "),
        ({"folders": {"/srv/home/link": False}}, "mount of /srv/home/link; allowed: "),
        ({"folders": {"/srv/project/datasets": True}}, "mount of /srv/project/datasets to write to it"),
    ],
)
def test_the_policy_names_what_is_allowed(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(spec.RefusedError, match=f"^{says}"):
        POLICY.check(replace(STAGE, **changed))


@pytest.mark.parametrize(
    ("text", "count"),
    [("8Gi", 8 << 30), ("512Mi", 512 << 20), ("2G", 2 * 10**9), ("1.5Gi", 3 << 29), ("7", 7)],
)
def test_an_amount_of_memory_is_as_kubernetes_reads_it(text: str, count: int) -> None:
    assert spec.bytes_of(text) == count


@pytest.mark.parametrize("text", ["8gb", "", "-1", "much", "1 Gi"])
def test_another_amount_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: a number with k, M, G, T, Ki"):
        spec.bytes_of(text)


@pytest.mark.parametrize("home", ["/srv", "/srv/repository", "/"])
def test_a_home_that_holds_what_stages_may_not_write_to_is_refused(home: str) -> None:
    folders = {"/srv/repository/.git": False, "/srv/datasets": False, home: True}
    with pytest.raises(spec.RefusedError, match=f"{home} may be written to and holds /srv/"):
        replace(POLICY, folders=folders)
    replace(POLICY, folders=folders | {home: False, "/srv/repository/.convoy": True})
