"""Colours that a file states by numbers (CICP, ITU-T H.273) and not by a profile.

HEIC and AVIF have the numbers in a box, PNG in a chunk, JPEG XL in the profile that its decoder writes.
Primaries other than sRGB's become a profile, which `profiles` converts by. HDR (PQ, HLG) has no agreed look
in 8 bits: read as sRGB it is gray and dark, and tone mapping is a choice that a person has to make. So such
an image is refused.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import png
from stages.data.decoding.boxes import boxes

_HDR = {16: "PQ", 18: "HLG"}
# Transfer → exponent; None is the curve of sRGB, which BT.709 and BT.2020 are displayed by too.
_CURVES: Mapping[int, float | None] = dict.fromkeys((1, 2, 6, 13, 14, 15)) | {4: 2.2, 5: 2.8, 8: 1.0}
# Primaries → x and y of red, green and blue; white is D65. 1 is sRGB's; 2 means "unspecified".
_SRGB = (1, 2)
_PRIMARIES: Mapping[int, tuple[tuple[float, float], ...]] = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    2: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65, _D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


class Code(NamedTuple):
    """Colour primaries and transfer characteristics, as H.273 numbers them."""

    primaries: int
    transfer: int


def apply(image: Image.Image, data: bytes) -> None:
    """Give an image the colour profile that its file states by numbers, where it has no other.

    Args:
        image: As opened; its `info` gets the profile.
        data: The file.

    Raises:
        ImageError: HDR, or numbers that are not supported.
    """
    profile = image.info.get("icc_profile")
    code = _code_in_file(data) or (_code_in_profile(bytes(profile)) if profile else None)
    if code is None:
        return
    if code.transfer in _HDR:
        raise ImageError(
            f"an HDR image ({_HDR[code.transfer]}), which has no agreed look in 8 bits; save it as SDR"
        )
    if profile:
        return
    if code.primaries not in _PRIMARIES or code.transfer not in _CURVES:
        raise ImageError(
            f"colours of primaries {code.primaries} and transfer {code.transfer} (ITU-T H.273), which "
            "are not supported; save it as sRGB"
        )
    if code.primaries not in _SRGB or _CURVES[code.transfer] is not None:
        image.info["icc_profile"] = _profile(code)


def _code_in_file(data: bytes) -> Code | None:
    if png.is_png(data):
        content = png.content(data, b"cICP")
        return Code(content[0], content[1]) if len(content) == 4 else None
    return _code_in_boxes(data) if data[4:8] == b"ftyp" else None


def _code_in_profile(profile: bytes) -> Code | None:
    """The tag `cicp` of a profile of version 4.4."""
    count = int.from_bytes(profile[128:132], "big")
    for place in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        name, start, _ = struct.unpack_from(">4sII", profile, place)
        if name == b"cicp" and start + 10 <= len(profile):
            return Code(profile[start + 8], profile[start + 9])
    return None


def _code_in_boxes(data: bytes) -> Code | None:
    """The numbers of the primary image of a HEIC or AVIF file; a thumbnail or a gain map has other ones."""
    meta = next((body for kind, body in boxes(data) if kind == b"meta"), b"")[4:]
    parts = dict(boxes(meta))
    primary = parts.get(b"pitm", b"")
    wide = primary[:1] != b"\0"
    item = int.from_bytes(primary[4 : 8 if wide else 6], "big")
    inner = dict(boxes(parts.get(b"iprp", b"")))
    properties = list(boxes(inner.get(b"ipco", b"")))
    for number in _associated(inner.get(b"ipma", b""), item):
        if 0 < number <= len(properties):
            kind, body = properties[number - 1]
            if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 8:
                return Code(*struct.unpack_from(">HH", body, 4))
    return None


def _associated(body: bytes, item: int) -> list[int]:
    """The numbers, from 1, of the properties of an item."""
    if len(body) < 8:
        return []
    wide_item, wide_number = body[0] >= 1, body[3] & 1
    place, numbers = 8, []
    for _ in range(int.from_bytes(body[4:8], "big")):
        size = 4 if wide_item else 2
        if place + size >= len(body):
            break
        name, count = int.from_bytes(body[place : place + size], "big"), body[place + size]
        place += size + 1
        step = 2 if wide_number else 1
        if name == item:
            mask = 0x7FFF if wide_number else 0x7F
            entries = (body[start : start + step] for start in range(place, place + count * step, step))
            numbers += [int.from_bytes(entry, "big") & mask for entry in entries]
        place += count * step
    return numbers


@lru_cache
def _profile(code: Code) -> bytes:
    """A display profile of version 4 with these primaries and this curve."""
    exponent = _CURVES[code.transfer]
    if exponent is None:
        # The curve of sRGB: IEC 61966-2-1.
        values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, values))
    else:
        curve = b"para" + bytes(4) + struct.pack(">HH", 0, 0) + _fixed(exponent)
    text = struct.pack(">II4sII", 1, 12, b"enUS", 8, 28) + "CICP".encode("utf-16-be")
    tags = {
        b"desc": b"mluc" + bytes(4) + text,
        b"wtpt": b"XYZ " + bytes(4) + b"".join(map(_fixed, _D50)),
    }
    for column, name in zip(_columns(code.primaries).T, (b"rXYZ", b"gXYZ", b"bXYZ"), strict=True):
        tags[name] = b"XYZ " + bytes(4) + b"".join(map(_fixed, column))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    place, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = bytes(8) + b"\4\x20\0\0mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    head = (head.ljust(68, b"\0") + b"".join(map(_fixed, _D50))).ljust(128, b"\0")
    return struct.pack(">I", len(head + table + body)) + head[4:] + table + body


def _columns(primaries: int) -> NDArray[np.float64]:
    """XYZ of red, green and blue at full light, in columns, adapted to D50 (Bradford)."""
    xy = np.array([*_PRIMARIES[primaries], _D65])
    xyz = np.column_stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(1)) / xy[:, 1]]).T
    white = xyz[:, 3]
    colors = xyz[:, :3] * np.linalg.solve(xyz[:, :3], white)
    gain = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ (gain[:, None] * (_BRADFORD @ colors)))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
