"""PNG's transparent colours at every depth, and BMP's unused fourth byte."""

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


def png(samples: np.ndarray, kind: int, bits: int, transparent: tuple[int, ...] | None = None) -> bytes:
    """An image of samples (H, W, C); `transparent` is the colour that tRNS names."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = packed(samples.reshape(len(samples), -1), bits, ">")
    stride = len(rows) // len(samples)
    raw = b"".join(b"\0" + rows[start : start + stride] for start in range(0, len(rows), stride))
    header = struct.pack(">IIBBBBB", samples.shape[1], len(samples), bits, kind, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
    if transparent:
        parts.append(chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
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
    data = png(samples, kind, bits, key)
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
