"""Writing that is complete or not there, and that replaces nothing which another program wrote.

An output is written under a hidden name beside its place, then renamed. What it replaces must be an earlier
output of the same kind: a path that is wrong by one word must not cost a person their files.

The outputs themselves are the mark. A mark of its own, a hidden file in a folder or an attribute in a file,
would change the digests of data, would be missing from what DVC restores from its cache, and would still let
a file that a person has added later be deleted. So a folder is replaced only if each file in it has a name
that the command writes, and a file only by one of the same kind: both HDF5, both JSON, CSV with the same
header, and so on.
"""

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from stages.common.errors import OutputError

# HDF5, PNG, zip (also of NumPy and Keras), Parquet, AVI.
_MAGIC = (b"\x89HDF\r\n\x1a\n", b"\x89PNG\r\n\x1a\n", b"PK", b"PAR1", b"RIFF")
_HEAD = 4096
_CHUNK = 1024**2
# Text files whose first line is the same at each writing: a header, a title.
_TITLED = (".csv", ".md", ".txt")


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Write a file that appears under its name when the block ends.

    A killed process leaves `path` as it was; a failed block, too.

    Args:
        path: The file's name. Its folder is created where there is none.

    Yields:
        The name to write the file under.

    Raises:
        OutputError: When `path` is a folder, or a file of another kind. Nothing is replaced then.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; the output is a file")
    partial = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(partial)
    try:
        yield partial
        if path.is_file() and not _is_blank(path) and _kind(path) != _kind(partial):
            raise OutputError(
                f"{path} is no earlier output of this command and is kept; move it, or name another path"
            )
        partial.replace(path)
    except BaseException:
        remove(partial)
        raise


@contextmanager
def replace_folder_atomically(path: Path, holds: Collection[str]) -> Iterator[Path]:
    """Write a folder that appears under its name when the block ends.

    rename(2) cannot replace a folder that is not empty. So the earlier folder is renamed, the new one renamed
    into its place, and the earlier one deleted. A process killed in between leaves either of them whole under
    `path`, or nothing there and the earlier one for the next call to restore; never half a folder.

    Args:
        path: The folder's name. Its parent is created where there is none.
        holds: Patterns of the paths, relative to the folder, of all files that the command writes in it;
            `*` stands for `/`, too.

    Yields:
        The empty folder to write into.

    Raises:
        OutputError: When `path` is a file, or holds a file that matches no pattern. Nothing is replaced then.
    """
    partial, earlier = (path.with_name(f".{path.name}.{ending}") for ending in ("part", "earlier"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if earlier.exists():
        check_replaceable(earlier, holds)
        if path.exists():
            remove(earlier)
        else:
            earlier.rename(path)
    check_replaceable(path, holds)
    remove(partial)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(earlier)
        partial.rename(path)
    except BaseException:
        remove(partial)
        if earlier.exists() and not path.exists():
            earlier.rename(path)
        raise
    remove(earlier)


def remove(path: Path) -> None:
    """Remove a file or folder if there is one; of a link, only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON by `replace_atomically`."""
    with replace_atomically(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file. Raises FileNotFoundError and json.JSONDecodeError."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_replaceable(folder: Path, holds: Collection[str]) -> None:
    """Raise OutputError when a folder is a file, or holds a file that matches none of the patterns."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; the output is a folder")
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_folder and not any(fnmatchcase(name, pattern) for pattern in holds):
            raise OutputError(
                f"{folder} holds {name}, which this command does not write, and is kept; "
                "move it, or name another folder"
            )


def _is_blank(path: Path) -> bool:
    """Whether a file is empty or all zeros: a power cut leaves either of a file that had been renamed."""
    with path.open("rb") as file:
        return not any(chunk.strip(b"\0") for chunk in iter(lambda: file.read(_CHUNK), b""))


def _kind(path: Path) -> bytes:
    """A file's kind by its first bytes: a magic number, JSON, HTML, a title or header, or text."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic in _MAGIC:
        if head.startswith(magic):
            return magic
    text = head.lstrip()
    if text.startswith((b"{", b"[", b"null")):
        return b"JSON"
    if text.startswith(b"<"):
        return b"HTML"
    titled = path.name.removesuffix(".part").endswith(_TITLED)
    return head.splitlines()[0] if titled else b"text"
