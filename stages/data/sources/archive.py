"""A tar (plain, gz, bz2, xz) or zip archive, read as a stream and never unpacked onto the disk."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from stages.data.sources import Picture, SourceParams
from stages.data.sources._naming import Pattern, is_hidden, label_of
from stages.errors import SourceError

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


class Params(SourceParams):
    """`path` is the archive; the class is the parent folder or, with `pattern`, told by the file name."""

    kind: Literal["archive"]
    pattern: Pattern | None = None


def pictures(params: Params) -> Iterator[Picture]:
    """Every regular member that is not hidden, in the archive's own order; links are passed over.

    Member names are used as names only, so `../` in them can do no harm.
    Raises SourceError when the archive is missing, unknown or breaks off, or when a class folder is empty.
    """
    if not params.path.is_file():
        raise SourceError(f"ingest.source.path: {params.path} is not a file; put a tar or zip archive there")
    read = _zip if zipfile.is_zipfile(params.path) else _tar
    empty: set[str] = set()
    filled: set[str] = set()
    try:
        for name, data in read(params.path):
            parents = {str(parent) for parent in PurePosixPath(name).parents}
            if data is None:
                empty.add(str(PurePosixPath(name)))
                filled |= parents
            elif not is_hidden(name):
                filled |= parents
                yield Picture(name=name, label=label_of(name, params.pattern), data=data)
    except _BROKEN as error:
        raise SourceError(
            f"ingest.source.path: {params.path} cannot be read as tar or zip: {error}"
        ) from None
    if params.pattern is None and (without := sorted(name for name in empty - filled if not is_hidden(name))):
        raise SourceError(f"class {without[0]!r} has no pictures; delete that folder from {params.path}")


def _tar(path: Path) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member)
                yield member.name, content.read() if content else b""
            elif member.isdir():
                yield member.name, None


def _zip(path: Path) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            yield member.filename, None if member.is_dir() else archive.read(member)
