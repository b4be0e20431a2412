"""What a stage needs passes the proxy, and a container that no runner follows ends."""

import json
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from pipelines.proxy import spec
from tests.docker.conftest import docker
from tests.docker.proxy.conftest import House

pytestmark = pytest.mark.slow


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


def test_a_runs_count_of_gpus_reaches_the_engine(house: House) -> None:
    status, answer = house.create(spec.request(replace(house.container(), gpus=3)))
    assert status == 201, answer
    (gpus,) = house.inspected(answer["Id"])["HostConfig"]["DeviceRequests"]
    assert (gpus["Count"], gpus["Capabilities"]) == (3, [["gpu"]])
    if "nvidia" not in docker("info", "--format", "{{.Runtimes}}"):
        status, refusal = house.proxy.send("POST", f"/containers/{answer['Id']}/start")
        assert status == 500
        assert "gpu" in refusal["message"]
    house.proxy.send("DELETE", f"/containers/{answer['Id']}")


def test_record_adds_experiments_to_the_repository_and_nothing_that_git_obeys(house: House) -> None:
    git = house.root / "repository" / ".git"
    before = {path: path.is_file() and path.read_bytes() for path in git.rglob("*")}
    script = f"""
        cd {git}; echo new >objects/new; echo new >refs/exps/new
        echo /tmp >commondir; echo new >HEAD; echo new >index; echo new >refs/heads/main
        echo new >hooks/post-checkout; echo new >config
        for name in hooks config HEAD refs/heads; do mv $name other; done
        mv refs other; mv objects other; ln -s /etc refs/link"""
    folders = {str(git): False, str(house.root / "home"): True} | dict.fromkeys(
        spec.folders_of_push(str(git)), True
    )
    status, answer = house.create(spec.request(replace(house.container(script), folders=folders)))
    assert status == 201, answer
    house.proxy.send("POST", f"/containers/{answer['Id']}/start")
    house.proxy.send("POST", f"/containers/{answer['Id']}/wait")
    after = {path: path.is_file() and path.read_bytes() for path in git.rglob("*")}
    assert after == before | {git / "objects" / "new": b"new\n", git / "refs" / "exps" / "new": b"new\n"}
    house.proxy.send("DELETE", f"/containers/{answer['Id']}")


@pytest.mark.parametrize("name", ["", "/refs", "/hooks"])
def test_no_container_writes_to_what_git_obeys(house: House, name: str) -> None:
    folder = f"{house.root}/repository/.git{name}"
    status, answer = house.create(spec.request(replace(house.container(), folders={folder: True})))
    assert status == 403
    assert f"mount of {folder}" in answer["message"]


def test_a_container_that_no_runner_follows_is_stopped_and_removed(house: House) -> None:
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
    deadline = time.monotonic() + 60
    while any(
        house.proxy.send("GET", f"/containers/{name}/json")[0] != 404 for name in (unfollowed, followed)
    ):
        assert time.monotonic() < deadline, "the container of a task that was killed stays for ever"


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
