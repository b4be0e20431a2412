"""The strips and tiles of a TIFF file: missing, cut off, or images of another size than the file says."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from stages.common.errors import DamagedError, ImageError
from stages.data.decoding import decode, inspect
from tests.data.decoding import tiffs
from tests.data.decoding.samples import jpeg, memory_of, photograph
from tests.data.decoding.tiffs import BLACK_IS_ZERO, RGB, YCBCR, compressed, tiff


@pytest.mark.parametrize("count", [0, 10**6])
def test_missing_strips_are_damage(count: int) -> None:
    broken = tiff(photograph(0, 50, 75), RGB, 8, tags={tiffs.COUNTS: (count,)})
    with pytest.raises(DamagedError, match="damaged TIFF: strips or tiles are missing"):
        inspect(broken, 10**6, hashed=False)


@pytest.mark.parametrize("compression", [tiffs.NONE, tiffs.DEFLATE])
def test_strips_that_are_not_listed_are_damage(compression: int) -> None:
    samples = photograph(0, 50, 75)
    rows = [row.tobytes() for row in samples]
    strips = rows if compression == tiffs.NONE else list(map(zlib.compress, rows))
    sound = compressed(strips, samples.shape, compression, RGB)
    np.testing.assert_array_equal(decode(sound, "rgb", plain=False), samples)
    damaged = compressed(strips[:5], samples.shape, compression, RGB, {tiffs.ROWS: (1,)})
    with pytest.raises(DamagedError, match="damaged TIFF: strips or tiles are missing"):
        inspect(damaged, 10**6, hashed=False)


@pytest.mark.parametrize(("space", "mode"), [(BLACK_IS_ZERO, "L"), (tiffs.INKS, "CMYK"), (YCBCR, "RGB")])
def test_a_jpeg_strip_that_is_cut_off_is_damage(space: int, mode: str) -> None:
    """The first two are decoded by imagecodecs and libtiff, which fill it with gray."""
    image = Image.fromarray(photograph(0, 50, 75)).convert(mode)
    data = jpeg(image, subsampling=0)
    shape = (image.height, image.width, len(image.getbands()))
    tags = {tiffs.SUBSAMPLING: (1, 1)} if space == YCBCR else {}
    inspect(compressed([data], shape, tiffs.JPEG, space, tags), 10**6, hashed=False)
    damaged = compressed([data[: len(data) // 2]], shape, tiffs.JPEG, space, tags)
    with pytest.raises(DamagedError, match="damaged JPEG: "):
        inspect(damaged, 10**6, hashed=False)


def saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    __import__("pillow_jxl")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


JPEG_IN_RGB = {"quality": 95, "keep_rgb": True}
# Compression → an encoder.
IMAGE_FILES: dict[int, Callable[[np.ndarray], bytes]] = {
    tiffs.JPEG: lambda pixels: jpeg(pixels, **JPEG_IN_RGB),
    tiffs.PNG: lambda pixels: saved(pixels, "PNG"),
    tiffs.WEBP: lambda pixels: saved(pixels, "WEBP", lossless=True),
    tiffs.JPEG_XL: lambda pixels: saved(pixels, "JXL", lossless=True),
    tiffs.JPEG_2000: lambda pixels: saved(pixels, "JPEG2000"),
}


@pytest.mark.parametrize("compression", IMAGE_FILES)
def test_strips_that_are_image_files(compression: int) -> None:
    samples = photograph(0, 50, 75)
    strips = [IMAGE_FILES[compression](part) for part in (samples[:25], samples[25:])]
    pixels = decode(compressed(strips, samples.shape, compression, RGB), "rgb", plain=False)
    assert np.abs(pixels.astype(int) - samples).max() <= (30 if compression == tiffs.JPEG else 0)


@pytest.mark.parametrize(
    ("compression", "encode"),
    [
        (tiffs.LZW, imagecodecs.lzw_encode),
        (tiffs.PACKBITS, imagecodecs.packbits_encode),
        (tiffs.LZMA, imagecodecs.lzma_encode),
        (tiffs.ZSTANDARD, imagecodecs.zstd_encode),
    ],
)
def test_strips_of_compressed_samples(compression: int, encode: Callable[[bytes], bytes]) -> None:
    samples = photograph(0, 50, 75)
    strips = [bytes(encode(part.tobytes())) for part in (samples[:25], samples[25:])]
    pixels = decode(compressed(strips, samples.shape, compression, RGB), "rgb", plain=False)
    np.testing.assert_array_equal(pixels, samples)


@pytest.mark.parametrize("compression", IMAGE_FILES)
def test_a_strip_of_another_size_than_the_file_says_is_damage(compression: int) -> None:
    """Its decoder would take the memory of the size that it states itself."""
    strip = IMAGE_FILES[compression](photograph(0, 100, 150))
    with pytest.raises(DamagedError, match="a strip or tile is an image of another size"):
        inspect(compressed([strip], (50, 75, 3), compression, RGB), 10**6, hashed=False)
    with pytest.raises(DamagedError, match="a strip or tile is an image of another size"):
        inspect(compressed([strip[:8]], (50, 75, 3), compression, RGB), 10**6, hashed=False)


def enlarged(data: bytes, side: int) -> bytes:
    """A JPEG whose header states this width and height."""
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", side, side) + data[place + 4 :]


@pytest.mark.parametrize("space", [RGB, YCBCR])
def test_a_small_strip_that_states_many_pixels_takes_no_memory(space: int, tmp_path: Path) -> None:
    strip = enlarged(jpeg(photograph(0, 50, 75), **JPEG_IN_RGB), 12_000)
    memory, reason = memory_of(compressed([strip], (64, 64, 3), tiffs.JPEG, space), 10**9, tmp_path)
    assert "a strip or tile is an image of another size" in reason
    assert memory < 64


def segment(kind: int, content: bytes) -> bytes:
    return bytes((0xFF, kind)) + struct.pack(">H", len(content) + 2) + content


FRAME = segment(0xC0, struct.pack(">BHHB", 8, 64, 64, 1) + b"\1\x11\0")
LARGE = enlarged(jpeg(photograph(0, 50, 75)), 12_000)
START, END = b"\xff\xd8", b"\xff\xd9"


@pytest.mark.parametrize(
    "strip",
    [
        START + FRAME + LARGE[2:],
        START + b"\xff\xd0" + FRAME + LARGE[2:],
        START + END + FRAME + LARGE[2:],
    ],
    ids=["two frames", "a restart before it", "an end before it"],
)
def test_a_frame_that_libjpeg_does_not_read_changes_nothing(strip: bytes) -> None:
    with pytest.raises(DamagedError, match="a strip or tile is an image of another size"):
        inspect(compressed([strip], (64, 64, 3), tiffs.JPEG, YCBCR), 10**6, hashed=False)


@pytest.mark.parametrize("tables", [START + FRAME + END, START + b"\xff\xfe\0\x14"])
def test_tables_that_hold_more_than_tables_are_damage(tables: bytes) -> None:
    """The second takes the strip's header for a comment, up to a frame that is within a comment there."""
    strip = START + segment(0xFE, bytes(14) + FRAME) + jpeg(photograph(0, 50, 75))[2:]
    tags = {tiffs.TABLES: tuple(tables), tiffs.SUBSAMPLING: (2, 2)}
    with pytest.raises(DamagedError, match="its JPEG tables hold more than tables"):
        inspect(compressed([strip], (50, 75, 3), tiffs.JPEG, YCBCR, tags), 10**6, hashed=False)


def test_a_compression_that_is_not_supported_is_refused() -> None:
    data = compressed([bytes(100)], (64, 64, 3), tiffs.LERC, RGB)
    with pytest.raises(ImageError, match="a TIFF of a compression that is not supported: 34887"):
        inspect(data, 10**6, hashed=False)


def test_a_tile_counts_as_an_image() -> None:
    tags = {tiffs.TILE_WIDTH: (12_000,), tiffs.TILE_LENGTH: (12_000,)}
    data = compressed([zlib.compress(bytes(1000))], (64, 64, 3), tiffs.DEFLATE, RGB, tags)
    with pytest.raises(ImageError, match="12000x12000 pixels are more than the 1000000 allowed"):
        inspect(data, 10**6, hashed=False)


def test_many_channels_count_as_many_pixels() -> None:
    data = compressed(
        [zlib.compress(bytes(1000))], (6000, 6000, 16), tiffs.DEFLATE, RGB, {tiffs.EXTRA: (0,) * 13}
    )
    with pytest.raises(ImageError, match=r"6000x6000 pixels in .*: a decompression bomb"):
        inspect(data, 10**9, hashed=False)
