"""A tar (plain, gz, bz2, xz) or zip archive, read as a stream and never unpacked onto the disk."""

import lzma
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from stages.common.errors import SourceError
from stages.data.sources import MAX_BYTES, TOO_LARGE, Image, SourceParams
from stages.data.sources._naming import Pattern, is_hidden, label_of

# What reading one member of a zip can raise; RuntimeError stands for "needs a password".
_MEMBER = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
_BROKEN = (tarfile.TarError, *_MEMBER)


class Params(SourceParams):
    """`path` is the archive; the class is the parent folder or, with `pattern`, told by the file name."""

    kind: Literal["archive"]
    pattern: Pattern | None = None


def images(params: Params) -> Iterator[Image]:
    """Every member that is not hidden, in the archive's own order; links have a problem instead of data.

    A name is a name only and can do no harm; `..` in it and a leading slash are dropped, as tar itself does.
    Raises SourceError when the archive is missing, unknown or breaks off, or when a class folder is empty.
    """
    return members(params.path, params.pattern)


def members(path: Path, pattern: str | None) -> Iterator[Image]:
    """The images of the archive at `path`; see `images`."""
    if not path.is_file():
        raise SourceError(f"ingest.source.path: {path} is not a file; put a tar or zip archive there")
    folders: set[str] = set()
    filled: set[str] = set()
    try:
        for member in (_zip if zipfile.is_zipfile(path) else _tar)(path):
            name = "/".join(part for part in member.name.split("/") if part not in ("", ".", ".."))
            if is_hidden(name):
                continue
            if member.data is None and member.problem is None:
                folders.add(name)
            else:
                filled.add(posixpath.dirname(name))
                yield Image(name, label_of(name, pattern), data=member.data, problem=member.problem)
    except _BROKEN as error:
        raise SourceError(f"ingest.source.path: {path} cannot be read as tar or zip: {error}") from None
    filled |= {str(parent) for folder in filled for parent in PurePosixPath(folder).parents}
    if pattern is None and (empty := sorted(folders - filled)):
        raise SourceError(f"class {empty[0]!r} has no images; delete that folder from {path}")


def _tar(path: Path) -> Iterator[Image]:
    with tarfile.open(path, "r|*") as archive:
        while (member := archive.next()) is not None:
            if member.isdir():
                yield Image(member.name, None)
            elif not member.isfile():
                yield Image(member.name, None, problem="a link or device in an archive is not followed")
            elif member.size > MAX_BYTES:
                yield Image(member.name, None, problem=TOO_LARGE)
            else:
                content = archive.extractfile(member)
                yield Image(member.name, None, data=content.read() if content else b"")
            # tarfile remembers every member for random access, a kilobyte each.
            archive.members.clear()  # type: ignore[attr-defined]


def _zip(path: Path) -> Iterator[Image]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # Some Windows programs write backslashes.
            name = member.filename.replace("\\", "/")
            if name.endswith("/"):
                yield Image(name, None)
            elif member.file_size > MAX_BYTES:
                yield Image(name, None, problem=TOO_LARGE)
            else:
                yield _read(archive, member, name)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Image:
    try:
        return Image(name, None, data=archive.read(member))
    except _MEMBER as error:
        return Image(name, None, problem=str(error) or type(error).__name__)
