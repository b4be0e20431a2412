"""Calls of the engine that a stage does not need are refused, and so are containers of others."""

import json

import pytest

from pipelines.proxy import spec
from tests.docker.proxy.conftest import SECRET, TINY, House

pytestmark = pytest.mark.slow


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
