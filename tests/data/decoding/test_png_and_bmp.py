"""PNG's transparent colours at every depth and its chunks about colour, and BMP's unused fourth byte."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.data.decoding import decode, inspect
from tests.data.decoding.samples import by_imagemagick
from tests.data.decoding.tiffs import packed

HEIGHT, WIDTH = 9, 16
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
KINDS = [(GRAY, bits) for bits in (1, 2, 4, 8, 16)] + [(RGB, 8), (RGB, 16), (GRAY_ALPHA, 8), (GRAY_ALPHA, 16)]
KINDS += [(RGBA, 8), (RGBA, 16)]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples: np.ndarray, kind: int, bits: int, further: bytes = b"") -> bytes:
    """An image of samples (H, W, C), with further chunks before its pixels."""
    rows = packed(samples.reshape(len(samples), -1), bits, ">")
    stride = len(rows) // len(samples)
    raw = b"".join(b"\0" + rows[start : start + stride] for start in range(0, len(rows), stride))
    header = struct.pack(">IIBBBBB", samples.shape[1], len(samples), bits, kind, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), further]
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")])


def scene(kind: int, bits: int) -> np.ndarray:
    channels = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGBA: 4}[kind]
    draw = np.random.default_rng(kind + bits)
    return draw.integers(0, 2**bits, (HEIGHT, WIDTH, channels)).astype(np.uint16)


def pixels_of(data: bytes) -> np.ndarray:
    facts = inspect(data, 10**6, hashed=True)
    return decode(data, "rgb", plain=facts.plain).astype(int)


@pytest.mark.parametrize(("kind", "bits"), KINDS)
@pytest.mark.parametrize("transparent", [False, True])
def test_every_depth(kind: int, bits: int, transparent: bool, tmp_path: Path) -> None:
    if transparent and kind in (GRAY_ALPHA, RGBA):
        pytest.skip("a PNG with alpha has no transparent colour")
    samples = scene(kind, bits)
    key = tuple(samples[4, 5].tolist()) if transparent else None
    if kind == RGB and bits == 16:
        # Equal in the upper 8 bits, but not the transparent colour.
        samples[0, 0] = samples[4, 5] ^ 1
    data = png(samples, kind, bits, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b"")
    light = samples / (2**bits - 1)
    colors = light[:, :, : 3 if kind in (RGB, RGBA) else 1]
    share = light[:, :, -1:] if kind in (GRAY_ALPHA, RGBA) else np.ones_like(colors[:, :, :1])
    if key:
        share = 1.0 - (samples == np.asarray(key)).all(axis=2, keepdims=True)
    wanted = np.broadcast_to(255 * (colors * share + 1 - share), (HEIGHT, WIDTH, 3))
    result = pixels_of(data)
    # Colour and alpha are each brought to 8 bits.
    assert np.abs(result - wanted).max() <= 2
    expected = by_imagemagick(data, tmp_path, "-background", "white", "-flatten")
    assert np.abs(result - expected).max() <= 2


COLOR_CHUNKS = {
    "gAMA": chunk(b"gAMA", struct.pack(">I", 45455)),
    "sRGB": chunk(b"sRGB", b"\0"),
    "gAMA of linear light": chunk(b"gAMA", struct.pack(">I", 100_000)),
    "cHRM": chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
}


@pytest.mark.parametrize("name", COLOR_CHUNKS)
@pytest.mark.parametrize("bits", [8, 16])
def test_chunks_about_colour_change_no_pixel(name: str, bits: int) -> None:
    samples = scene(RGB, bits)
    for color in ("rgb", "gray"):
        pixels = decode(png(samples, RGB, bits, COLOR_CHUNKS[name]), color, plain=True)
        np.testing.assert_array_equal(pixels, decode(png(samples, RGB, bits), color, plain=True))


def test_of_an_animation_the_default_image_is_taken() -> None:
    default, *frames = (Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "lime", "blue"))
    file = io.BytesIO()
    default.save(file, "PNG", save_all=True, default_image=True, append_images=frames)
    np.testing.assert_array_equal(pixels_of(file.getvalue()), np.asarray(default))


def bmp(pixels: np.ndarray, *, masks: bool) -> bytes:
    """A BMP of 32 bits from (H, W, 4), BGRA; with `masks`, the header says where alpha is."""
    height, width = pixels.shape[:2]
    size, compression = (108, 3) if masks else (40, 0)
    header = struct.pack("<IiiHHIIiiII", size, width, height, 1, 32, compression, 0, 2835, 2835, 0, 0)
    if masks:
        header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    start = 14 + len(header)
    body = pixels[::-1].tobytes()
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + body


@pytest.mark.parametrize("masks", [False, True])
def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque(masks: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    pixels[:, :, 3] = 0
    np.testing.assert_array_equal(pixels_of(bmp(pixels, masks=masks)), pixels[:, :, 2::-1])


def test_a_bmp_with_alpha_is_laid_on_white() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    share = pixels[:, :, 3:] / 255
    wanted = pixels[:, :, 2::-1] * share + 255 * (1 - share)
    assert np.abs(pixels_of(bmp(pixels, masks=True)) - wanted).max() <= 1.5


@pytest.mark.parametrize("top", [1, 3, 15, 100, 255, 256, 1000, 4095, 65535])
@pytest.mark.parametrize("color", [False, True])
def test_a_portable_map_of_any_range(top: int, color: bool, tmp_path: Path) -> None:
    shape = (HEIGHT, WIDTH, 3 if color else 1)
    samples = np.random.default_rng(top).integers(0, top + 1, shape).astype(">u2" if top > 255 else np.uint8)
    data = f"P{6 if color else 5} {WIDTH} {HEIGHT} {top}\n".encode() + samples.tobytes()
    result = pixels_of(data)
    assert np.abs(result - np.broadcast_to(samples * (255 / top), result.shape)).max() <= 1.5
    assert np.abs(result - by_imagemagick(data, tmp_path)).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_partial_transparency(kind: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    palette = Image.fromarray(pixels).quantize(16)
    alphas = bytes(range(0, 256, 17)) if kind == "PNG" else 5
    file = io.BytesIO()
    palette.save(file, kind, transparency=alphas)
    expected = by_imagemagick(file.getvalue(), tmp_path, "-background", "white", "-flatten")
    assert np.abs(pixels_of(file.getvalue()) - expected).max() <= 2
