"""How large a member of an archive may be."""

from stages.data.sources import MAX_BYTES, TOO_LARGE

# Below this size a bomb does no harm.
_HARMLESS_BYTES = 2**26
# No image is packed this tightly; deflate reaches 1,032.
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
