"""A writer of TIFF files with any tags, for what no library writes."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
SAMPLES, ROWS, COUNTS, PLANES, COLORMAP, EXTRA, FORMAT = 277, 278, 279, 284, 320, 338, 339
SUBFILE, TABLES, SUBSAMPLING = 254, 347, 530
TILE_WIDTH, TILE_LENGTH = 322, 323
NONE, LZW, DEFLATE, PACKBITS, LZMA, ZSTANDARD = 1, 5, 8, 32773, 34925, 50000
JPEG, JPEG_2000, LERC, PNG, WEBP, JPEG_XL = 7, 34712, 34887, 34933, 50001, 50002
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, INKS, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8


def packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Rows of samples (H, N), each row padded to whole bytes, most significant bit first."""
    if bits in (16, 32, 64):
        return samples.astype(f"{order}{samples.dtype.kind}{bits // 8}").tobytes()
    places = np.arange(bits - 1, -1, -1)
    spread = (samples.astype(np.uint32)[:, :, None] >> places) & 1
    return np.packbits(spread.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def tiff(
    samples: np.ndarray,
    photometric: int,
    bits: int,
    *,
    order: str = "<",
    separate: bool = False,
    extra: tuple[int, ...] = (),
    tags: Mapping[int, tuple[int, ...]] | None = None,
) -> bytes:
    """One uncompressed page of samples (H, W, C)."""
    return pages([(samples, photometric, bits, separate, extra, tags or {})], order)


def pages(contents: Sequence[tuple[Any, ...]], order: str = "<") -> bytes:
    """Several pages; each is (samples, photometric, bits, separate, extra, further tags)."""
    file = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 0))
    link = 4
    for samples, photometric, bits, separate, extra, tags in contents:
        height, width, channels = samples.shape
        planes = [samples[:, :, c] for c in range(channels)] if separate else [samples.reshape(height, -1)]
        strips = [packed(plane, bits, order) for plane in planes]
        offsets = []
        for strip in strips:
            offsets.append(len(file))
            file += strip + bytes(len(strip) % 2)
        kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
        entries: dict[int, tuple[int, ...]] = {
            WIDTH: (width,),
            LENGTH: (height,),
            BITS: (bits,) * channels,
            COMPRESSION: (1,),
            PHOTOMETRIC: (photometric,),
            OFFSETS: tuple(offsets),
            SAMPLES: (channels,),
            ROWS: (height,),
            COUNTS: tuple(map(len, strips)),
            PLANES: (2 if separate else 1,),
            FORMAT: (kind,) * channels,
        }
        if extra:
            entries[EXTRA] = extra
        entries |= tags
        link = _directory(file, entries, order, link)
    return bytes(file)


def compressed(
    strips: Sequence[bytes],
    shape: tuple[int, int, int],
    compression: int,
    photometric: int,
    tags: Mapping[int, tuple[int, ...]] | None = None,
) -> bytes:
    """One page of 8 bits whose strips, of equally many rows, are compressed already; (H, W, C)."""
    height, width, channels = shape
    file = bytearray(b"II*\0" + bytes(4))
    offsets = []
    for strip in strips:
        offsets.append(len(file))
        file += strip + bytes(len(strip) % 2)
    entries: dict[int, tuple[int, ...]] = {
        WIDTH: (width,),
        LENGTH: (height,),
        BITS: (8,) * channels,
        COMPRESSION: (compression,),
        PHOTOMETRIC: (photometric,),
        OFFSETS: tuple(offsets),
        SAMPLES: (channels,),
        ROWS: (height // len(strips),),
        COUNTS: tuple(map(len, strips)),
    }
    _directory(file, entries | dict(tags or {}), "<", 4)
    return bytes(file)


def _directory(file: bytearray, entries: dict[int, tuple[int, ...]], order: str, link: int) -> int:
    """Append a directory; return the place of its link to the next."""
    longs = (WIDTH, LENGTH, OFFSETS, ROWS, COUNTS, SUBFILE)
    kinds = {TABLES: ("B", 7)} | dict.fromkeys(longs, ("I", 4))
    fields = []
    for tag, values in sorted(entries.items()):
        code, kind = kinds.get(tag, ("H", 3))
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(data) > 4:
            place = len(file)
            file += data + bytes(len(data) % 2)
            data = struct.pack(order + "I", place)
        fields.append(struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0"))
    struct.pack_into(order + "I", file, link, len(file))
    file += struct.pack(order + "H", len(fields)) + b"".join(fields) + bytes(4)
    return len(file) - 4
