"""The proxy before a real engine: what a stage needs passes, every known way to take over the host does
not."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipelines.proxy import spec
from tests.docker.conftest import Proxy, docker, started_proxy

pytestmark = pytest.mark.slow

TINY = "convoy/tiny:test"
# An image whose worker is the script in the variable SCRIPT.
DOCKERFILE = r"""
FROM debian:bookworm-slim
RUN printf '#!/bin/sh\nexec sh -c "$SCRIPT"\n' >/usr/local/bin/python && chmod 755 /usr/local/bin/python
RUN mkdir -p /home/convoy && chmod 1777 /home/convoy
"""
SECRET = "the-password-of-the-database"


class House:
    """A host with a proxy, a repository, a shared folder, and a service whose variables are secret."""

    def __init__(self, proxy: Proxy, root: Path, network: str, victim: str) -> None:
        self.proxy, self.root, self.network, self.victim = proxy, root, network, victim

    def container(self, script: str = "true") -> spec.Container:
        """What the docker runner asks for."""
        return spec.Container(
            image=TINY,
            run="run-1",
            user=f"{os.getuid()}:{os.getgid()}",
            network=self.network,
            variables=(f"SCRIPT={script}",),
            folders={str(self.root / "repository" / ".git"): False, str(self.root / "home"): True},
            memory=64 << 20,
            nano_cpus=5 * 10**8,
        )

    def create(self, body: str | dict[str, Any], name: str = "", prefix: str = "/v1.41") -> tuple[int, Any]:
        """Send a create request as it is written."""
        text = body if isinstance(body, str) else json.dumps(body)
        name = name or f"convoy-{uuid4().hex}"
        return self.proxy.send("POST", f"{prefix}/containers/create?name={name}", text.encode())

    def created(self, script: str) -> str:
        """Create a container that is allowed; return its id."""
        status, answer = self.create(spec.request(self.container(script)))
        assert status == 201, answer
        return str(answer["Id"])

    def inspected(self, container: str) -> dict[str, Any]:
        """What the engine itself knows of a container."""
        shown: dict[str, Any] = json.loads(docker("inspect", container))[0]
        return shown


@pytest.fixture(scope="module")
def house(proxy_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    (root / "home").mkdir()
    (root / "repository" / ".git" / "hooks").mkdir(parents=True)
    (root / "repository" / ".git" / "config").touch()
    (root / "repository" / "datasets").mkdir()
    docker("build", "--tag", TINY, "-", input=DOCKERFILE, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    network = docker("network", "create", f"convoy-{uuid4().hex[:8]}")
    victim = docker("run", "--detach", f"--env=PASSWORD={SECRET}", TINY, "sleep", "1000")
    try:
        with started_proxy(
            proxy_image,
            HOME=str(root / "home"),
            REPOSITORY=str(root / "repository"),
            DATA=str(root / "repository" / "datasets"),
            UID=str(os.getuid()),
            GID=str(os.getgid()),
            DOCKER_NETWORK=network,
            STACK="test",
            IMAGES=TINY,
            UNATTENDED="4",
        ) as proxy:
            yield House(proxy, root, network, victim)
    finally:
        ours = docker("ps", "--all", "--quiet", "--filter", f"label={spec.STACK_LABEL}=test").split()
        docker("rm", "--force", "--volumes", victim, *ours)
        docker("network", "rm", network)


def test_a_stage_runs_and_is_watched_to_its_end(house: House) -> None:
    container = house.created(f"echo hello; echo seen >{house.root}/home/file; exit 7")
    assert house.proxy.send("POST", f"/v1.41/containers/{container}/start")[0] == 204
    status, log = house.proxy.send("GET", f"/v1.41/containers/{container}/logs?follow=1&stdout=1&stderr=1")
    assert (status, log[8:]) == (200, "hello\n"), "a frame's header is 8 bytes"
    assert house.proxy.send("POST", f"/containers/{container}/wait") == (200, {"StatusCode": 7})
    assert (house.root / "home" / "file").read_text() == "seen\n"
    _, shown = house.proxy.send("GET", f"/containers/{container}/json")
    assert shown["State"]["ExitCode"] == 7
    assert "SCRIPT" not in json.dumps(shown), "variables hold passwords"
    volumes = [mount["Name"] for mount in house.inspected(container)["Mounts"] if mount["Type"] == "volume"]
    assert len(volumes) == len(spec.SCRATCH)
    assert house.proxy.send("DELETE", f"/containers/{container}")[0] == 204
    assert not set(volumes) & set(docker("volume", "ls", "--quiet").split()), "left on the disk"


def test_a_stage_has_no_rights_and_limits(house: House) -> None:
    script = """
        touch /file 2>/dev/null && echo writes its root
        touch /tmp/file /home/convoy/file || echo has no scratch
        grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status"""
    container = house.created(script)
    house.proxy.send("POST", f"/containers/{container}/start")
    _, log = house.proxy.send("GET", f"/containers/{container}/logs")
    assert "0000000000000000" in log
    assert "NoNewPrivs:\t1" in log
    assert "writes" not in log
    assert "scratch" not in log
    host = house.inspected(container)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (64 << 20, 64 << 20)
    assert host["NanoCpus"] == 5 * 10**8
    assert host["PidsLimit"] == 4096
    assert host["LogConfig"]["Config"] == {"max-size": "50m", "max-file": "2"}
    house.proxy.send("DELETE", f"/containers/{container}")


def test_a_limit_above_the_hosts_becomes_the_hosts(house: House) -> None:
    status, answer = house.create(spec.request(replace(house.container(), memory=1 << 50, nano_cpus=10**15)))
    assert status == 201, answer
    host = house.inspected(answer["Id"])["HostConfig"]
    assert host["Memory"] < 1 << 45
    assert host["NanoCpus"] == int(docker("info", "--format", "{{.NCPU}}")) * 10**9
    house.proxy.send("DELETE", f"/containers/{answer['Id']}")


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


@pytest.mark.parametrize("version", ["", "/v1.18", "/v1.23", "/v1.41"])
def test_a_start_takes_no_configuration(house: House, version: str) -> None:
    container = house.created("sleep 1000")
    binds = json.dumps({"Binds": ["/etc:/x"], "Privileged": True}).encode()
    path = f"{version}/containers/{container}/start"
    assert house.proxy.send("POST", path, binds)[0] == 403
    assert house.inspected(container)["State"]["Running"] is False
    assert house.proxy.send("POST", path)[0] == 204
    assert house.inspected(container)["HostConfig"]["Privileged"] is False
    assert house.proxy.send("DELETE", f"/containers/{container}?force=1")[0] == 204


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("GET", "/json"),
        ("GET", "/logs"),
        ("POST", "/wait"),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("DELETE", ""),
    ],
)
def test_containers_of_others_are_out_of_reach(house: House, method: str, call: str) -> None:
    status, answer = house.proxy.send(method, f"/v1.41/containers/{house.victim}{call}")
    assert status == 404
    assert SECRET not in str(answer)
    assert house.inspected(house.victim)["State"]["Running"] is True


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/images/create?fromImage=debian"),
        ("POST", "/build"),
        ("POST", "/images/load"),
        ("POST", "/commit?container=ID"),
        ("GET", "/containers/json"),
        ("GET", "/containers/json?all=1"),
        ("GET", "/info"),
        ("GET", "/events"),
        ("GET", "/images/json"),
        ("GET", "/images/debian:bookworm-slim/json"),
        ("GET", "/images/debian:bookworm-slim/get"),
        ("DELETE", f"/images/{TINY}"),
        ("POST", "/volumes/create"),
        ("GET", "/volumes"),
        ("POST", "/networks/create"),
        ("POST", "/swarm/init"),
        ("POST", "/plugins/pull?remote=any"),
        ("POST", "/session"),
        ("POST", "/grpc"),
        ("POST", "/containers/ID/exec"),
        ("POST", "/containers/ID/attach?stream=1&stdin=1"),
        ("POST", "/containers/ID/kill?signal=KILL"),
        ("POST", "/containers/ID/update"),
        ("POST", "/containers/ID/rename?name=convoy-x"),
        ("GET", "/containers/ID/archive?path=/"),
        ("PUT", "/containers/ID/archive?path=/"),
        ("GET", "/containers/ID/export"),
        ("GET", "/containers/ID/top"),
        ("GET", "/containers/%2e%2e/info"),
        ("POST", "/containers/%63reate"),
        ("POST", "//containers/create"),
        ("POST", "/v1.41/../containers/create"),
        ("POST", "/containers/create/"),
    ],
)
def test_other_calls_are_refused(house: House, method: str, path: str) -> None:
    container = house.created("true") if "ID" in path else ""
    body = b"" if method == "GET" else json.dumps(spec.request(house.container())).encode()
    status, answer = house.proxy.send(method, path.replace("ID", container), body)
    assert status in (403, 501), answer
    status, answer = house.proxy.send(method, path.replace("ID", container))
    assert status in (403, 501), answer
    if container:
        house.proxy.send("DELETE", f"/containers/{container}")


def test_a_request_cannot_hide_another(house: House) -> None:
    hidden = b"POST /images/create?fromImage=x HTTP/1.1\r\nHost: a\r\n\r\n"
    start = b"GET /version HTTP/1.1\r\nHost: a\r\n"
    two = start + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    chunked = start + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    minus = start + b"Content-Length: -1\r\n\r\n"
    for text in (two, chunked, minus):
        answer = house.proxy.raw(text + hidden)
        assert b" 403 " in answer.split(b"\r\n")[0]
    large = b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
    assert b" 403 " in house.proxy.raw(large).split(b"\r\n")[0]
    deep = b"[" * 200_000
    assert house.proxy.send("POST", "/containers/create?name=convoy-deep", deep)[0] == 403


def test_record_writes_to_the_repository_but_not_to_what_git_runs(house: House) -> None:
    git = house.root / "repository" / ".git"
    script = f"""
        cd {git}; touch seen
        touch hooks/post-checkout; echo '[core]' >config; mv hooks other; mv config other"""
    wanted = replace(house.container(script), folders={str(git): True, str(house.root / "home"): True})
    status, answer = house.create(spec.request(wanted))
    assert status == 201, answer
    house.proxy.send("POST", f"/containers/{answer['Id']}/start")
    house.proxy.send("POST", f"/containers/{answer['Id']}/wait")
    assert (git / "seen").exists()
    assert list((git / "hooks").iterdir()) == []
    assert (git / "config").read_text() == ""
    house.proxy.send("DELETE", f"/containers/{answer['Id']}")
    # Without the two mounts that protect them, the request is none of ours.
    body = spec.request(wanted)
    body["HostConfig"]["Mounts"] = body["HostConfig"]["Mounts"][:2]
    assert house.create(body)[0] == 403


def test_a_container_that_no_runner_follows_is_stopped(house: House) -> None:
    script = "trap 'echo stopped; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    unfollowed, followed = house.created(script), house.created(script)
    for container in (unfollowed, followed):
        house.proxy.send("POST", f"/containers/{container}/start")
    stream = threading.Thread(target=house.proxy.send, args=("GET", f"/containers/{followed}/logs"))
    stream.start()
    assert house.proxy.send("POST", f"/containers/{unfollowed}/wait") == (200, {"StatusCode": 3})
    assert house.inspected(followed)["State"]["Running"] is True
    assert house.proxy.send("POST", f"/containers/{followed}/stop?t=5")[0] == 204
    stream.join()
    for container in (unfollowed, followed):
        house.proxy.send("DELETE", f"/containers/{container}")


def test_a_stream_whose_client_went_does_not_count(house: House) -> None:
    container = house.created("trap 'exit 3' TERM; while :; do sleep 0.1; done")
    house.proxy.send("POST", f"/containers/{container}/start")
    answer = house.proxy.raw(b"GET /containers/%s/logs HTTP/1.1\r\nHost: a\r\n\r\n" % container.encode())
    assert b"200 OK" in answer
    assert house.proxy.send("POST", f"/containers/{container}/wait") == (200, {"StatusCode": 3})
    house.proxy.send("DELETE", f"/containers/{container}")


def test_the_proxy_says_what_is_not_set(proxy_image: str) -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "--env=CONVOY_HOME=/a", proxy_image],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: not set: CONVOY_REPOSITORY, ")
