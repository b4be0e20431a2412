"""An archive on a web server, downloaded once, resumed where it broke off, and verified."""

import fcntl
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import StringConstraints

from stages.common import log
from stages.common.errors import PERMANENT, DownloadError, SourceError, exit_status
from stages.common.files import digest
from stages.data.sources import Image, SourceParams, SourcePath, archive
from stages.data.sources._naming import Pattern
from stages.data.sources.archive import Encoding

_ATTEMPTS = 5
_SECONDS_WITHOUT_A_BYTE = 60
_BLOCK = 2**18


class Params(SourceParams):
    """An archive on a web server.

    Attributes:
        path: This file, as the digest fixes what comes.
        url: Of the archive: http or https.
        sha256: The digest of the archive.
        cache: The folder that keeps the download.
        pattern: As that of the source `archive`: its group in file names is the class.
        encoding: As that of the source `archive`, of names that are not marked as UTF-8.
    """

    kind: Literal["url"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    cache: SourcePath
    pattern: Pattern | None = None
    encoding: Encoding | None = None


def images(params: Params) -> Iterator[Image]:
    """The archive's images; see `stages.data.sources.archive`.

    Raises DownloadError when the network or the server fails, SourceError when the server has no such file or
    the digest is not the one in the params.
    """
    return archive.members(_fetched(params), params.pattern, params.encoding)


def _fetched(params: Params) -> Path:
    """The verified archive in the cache, downloaded if it is not there."""
    path = params.cache / params.sha256
    if _is_verified(path):
        return path
    with _locked(path.with_suffix(".part")) as part:
        if _is_verified(path):
            # By another process, while this one waited.
            part.unlink()
            return path
        begun = part.stat().st_size > 0
        _download(params.url, part)
        actual = digest(part)
        if actual != params.sha256 and begun:
            # What an earlier run left may be of another file than the server has now.
            os.truncate(part, 0)
            _download(params.url, part)
            actual = digest(part)
        if actual != params.sha256:
            part.unlink()
            raise SourceError(
                f"ingest.source.sha256: {params.url} has the digest {actual}, not {params.sha256}"
            )
        return part.replace(path)


def _is_verified(path: Path) -> bool:
    return path.is_file() and digest(path) == path.name


@contextmanager
def _locked(part: Path) -> Iterator[Path]:
    """Create `part` where it is missing, and wait until no other process downloads into it."""
    part.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The process that had the lock may have renamed or removed the file that this one waited for.
            if _is_at(part, file.fileno()):
                yield part
                return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _download(url: str, part: Path) -> None:
    """Fill `part`, going on where an earlier attempt ended; what has arrived is kept when it fails."""
    problem: Exception | None = None
    try:
        for _ in range(_ATTEMPTS):
            try:
                if _go_on(url, part):
                    return
            except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
                problem = error
    except OSError as error:
        problem = error
    message = f"ingest.source.url: {url} cannot be downloaded"
    if problem and exit_status(problem) == PERMANENT:
        raise SourceError(f"{message}: {problem}") from problem
    why = problem or f"the connection broke off {_ATTEMPTS} times"
    raise DownloadError(f"{message}: {why}; a second run continues where this one ended") from problem


def _go_on(url: str, part: Path) -> bool:
    """Ask for what is missing and append it. Returns whether the file is complete."""
    start = part.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"})  # noqa: S310 - http(s) only
    try:
        answer = urllib.request.urlopen(request, timeout=_SECONDS_WITHOUT_A_BYTE)  # noqa: S310
    except urllib.error.HTTPError as error:
        # There is nothing after the last byte: the file is complete, or another one, which the digest shows.
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return True
        raise
    with answer:
        # A server that knows no ranges sends everything.
        if answer.status != http.client.PARTIAL_CONTENT:
            start = 0
        length = int(answer.headers.get("Content-Length", -1))
        with (
            part.open("ab" if start else "wb") as file,
            log.Progress("downloading", total=max(length, 0) // _BLOCK, unit="block") as progress,
        ):
            while block := answer.read(_BLOCK):
                file.write(block)
                progress.advance()
            return length < 0 or file.tell() == start + length
