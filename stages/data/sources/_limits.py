"""How large a member of an archive may be, and all of them together."""

from pathlib import Path

from stages.common.errors import SourceError
from stages.data.sources import MAX_BYTES, TOO_LARGE

# Below this size a bomb does no harm.
_HARMLESS_BYTES = 2**26
# All members of a small archive together: bzip2 unpacks as many zeros in 1.1 s of the processor.
_HARMLESS_TOTAL = 2**28
# No image is packed this tightly; deflate reaches 1,032, bzip2 a million (see tests/data/fuzz_seeds.py).
_EXPANSION = 100


def too_large(size: int, archive_size: int) -> str | None:
    """Why a member of `size` bytes must not be read into memory, or None.

    Sparse and compressed members can say that they have a gigabyte in an archive of some kilobytes.
    """
    if size > MAX_BYTES:
        return TOO_LARGE
    if size > _HARMLESS_BYTES and size > _EXPANSION * archive_size:
        return f"{size} bytes in an archive of {archive_size}: an archive bomb"
    return None


class Budget:
    """What an archive may unpack to in total: thousands of members may share a few compressed bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, path.stat().st_size
        self._total, self._allowed = 0, max(_HARMLESS_TOTAL, _EXPANSION * self._size)

    def spend(self, size: int) -> None:
        """Count unpacked bytes. Raises SourceError where they are more than any archive of images has."""
        self._total += size
        if self._total > self._allowed:
            raise SourceError(
                f"ingest.source.path: {self._path} unpacks to more than {self._allowed} bytes and has "
                f"{self._size}: an archive bomb; unpack it by hand if it is none"
            )
