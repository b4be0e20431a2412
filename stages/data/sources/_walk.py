"""Files below a folder on disk, as candidates."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from stages.common.errors import SourceError
from stages.data.sources import Image
from stages.data.sources._naming import is_ignored, label_of


def walk(root: Path, pattern: str | None) -> Iterator[Image]:
    """Every file below a folder that is not left behind by an operating system, folder by folder, sorted.

    Links to files are followed. Links to folders are not, as they can loop; they and folders that may not be
    opened are candidates with a problem, so that no images are missing without a word.

    Args:
        root: The folder.
        pattern: Searched in file names for the class; None: the class is the parent folder.

    Raises:
        SourceError: The folder is missing or, where folders are classes, one of them is empty.
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
            yield Image(inside.as_posix(), None, problem=error.strerror)
            continue
        if pattern is None and not entries and folder != root:
            raise SourceError(f"class {str(inside)!r} has no images; fill or delete {folder}")
        subfolders: list[Path] = []
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = (inside / entry.name).as_posix()
            if entry.is_dir(follow_symlinks=False):
                subfolders.append(folder / entry.name)
            elif entry.is_symlink() and Path(entry.path).is_dir():
                yield Image(name, None, problem="a link to a folder is not followed")
            else:
                yield Image(name, label_of(name, pattern), path=folder / entry.name)
        folders += reversed(subfolders)


def check_folder(root: Path) -> None:
    """Raise SourceError unless there is a folder."""
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise SourceError(f"ingest.source.path: {root} {state}; put a folder of images there or name another")


def check_for_dvc(root: Path) -> None:
    """Raise SourceError for a file that DVC cannot read: it hashes the whole folder before ingest starts.

    DVC waits for ever for a pipe, and stops at a broken link or at a name that is not UTF-8 without saying
    which file it is.
    """
    problems = _unreadable(root)
    if first := next(problems, None):
        name, problem = first
        others = sum(1 for _ in problems)
        more = f" and {others} others" if others else ""
        raise SourceError(
            f"ingest.source.path: DVC cannot read {root}: {problem}: {name!r}{more}; "
            "remove or rename it, or pack the folder into an archive"
        )


def _unreadable(root: Path) -> Iterator[tuple[str, str]]:
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield folder.relative_to(root).as_posix(), str(error.strerror)
            continue
        for entry in entries:
            name = Path(entry.path).relative_to(root).as_posix()
            if problem := _problem(entry, name):
                yield name, problem
            elif entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))


def _problem(entry: "os.DirEntry[str]", name: str) -> str | None:
    try:
        name.encode()
        mode = entry.stat().st_mode
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    except OSError as error:
        return f"a broken link ({error.strerror})" if entry.is_symlink() else str(error.strerror)
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "a pipe, socket or device"
