"""Files below a folder on disk, as candidates."""

import os
from collections.abc import Iterator
from pathlib import Path

from stages.data.sources import Picture
from stages.data.sources._naming import is_hidden, label_of
from stages.errors import SourceError


def walk(root: Path, pattern: str | None) -> Iterator[Picture]:
    """Every file below `root` that is not hidden, sorted by path; classes as `label_of` says.

    Links to files are followed, links to folders are not: they can loop.
    Raises SourceError for a missing folder and, where folders are classes, for an empty one.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise SourceError(
            f"ingest.source.path: {root} {state}; put a folder of pictures there or name another"
        )
    for folder, subfolders, files in os.walk(root):
        # In place: os.walk goes on into what is left, in this order.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        shown = [name for name in sorted(files) if not name.startswith(".")]
        inside = Path(folder).relative_to(root).as_posix()
        if pattern is None and not shown and not subfolders and folder != str(root):
            raise SourceError(f"class {inside!r} has no pictures; fill or delete {folder}")
        for name in shown:
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if not is_hidden(relative):
                yield Picture(name=relative, label=label_of(relative, pattern), path=path)
