"""Files below a folder on disk, as candidates."""

import os
from collections.abc import Iterator
from pathlib import Path

from stages.common.errors import SourceError
from stages.data.sources import Image
from stages.data.sources._naming import is_ignored, label_of


def walk(root: Path, pattern: str | None) -> Iterator[Image]:
    """Every file below `root` that is not hidden, folder by folder, sorted; classes as `label_of` says.

    Links to files are followed. Links to folders are not, as they can loop; they and folders that may not be
    opened are candidates with a problem, so that nobody misses their images in silence.
    Raises SourceError for a missing folder and, where folders are classes, for an empty one.
    """
    check_folder(root)
    # A stack of our own: os.walk calls itself for every level until Python 3.12, which ends at a thousand.
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
