"""A tar (plain, gz, bz2, xz) or zip archive, read as a stream and never unpacked onto the disk."""

import codecs
import posixpath
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from stages.common.errors import SourceError, raise_if_transient
from stages.data.sources import Image, SourceParams, _tar, _zip
from stages.data.sources._naming import Pattern, is_ignored, label_of

# Of broken archives, Python raises the last two too.
_BROKEN = (tarfile.TarError, *_zip.MEMBER_ERRORS, ValueError, struct.error)
_ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\10")
_TAR_MAGIC, _TAR_MAGIC_PLACE = b"ustar", 257
# What other programs' archives begin with, and what unpacks them.
_OTHERS = {b"7z\xbc\xaf\x27\x1c": "7z x", b"Rar!": "unrar x", b"\x28\xb5\x2f\xfd": "unzstd"}


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise PydanticCustomError("encoding", "not an encoding that Python knows, such as cp932") from None
    return name


Encoding = Annotated[str, AfterValidator(_known_encoding)]


class Params(SourceParams):
    """An archive on disk.

    Attributes:
        path: The archive.
        pattern: Searched in file names; its group is the class. None: the class is the parent folder.
        encoding: Of names that the archive does not mark as UTF-8, such as cp866 or cp932. None: UTF-8 or, in
            a zip, the code page of DOS.
    """

    kind: Literal["archive"]
    pattern: Pattern | None = None
    encoding: Encoding | None = None


def images(params: Params) -> Iterator[Image]:
    """Every member, in the archive's own order; links have a problem instead of data.

    A name is a name only and can do no harm; `..` in it and a leading slash are dropped, as tar itself does.
    Files that operating systems leave behind are left out. Of members with one name, the first counts and
    the others have a problem.

    Raises:
        SourceError: The archive is missing, unknown or breaks off, or a class folder is empty.
    """
    return members(params.path, params.pattern, params.encoding)


def members(path: Path, pattern: str | None, encoding: str | None) -> Iterator[Image]:
    """The images of the archive at `path`; see `images`."""
    if not path.is_file():
        raise SourceError(f"ingest.source.path: {path} is not a file; put a tar or zip archive there")
    folders: set[str] = set()
    filled: set[str] = set()
    names: set[str] = set()
    try:
        for member in _reader(path).members(path, encoding):
            name = "/".join(part for part in member.name.split("/") if part not in ("", ".", ".."))
            if not name or is_ignored(name):
                continue
            if member.data is None and member.problem is None:
                folders.add(name)
                continue
            filled.add(posixpath.dirname(name))
            problem = "the archive has another member of this name" if name in names else member.problem
            names.add(name)
            yield Image(name, label_of(name, pattern), data=member.data, problem=problem)
    except _BROKEN as error:
        raise_if_transient(error)
        raise SourceError(f"ingest.source.path: {path} cannot be read as tar or zip: {error}") from None
    filled |= {str(parent) for folder in filled for parent in PurePosixPath(folder).parents}
    if pattern is None and (empty := sorted(folders - filled)):
        raise SourceError(f"class {empty[0]!r} has no images; delete that folder from {path}")


def _reader(path: Path) -> Any:
    """The module that reads the archive, by its first bytes.

    Not by its end: a tar whose last member is a zip ends as a zip does.
    """
    with path.open("rb") as file:
        start = file.read(512)
    for magic, command in _OTHERS.items():
        if start.startswith(magic):
            raise SourceError(
                f"ingest.source.path: {path} cannot be read as tar or zip; unpack it: {command}"
            )
    if start.startswith(_ZIP):
        return _zip
    if start.startswith(tuple(_tar.COMPRESSED)) or start[_TAR_MAGIC_PLACE:].startswith(_TAR_MAGIC):
        return _tar
    # Programs that unpack themselves are zip files with a program before them.
    return _zip if zipfile.is_zipfile(path) else _tar
