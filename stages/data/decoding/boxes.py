"""The boxes that HEIC, AVIF, JPEG 2000 and JPEG XL files consist of (ISO/IEC 14496-12)."""

import struct
from collections.abc import Iterator


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the content of each box."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1 and place + 16 <= len(data):
            size, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        stop = len(data) if size == 0 else place + size
        if size and size < head:
            return
        yield kind, data[place + head : stop]
        place = stop
