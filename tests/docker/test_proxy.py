"""The proxy before a real engine: what a stage takes is let through, what takes over the host is not."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import ROOT, build

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Proxy:
    """Where the proxy listens, the folder that may be mounted, and an image that is there."""

    address: str
    home: Path
    image: str

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`docker WORDS` through the proxy."""
        environment = {**os.environ, "DOCKER_HOST": f"tcp://{self.address}"}
        return subprocess.run(
            ["docker", *words], env=environment, capture_output=True, text=True, check=False
        )

    def create(self, body: str) -> int:
        """The status of a request for a container, as it is written."""
        request = urllib.request.Request(
            f"http://{self.address}/v1.40/containers/create",
            data=body.encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                made = json.load(answer)["Id"]
        except urllib.error.HTTPError as error:
            return error.code
        self.docker("rm", made)
        return 201


@pytest.fixture(scope="module")
def proxy(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    home = tmp_path_factory.mktemp("home")
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        pytest.skip(f"the engine is at {host}, not at a socket")
    build("proxy", ROOT, "convoy/proxy:test")
    words = [
        "docker",
        "run",
        "--detach",
        "--rm",
        "--read-only",
        "--cap-drop=ALL",
        "--publish=127.0.0.1::2375",
    ]
    words += [f"--volume={host.removeprefix('unix://')}:/var/run/docker.sock"]
    words += [f"--env=CONVOY_HOME={home}", "--env=CONVOY_REPOSITORY=/srv/repository", "convoy/proxy:test"]
    name = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    try:
        port = subprocess.run(
            ["docker", "port", name, "2375"], check=True, capture_output=True, text=True
        ).stdout
        found = Proxy(port.split()[0], home, image)
        deadline = time.monotonic() + 30
        while found.docker("version").returncode:
            assert time.monotonic() < deadline, "the proxy does not answer"
        yield found
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)


def test_a_container_with_folders_of_convoy_runs(proxy: Proxy) -> None:
    proxy.home.chmod(0o777)
    mount = f"type=bind,source={proxy.home},target=/convoy"
    done = proxy.docker(
        "run", "--rm", "--mount", mount, proxy.image, "sh", "-c", "echo seen | tee /convoy/file"
    )
    assert (done.returncode, done.stdout) == (0, "seen\n"), done.stderr
    assert (proxy.home / "file").read_text() == "seen\n"


def test_a_container_can_be_watched_and_stopped(proxy: Proxy) -> None:
    name = proxy.docker(
        "run", "--detach", proxy.image, "sh", "-c", "echo started; exec sleep 1000"
    ).stdout.strip()
    assert proxy.docker("inspect", "--format", "{{.State.Running}}", name).stdout == "true\n"
    assert "403" in proxy.docker("exec", name, "true").stderr
    assert proxy.docker("stop", "--time", "0", name).returncode == 0
    assert proxy.docker("logs", name).stdout == "started\n"
    assert proxy.docker("rm", name).returncode == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--privileged"],
        ["--cap-add=SYS_ADMIN"],
        ["--device=/dev/null"],
        ["--security-opt=seccomp=unconfined"],
        ["--pid=host"],
        ["--network=host"],
        ["--ipc=host"],
        ["--volume=/:/host"],
        ["--mount=type=bind,source=/,target=/host"],
        ["--mount=type=bind,source=/srv/repository-of-others,target=/host"],
        ["--mount=type=bind,source=/srv/repository/../..,target=/host"],
        ["--mount=type=volume,target=/host,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/"],
        ["--publish=8080:80"],
    ],
    ids=" ".join,
)
def test_what_takes_over_the_host_is_refused(proxy: Proxy, options: list[str]) -> None:
    done = proxy.docker("run", "--rm", *options, proxy.image, "true")
    assert done.returncode != 0
    assert "403" in done.stderr or "Forbidden" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["ps"],
        ["volume", "create", "any"],
        ["network", "create", "any"],
        ["cp", "any:/a", "-"],
    ],
    ids=lambda words: words[0],
)
def test_what_no_stage_takes_is_refused(proxy: Proxy, words: list[str]) -> None:
    done = proxy.docker(*words)
    assert done.returncode != 0
    assert "403" in done.stderr or "Forbidden" in done.stderr, done.stderr


def test_another_spelling_is_no_way_round(proxy: Proxy) -> None:
    def body(text: str) -> str:
        wanted: dict[str, Any] = {"Image": proxy.image, "HostConfig": {"Privileged": True}}
        return json.dumps(wanted).replace("Privileged", text)

    assert proxy.create(json.dumps({"Image": proxy.image, "Env": ["A=ä\n"]})) == 201
    assert proxy.create(body("privileged")) == 403
    assert proxy.create(body("\\u0050rivileged")) == 403
    assert proxy.create(body("Privileged").replace(": true", "\t:\n true")) == 403
    assert proxy.create(body("Privileged") + " " * 1_100_000) == 403
