"""Files below a folder on disk, as candidates."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from stages.common.errors import SourceError, raise_if_transient
from stages.data.sources import Image
from stages.data.sources._naming import is_ignored, label_of

# DVC 3.67 needs 8 s for a file in 400 folders, minutes in 900, and fails in 1,000.
_DEEPEST = 256
_DVC_IGNORE = ".dvcignore"


def walk(root: Path, pattern: str | None) -> Iterator[Image]:
    """Every file below a folder that is not left behind by an operating system, folder by folder, sorted.

    Links to files are followed. Links to folders are not, as they can loop. They and folders that may not be
    opened end the walk: a reject for each would stand for a whole class.

    Args:
        root: The folder.
        pattern: Searched in file names for the class; None: the class is the parent folder.

    Raises:
        SourceError: The folder is missing, it or one below it cannot be opened or is a link or, where folders
            are classes, one of them is empty.
    """
    check_folder(root)
    # A stack, as os.walk calls itself for every level until Python 3.12, which ends at a thousand.
    folders = [root]
    while folders:
        folder = folders.pop()
        inside = folder.relative_to(root)
        try:
            entries = [entry for entry in os.scandir(folder) if not is_ignored(entry.name)]
        except OSError as error:
            raise_if_transient(error)
            raise SourceError(
                f"ingest.source.path: {folder} cannot be opened: {error.strerror}; allow it or move it"
            ) from None
        if pattern is None and not entries and folder != root:
            raise SourceError(f"class {str(inside)!r} has no images; fill or delete {folder}")
        subfolders: list[Path] = []
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = (inside / entry.name).as_posix()
            if entry.is_dir(follow_symlinks=False):
                subfolders.append(folder / entry.name)
            elif entry.is_symlink() and Path(entry.path).is_dir():
                raise SourceError(
                    f"ingest.source.path: {entry.path} is a link to a folder, which is not followed; "
                    "put the folder itself there, or delete the link"
                )
            else:
                yield Image(name, label_of(name, pattern), path=folder / entry.name)
        folders += reversed(subfolders)


def exists(path: Path) -> bool:
    """Whether a path exists; until Python 3.14, `Path.exists` raises for a name that is too long."""
    try:
        return path.exists()
    except OSError as error:
        raise_if_transient(error)
        return False


def check_folder(root: Path) -> None:
    """Raise SourceError unless there is a folder."""
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise SourceError(f"ingest.source.path: {root} {state}; put a folder of images there or name another")


def check_for_dvc(root: Path) -> None:
    """Raise SourceError for what DVC cannot read: it hashes the whole source before ingest starts.

    DVC waits for ever for a pipe and for folders nested too deeply. It stops at a broken link, at a name that
    is not UTF-8 and at a file that may not be read, in most cases without saying which file it is.

    Args:
        root: The source, a folder or a file; one that is missing is left to the stage, which names it.
    """
    if root.is_dir():
        problems = _unreadable(root)
    elif root.exists() or root.is_symlink():
        problem = _problem(root)
        problems = iter([(root.name, problem)] if problem else [])
    else:
        return
    if first := next(problems, None):
        name, problem = first
        others = sum(1 for _ in problems)
        more = f" and {others} others" if others else ""
        raise SourceError(
            f"ingest.source.path: DVC cannot read {root}: {problem}: {name!r}{more}; "
            "remove or rename it, or pack the folder into an archive"
        )


def _unreadable(root: Path) -> Iterator[tuple[str, str]]:
    folders = [(root, 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise_if_transient(error)
            yield folder.relative_to(root).as_posix(), str(error.strerror)
            continue
        for entry in entries:
            path = Path(entry.path)
            is_folder = entry.is_dir(follow_symlinks=False)
            if problem := _problem(path):
                yield path.relative_to(root).as_posix(), problem
            elif is_folder and depth == _DEEPEST:
                yield path.relative_to(root).as_posix(), f"folders in more than {_DEEPEST} others"
            elif is_folder:
                folders.append((path, depth + 1))


def _problem(path: Path) -> str | None:
    try:
        path.name.encode()
        mode = path.stat().st_mode
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    except OSError as error:
        raise_if_transient(error)
        return f"a broken link ({error.strerror})" if path.is_symlink() else str(error.strerror)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return "a pipe, socket or device"
    if path.name == _DVC_IGNORE:
        return "a file that DVC does not allow inside of data"
    return None if os.access(path, os.R_OK) else "a file or folder without the permission to read it"
