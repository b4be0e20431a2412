"""One reader of the orientation: size, pixels, hashes and serving agree, whatever the EXIF data look like."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.data.decoding import decode, inspect
from stages.data.sizing import View
from stages.serving import intake
from tests.data.decoding.samples import by_imagemagick, jpeg, photograph, stored

HEIGHT, WIDTH = 48, 80
SCENE = photograph(3, HEIGHT, WIDTH)
# Quarter turn: what a camera stores that was held upright.
STORED = stored(SCENE, 6)
BYTE, ASCII, SHORT, LONG, UNDEFINED, SIGNED_SHORT, SIGNED_LONG = 1, 2, 3, 4, 7, 8, 9
ORIENTATION, NUMBER_OF_FACES = 0x0112, 0x0113


def exif(order: str, kind: int, value: int, count: int = 1, tag: int = ORIENTATION) -> bytes:
    """An EXIF segment's content with one entry."""
    size = {SHORT: "H", SIGNED_SHORT: "H", LONG: "I", SIGNED_LONG: "I"}.get(kind)
    field = bytes([value]) if size is None else struct.pack(order + size, value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    entry = struct.pack(order + "HHI", tag, kind, count) + field.ljust(4, b"\0")
    return b"Exif\0\0" + head + entry + bytes(4)


def with_segments(*contents: bytes) -> bytes:
    data = jpeg(STORED, quality=95, subsampling=0)
    segments = (b"\xff\xe1" + struct.pack(">H", len(image) + 2) + image for image in contents)
    return data[:2] + b"".join(segments) + data[2:]


TURNED = [exif(order, kind, 6) for order in "<>" for kind in (BYTE, SHORT, LONG, UNDEFINED, SIGNED_SHORT)]
TURNED += [exif(order, SIGNED_LONG, 6) for order in "<>"]
AS_STORED = [
    exif("<", SHORT, 6, count=0),
    exif(">", SHORT, 6, count=0),
    exif("<", SHORT, 1),
    exif("<", SHORT, 0),
    exif(">", LONG, 2**31),
    exif(">", SHORT, 6, tag=NUMBER_OF_FACES),
]
SEVERAL = {
    "the first says 6": ((exif("<", SHORT, 6), exif("<", SHORT, 1)), True),
    "the first says 1": ((exif("<", SHORT, 1), exif("<", SHORT, 6)), False),
    "the first says nothing": ((exif("<", SHORT, 1, tag=NUMBER_OF_FACES), exif("<", SHORT, 6)), False),
}


def check(data: bytes, *, turned: bool) -> None:
    expected = SCENE if turned else STORED
    facts = inspect(data, 10**6, hashed=True)
    assert (facts.height, facts.width) == expected.shape[:2]
    file = io.BytesIO()
    Image.fromarray(decode(data, "rgb", plain=facts.plain)).save(file, "PNG")
    assert facts.phash == inspect(file.getvalue(), 10**6, hashed=True).phash
    for color in ("rgb", "gray"):
        pixels = decode(data, color, plain=facts.plain)
        gray = np.asarray(Image.fromarray(expected).convert("L"))[:, :, None]
        wanted = expected if color == "rgb" else gray
        assert pixels.shape[:2] == expected.shape[:2]
        assert np.abs(pixels.astype(float) - wanted).mean() < 12
    view = View(24, 40, "rgb", False, "exact")
    resize = {"size": [24, 40], "color": "rgb", "keep_aspect": False, "quality": "exact"}
    sized = view.apply(data, facts.height, facts.width, plain=facts.plain)
    np.testing.assert_array_equal(intake.prepared(data, resize, 10**6), sized)
    fast = View(12, 20, "rgb", False, "fast").apply(data, facts.height, facts.width, plain=facts.plain)
    exact = View(12, 20, "rgb", False, "exact").apply(data, facts.height, facts.width, plain=facts.plain)
    assert np.abs(fast.astype(int) - exact).mean() < 6


@pytest.mark.parametrize("content", TURNED)
def test_the_tag_counts_whatever_its_type(content: bytes) -> None:
    check(with_segments(content), turned=True)


@pytest.mark.parametrize("content", AS_STORED)
def test_without_a_valid_value_the_image_stays_as_stored(content: bytes) -> None:
    check(with_segments(content), turned=False)


@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_segments_the_first_counts(name: str) -> None:
    contents, turned = SEVERAL[name]
    check(with_segments(*contents), turned=turned)


@pytest.mark.parametrize("place", range(len(TURNED) + len(AS_STORED) + len(SEVERAL)))
def test_imagemagick_sees_the_same(place: int, tmp_path: Path) -> None:
    contents = [*((image,) for image in TURNED + AS_STORED), *(contents for contents, _ in SEVERAL.values())]
    data = with_segments(*contents[place])
    facts = inspect(data, 10**6, hashed=False)
    result = decode(data, "rgb", plain=facts.plain)
    expected = by_imagemagick(data, tmp_path, "-auto-orient")
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= 4
