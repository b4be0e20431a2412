"""An archive from a web server on this machine: whole, resumed, broken off, changed."""

import hashlib
import http.server
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.common.errors import DownloadError, SourceError
from stages.data.sources import images, url


@dataclass
class Server:
    """What it sends, how, what it does in the middle of it, and the byte that each request begins with."""

    content: bytes
    address: str = ""
    ranges: bool = True
    sends_at_most: int | None = None
    pause: Callable[[], object] = lambda: None
    starts: list[int] = field(default_factory=list)


class Running(http.server.ThreadingHTTPServer):
    behaviour: Server


class Handler(http.server.BaseHTTPRequestHandler):
    server: Running

    def do_GET(self) -> None:
        server = self.server.behaviour
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"]).group(1))
        server.starts.append(start)
        if self.path != "/a.zip":
            self.send_error(404)
        elif not server.ranges:
            self._send(200, server.content)
        elif start >= len(server.content):
            self.send_error(416)
        else:
            self._send(206, server.content[start:])

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: self.server.behaviour.sends_at_most]
        self.wfile.write(body[: len(body) // 2])
        self.server.behaviour.pause()
        self.wfile.write(body[len(body) // 2 :])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(20):
            archive.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.png", bytes([number]) * 100)
    behaviour = Server(file.getvalue())
    with Running(("127.0.0.1", 0), Handler) as running:
        running.behaviour = behaviour
        behaviour.address = f"http://127.0.0.1:{running.server_port}/a.zip"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield behaviour
        running.shutdown()
        thread.join()


def params(server: Server, tmp_path: Path, **changed: str) -> url.Params:
    digest = hashlib.sha256(server.content).hexdigest()
    values = {"kind": "url", "path": tmp_path, "url": server.address, "sha256": digest}
    return url.Params(**values | {"cache": tmp_path / "cache"} | changed)


def labels(params: url.Params) -> list[str | None]:
    return [image.label for image in images(params)]


def test_an_archive_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    assert labels(params(server, tmp_path)) == ["dog", "cat"] * 10
    assert labels(params(server, tmp_path)) == ["dog", "cat"] * 10
    assert server.starts == [0]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [params(server, tmp_path).sha256]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_an_earlier_run_was_stopped(
    server: Server, tmp_path: Path, ranges: bool
) -> None:
    server.ranges = ranges
    part = tmp_path / "cache" / f"{params(server, tmp_path).sha256}.part"
    part.parent.mkdir()
    part.write_bytes(server.content[:1000])
    assert len(labels(params(server, tmp_path))) == 20
    assert server.starts == [1000]


def test_a_part_of_another_file_is_downloaded_anew(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "cache" / f"{params(server, tmp_path).sha256}.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 1000)
    assert len(labels(params(server, tmp_path))) == 20
    assert server.starts == [1000, 0]


def test_a_second_process_waits_for_the_first_one_s_download(server: Server, tmp_path: Path) -> None:
    """It appended to the file that the first one had verified and renamed."""
    begun, joined, ended = threading.Event(), threading.Event(), threading.Event()

    def pause() -> None:
        if not begun.is_set():
            begun.set()
            # Nobody joins where the second process waits.
            joined.wait(timeout=0.5)
        else:
            joined.set()
            ended.wait(timeout=10)

    server.pause = pause
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(labels, params(server, tmp_path))
        first.add_done_callback(lambda _: ended.set())
        begun.wait(timeout=10)
        second = pool.submit(labels, params(server, tmp_path))
        assert first.result() == second.result() == ["dog", "cat"] * 10
    assert server.starts == [0]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [params(server, tmp_path).sha256]


def test_a_part_that_is_complete_is_only_verified(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "cache" / f"{params(server, tmp_path).sha256}.part"
    part.parent.mkdir()
    part.write_bytes(server.content)
    assert len(labels(params(server, tmp_path))) == 20


def test_a_connection_that_breaks_off_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.sends_at_most = len(server.content) // 3 + 1
    assert len(labels(params(server, tmp_path))) == 20
    assert server.starts == [0, server.sends_at_most, 2 * server.sends_at_most]


def test_what_arrived_is_kept_when_the_server_gives_too_little(server: Server, tmp_path: Path) -> None:
    server.sends_at_most = 100
    with pytest.raises(DownloadError, match="broke off 5 times; a second run continues where this one ended"):
        labels(params(server, tmp_path))
    assert (tmp_path / "cache" / f"{params(server, tmp_path).sha256}.part").stat().st_size == 500


def test_other_bytes_than_promised_are_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    wanted = params(server, tmp_path)
    server.content += b"changed"
    with pytest.raises(SourceError, match=rf"has the digest [0-9a-f]{{64}}, not {wanted.sha256}"):
        labels(wanted)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    labels(params(server, tmp_path))
    cached = tmp_path / "cache" / params(server, tmp_path).sha256
    cached.write_bytes(b"damaged" + cached.read_bytes()[7:])
    assert len(labels(params(server, tmp_path))) == 20


def test_a_missing_page_and_a_missing_server_are_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.zip cannot be downloaded: .*404"):
        labels(params(server, tmp_path, url=server.address.replace("a.zip", "missing.zip")))
    with pytest.raises(DownloadError, match=r"cannot be downloaded: .*refused"):
        labels(params(server, tmp_path, url="http://127.0.0.1:9/a.zip"))


@pytest.mark.parametrize("changed", [{"url": "file:///etc/passwd"}, {"sha256": "123"}])
def test_only_web_addresses_with_a_digest_are_taken(
    server: Server, tmp_path: Path, changed: dict[str, str]
) -> None:
    with pytest.raises(ValidationError):
        params(server, tmp_path, **changed)
