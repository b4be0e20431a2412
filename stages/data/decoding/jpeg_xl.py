"""The size of a JPEG XL file by its header (ISO/IEC 18181-1): its plug-in decodes an image to open it."""

from stages.data.decoding.boxes import boxes

MAGIC = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
# Bytes that hold the marker and the size, which takes up to 68 bits.
_HEAD = 16
_BITS = (9, 13, 18, 30)
# Width by height, numbered from 1.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def is_jpeg_xl(data: bytes) -> bool:
    """Whether the data begin as a JPEG XL does."""
    return data.startswith(MAGIC)


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored; zeros where the file has none."""
    if not data.startswith(MAGIC[0]):
        # The codestream is one box, or in parts that are numbered.
        skipped = {b"jxlc": 0, b"jxlp": 4}
        parts = (body[skipped[kind] :][:_HEAD] for kind, body in boxes(data) if kind in skipped)
        data = b"".join(parts)
    if not data.startswith(MAGIC[0]):
        return 0, 0
    return _size(_Bits(data[len(MAGIC[0]) : _HEAD]))


class _Bits:
    """Numbers of some bits, least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        number = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return number


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = _side(bits, small)
    if ratio := bits.take(3):
        wide, high = _RATIOS[ratio - 1]
        return height * wide // high, height
    return _side(bits, small), height


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take(_BITS[bits.take(2)]) + 1
