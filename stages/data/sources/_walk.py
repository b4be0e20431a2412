"""Files below a folder on disk, as candidates."""

import os
from collections.abc import Iterator
from pathlib import Path

from stages.data.sources import Picture
from stages.data.sources._naming import is_hidden, label_of
from stages.errors import SourceError


def walk(root: Path, pattern: str | None) -> Iterator[Picture]:
    """Every file below `root` that is not hidden, folder by folder, sorted; classes as `label_of` says.

    Links to files are followed. Links to folders are not, as they can loop; they and folders that may not be
    opened are candidates with a problem, so that nobody misses their pictures in silence.
    Raises SourceError for a missing folder and, where folders are classes, for an empty one.
    """
    check_folder(root)
    unreadable: list[OSError] = []
    for folder, subfolders, files in os.walk(root, onerror=unreadable.append):
        inside = Path(folder).relative_to(root)
        # In place: os.walk goes on into what is left, in this order.
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        shown = sorted(name for name in files if not is_hidden(name))
        if pattern is None and not shown and not subfolders and folder != str(root):
            raise SourceError(f"class {str(inside)!r} has no pictures; fill or delete {folder}")
        for name in subfolders:
            if Path(folder, name).is_symlink():
                yield Picture((inside / name).as_posix(), None, problem="a link to a folder is not followed")
        for name in shown:
            relative = (inside / name).as_posix()
            yield Picture(relative, label_of(relative, pattern), path=Path(folder, name))
    for error in unreadable:
        yield Picture(os.path.relpath(error.filename, root), None, problem=error.strerror)


def check_folder(root: Path) -> None:
    """Raise SourceError unless there is a folder."""
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise SourceError(
            f"ingest.source.path: {root} {state}; put a folder of pictures there or name another"
        )
