"""A request for a container that asks for more than a stage needs, in any spelling, is refused."""

import json
from typing import Any

import pytest

from pipelines.proxy import spec
from tests.docker.proxy.conftest import House

pytestmark = pytest.mark.slow

HOST = '"HostConfig": {'
# What the engine's parser takes for the key on the left: Go folds Unicode, knows no case, and takes the last
# of two.
SPELLINGS = {
    "Binds, with a long s": '"Bind\u017f": ["/etc:/x"], ',
    "Binds, with an escaped long s": '"Bind\\u017f": ["/etc:/x"], ',
    "binds, in lower case": '"binds": ["/etc:/x"], ',
    "NetworkMode, with the sign of Kelvin": '"Networ\u212aMode": "host", ',
    "NetworkMode, escaped": '"Networ\\u212aMode": "host", ',
    "Privileged, escaped": '"\\u0050rivileged": true, ',
    "Privileged, spaced": '"Privileged" \t:\n true, ',
    "Mounts, twice": '"mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x"}], ',
}


@pytest.mark.parametrize("key", SPELLINGS.values(), ids=SPELLINGS)
def test_another_spelling_of_a_key_is_no_way_round(house: House, key: str) -> None:
    body = json.dumps(spec.request(house.container()))
    assert HOST in body
    assert house.create(body.replace(HOST, HOST + key))[0] == 403


@pytest.mark.parametrize("spelling", ["Source", "\u017fource", "\\u017fource"])
@pytest.mark.parametrize(
    "path", ["/etc", "HOME/../../../etc", "HOME\\/..\\/..\\/..\\/etc", "HOME/link", "HOME/"]
)
def test_only_the_shared_folders_themselves_are_mounted(house: House, path: str, spelling: str) -> None:
    # A stage can put a link anywhere below the folder it writes to, between a check of ours and the mount.
    link = house.root / "home" / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    source = path.replace("HOME", str(house.root / "home"))
    body = json.dumps(spec.request(house.container()))
    mount = f'{{"Type": "bind", "{spelling}": "{source}", "Target": "/x", "ReadOnly": true}}, '
    assert house.create(body.replace('"Mounts": [', f'"Mounts": [{mount}'))[0] == 403
    own = f'"Source": "{house.root}/home"'
    assert own in body
    assert house.create(body.replace(own, f'{own}, "{spelling}": "{source}"'))[0] == 403


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Privileged", True),
        ("CapAdd", ["SYS_ADMIN"]),
        ("CapDrop", []),
        ("Devices", [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]),
        ("DeviceCgroupRules", ["a *:* rwm"]),
        ("SecurityOpt", ["seccomp=unconfined"]),
        ("PidMode", "host"),
        ("IpcMode", "host"),
        ("UTSMode", "host"),
        ("UsernsMode", "host"),
        ("CgroupnsMode", "host"),
        ("CgroupParent", "/"),
        ("NetworkMode", "host"),
        ("NetworkMode", "container:postgres"),
        ("NetworkMode", "bridge"),
        ("Binds", ["/:/host"]),
        ("VolumesFrom", ["postgres"]),
        ("VolumeDriver", "local"),
        ("PortBindings", {"80/tcp": [{"HostPort": "8080"}]}),
        ("PublishAllPorts", True),
        ("Runtime", "runc"),
        ("Sysctls", {"kernel.shm_rmid_forced": "1"}),
        ("GroupAdd", ["0"]),
        ("ReadonlyRootfs", False),
        ("ReadonlyRootfs", 1),
        ("Memory", 0),
        ("Memory", -1),
        ("MemorySwap", -1),
        ("PidsLimit", 0),
        ("OomScoreAdj", -1000),
        ("OomKillDisable", True),
        ("LogConfig", {"Type": "syslog", "Config": {"syslog-address": "tcp://10.0.0.1:514"}}),
        ("ExtraHosts", ["mlflow:10.0.0.1"]),
        ("RestartPolicy", {"Name": "always"}),
        ("MaskedPaths", []),
        ("Tmpfs", {"/opt": ""}),
        ("Links", ["postgres:db"]),
        ("DeviceRequests", [{"Count": -1, "Capabilities": [["gpu"]]}]),
        ("DeviceRequests", [{"Count": 1, "Capabilities": [["compute"]]}]),
    ],
)
def test_more_than_a_stage_needs_is_refused(house: House, key: str, value: Any) -> None:
    body = spec.request(house.container())
    body["HostConfig"][key] = value
    status, answer = house.create(body)
    assert status == 403, answer


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Image", "debian:bookworm-slim"),
        ("Cmd", ["sh"]),
        ("Entrypoint", ["sh"]),
        ("User", "0:0:0"),
        ("Labels", {spec.RUN_LABEL: "run-1", spec.STACK_LABEL: "other"}),
        ("Hostname", "mlflow"),
        ("NetworkingConfig", {"EndpointsConfig": {"bridge": {}}}),
        ("Volumes", {"/opt/convoy": {}}),
        ("Env", ["no assignment"]),
        ("Env", "A=1"),
    ],
)
def test_what_is_fixed_cannot_be_chosen(house: House, key: str, value: Any) -> None:
    assert house.create(spec.request(house.container()) | {key: value})[0] == 403


def test_a_name_that_could_be_a_services_is_refused(house: House) -> None:
    body = spec.request(house.container())
    for name in ("mlflow", "postgres", "convoy_mlflow_1", "", "convoy-a/b"):
        assert house.create(body, name=name or "%00")[0] == 403
