"""The members of a tar archive, plain or compressed, read as a stream."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from stages.data.sources import Image
from stages.data.sources._limits import too_large

# GNU tar's label of a volume is no file.
_VOLUME_LABEL = b"V"


def members(path: Path, encoding: str | None) -> Iterator[Image]:
    """Every member in the archive's order; folders have neither data nor a problem.

    Args:
        path: The file.
        encoding: Of names outside of PAX headers, which are UTF-8; None: UTF-8.
    """
    size = path.stat().st_size
    with tarfile.open(path, "r|*", encoding=encoding or "utf-8") as archive:
        while (member := archive.next()) is not None:
            if member.isdir():
                yield Image(member.name, None)
            elif member.type == _VOLUME_LABEL:
                continue
            elif not member.isfile():
                yield Image(member.name, None, problem="a link or device in an archive is not followed")
            elif problem := too_large(member.size, size):
                yield Image(member.name, None, problem=problem)
            else:
                content = archive.extractfile(member)
                yield Image(member.name, None, data=content.read() if content else b"")
            # tarfile remembers every member for random access, a kilobyte each.
            archive.members.clear()  # type: ignore[attr-defined]
