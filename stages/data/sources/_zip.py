"""The members of a zip file: names in the encoding that the writing program meant, kinds, contents."""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from stages.common import log
from stages.common.errors import raise_if_transient
from stages.data.sources import Image
from stages.data.sources._limits import Budget, too_large

# What reading one member can raise; RuntimeError means that it needs a password or another decompressor.
MEMBER_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
_DOS_FOLDER = 0x10
_DOS_SYSTEMS = (0, 10, 11, 14)
# What zipfile decodes names by that are not marked as UTF-8.
_ASSUMED = "cp437"


def members(path: Path, encoding: str | None) -> Iterator[Image]:
    """Every member in the archive's order; folders have neither data nor a problem.

    Args:
        path: The file.
        encoding: Of names that are neither ASCII nor marked as UTF-8; None: UTF-8 where it is valid, else the
            code page of DOS in America or Western Europe, with a warning.
    """
    size, budget = path.stat().st_size, Budget(path)
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        names = _names(infos, encoding)
        slashes = any("/" in name for name in names)
        for info, raw in zip(infos, names, strict=True):
            # Programs of Windows write backslashes; a program of Unix means a letter of the name.
            name = raw if slashes and info.create_system not in _DOS_SYSTEMS else raw.replace("\\", "/")
            mode = info.external_attr >> 16
            if name.endswith("/") or stat.S_ISDIR(mode) or info.external_attr & _DOS_FOLDER:
                yield Image(name, None)
            elif mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                yield Image(name, None, problem="a link or device in an archive is not followed")
            elif problem := too_large(info.file_size, size):
                yield Image(name, None, problem=problem)
            else:
                budget.spend(info.file_size)
                yield _read(archive, info, name)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Image:
    try:
        return Image(name, None, data=archive.read(info))
    except MEMBER_ERRORS as error:
        raise_if_transient(error)
        return Image(name, None, problem=str(error) or type(error).__name__)


def _names(infos: list[zipfile.ZipInfo], encoding: str | None) -> list[str]:
    """The names; the encoding is chosen once for all that the archive does not mark."""
    raw = [None if info.flag_bits & _UTF8_FLAG else info.orig_filename.encode(_ASSUMED) for info in infos]
    unmarked = [
        name
        for name, info in zip(raw, infos, strict=True)
        if name is not None and not name.isascii() and _unicode_path(info) is None
    ]
    chosen = encoding or _guessed(unmarked)
    return [
        info.filename if name is None else _unicode_path(info) or name.decode(chosen, "surrogateescape")
        for info, name in zip(infos, raw, strict=True)
    ]


def _guessed(names: list[bytes]) -> str:
    try:
        b"\n".join(names).decode()
    except UnicodeDecodeError:
        # Where names in America's code page have lines and blocks, Western Europe's has letters.
        drawn = any("\u2500" <= letter <= "\u259f" for name in names for letter in name.decode("cp437"))
        chosen = "cp850" if drawn else "cp437"
        log.warning(
            "guessed_name_encoding", encoding=chosen, names=len(names), param="ingest.source.encoding"
        )
        return chosen
    # Info-ZIP and macOS write UTF-8 without a mark.
    return "utf-8"


def _unicode_path(info: zipfile.ZipInfo) -> str | None:
    """The name in the extra field that WinZip, WinRAR and Info-ZIP write for names beyond the code page."""
    place, extra = 0, info.extra
    while place + 4 <= len(extra):
        kind, length = (int.from_bytes(extra[start : start + 2], "little") for start in (place, place + 2))
        content = extra[place + 4 : place + 4 + length]
        if kind == _UNICODE_PATH and len(content) > 5 and content[0] == 1:
            original = info.orig_filename.encode(_ASSUMED, "replace")
            if int.from_bytes(content[1:5], "little") == zlib.crc32(original):
                return content[5:].decode(errors="surrogateescape")
        place += 4 + length
    return None
