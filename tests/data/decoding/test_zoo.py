"""Every odd image a person may have: correct pixels, or a ImageError with the reason."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import decode, inspect
from tests.data.decoding.samples import stored

# Pillow's, of broken metadata; pytest would show them although the module under test turns them off.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MAX_PIXELS = 1_000_000
HEIGHT, WIDTH = 24, 40
ORIENTATION = 0x0112


def scene() -> np.ndarray:
    """A smooth image that looks different turned or mirrored, and has every channel its own."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = (255 * x / (WIDTH - 1), 255 * y / (HEIGHT - 1), 255 - 120 * x / (WIDTH - 1))
    return np.stack(planes, axis=2).round().astype(np.uint8)


SCENE = scene()
GRAY = np.asarray(Image.fromarray(SCENE).convert("L"))


def saved(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.ascontiguousarray(pixels))
    image.save(file, kind, **options)
    return file.getvalue()


def check(data: bytes, expected: np.ndarray, tolerance: float = 0.0) -> None:
    """Both ways of decoding give the expected (H, W, 3), and what is known of the image is true."""
    facts = inspect(data, MAX_PIXELS, hashed=True)
    result = decode(data, "rgb", plain=facts.plain)
    assert result.dtype == np.uint8
    assert result.shape == (facts.height, facts.width, 3)
    np.testing.assert_allclose(result.astype(float), np.broadcast_to(expected, result.shape), atol=tolerance)
    gray = decode(data, "gray", plain=facts.plain)
    assert gray.shape == (facts.height, facts.width, 1)
    wanted = np.asarray(Image.fromarray(result).convert("L"), float)
    np.testing.assert_allclose(gray[:, :, 0], wanted, atol=2)


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as error:
        inspect(data, MAX_PIXELS, hashed=True)
    assert "\n" not in str(error.value)
    return str(error.value)


# A JPEG of a smooth image at this quality is this close to it.
JPEG = {"quality": 95, "subsampling": 0}
NEAR = 6


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 2}])
def test_jpeg(options: dict[str, Any]) -> None:
    check(saved(SCENE, "JPEG", **JPEG | options), SCENE, 10 if "subsampling" in options else NEAR)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_gray(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    check(saved(GRAY, kind, **options), GRAY[:, :, None], NEAR if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_lossless(kind: str) -> None:
    check(saved(SCENE, kind, **({"lossless": True} if kind == "WEBP" else {})), SCENE)


def test_cmyk_jpeg() -> None:
    # Without black, CMYK is the negative of RGB.
    inks = np.dstack([255 - SCENE, np.zeros((HEIGHT, WIDTH), np.uint8)])
    check(saved(Image.fromarray(inks, "CMYK"), "JPEG", **JPEG), SCENE, NEAR)


def test_ycck_jpeg() -> None:
    # Pillow writes CMYK with Adobe's mark, whose last byte says that the channels are CMYK (0) or YCCK (2).
    inks = np.asarray(Image.fromarray(255 - SCENE).convert("YCbCr"))
    samples = np.dstack([255 - inks, np.zeros((HEIGHT, WIDTH), np.uint8)])
    data = bytearray(saved(Image.fromarray(samples, "CMYK"), "JPEG", **JPEG))
    mark = data.index(b"Adobe") + len("Adobe") + 6
    assert data[mark] == 0
    data[mark] = 2
    check(bytes(data), SCENE, 2 * NEAR)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = JPEG if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    check(saved(stored(SCENE, orientation), kind, exif=exif, **options), SCENE, NEAR if kind == "JPEG" else 0)


def test_orientation_that_only_xmp_knows() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    check(saved(stored(SCENE, 6), "JPEG", xmp=xmp, **JPEG), SCENE, NEAR)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"none"])
def test_broken_metadata_do_not_spoil_the_image(exif: bytes) -> None:
    check(saved(SCENE, "JPEG", exif=exif, **JPEG), SCENE, NEAR)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    check(saved(SCENE, "JPEG", exif=exif, **JPEG), SCENE, NEAR)


def test_16_bits() -> None:
    deep = SCENE.astype(np.uint16) * 257
    check(cv2.imencode(".png", deep[:, :, ::-1])[1].tobytes(), SCENE)
    check(cv2.imencode(".png", deep[:, :, 0])[1].tobytes(), SCENE[:, :, :1])
    check(cv2.imencode(".tiff", deep[:, :, 0])[1].tobytes(), SCENE[:, :, :1])
    check(cv2.imencode(".pgm", deep[:, :, 0])[1].tobytes(), SCENE[:, :, :1])


def test_32_bits_have_no_agreed_range() -> None:
    for values in (SCENE[:, :, 0] / np.float32(255), SCENE[:, :, 0].astype(np.int32) * 2**20):
        assert "32 bits" in refused(saved(Image.fromarray(values), "TIFF"))


def test_few_bits() -> None:
    black_and_white = Image.fromarray(GRAY).point(lambda value: 255 * (value > 127)).convert("1")
    expected = np.asarray(black_and_white.convert("L"))[:, :, None]
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        check(saved(black_and_white, kind), expected)
    check(saved(Image.fromarray(GRAY // 17 * 17), "PNG", bits=4), (GRAY // 17 * 17)[:, :, None])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_palette(kind: str) -> None:
    palette = Image.fromarray(SCENE).quantize(16)
    check(saved(palette, kind), np.asarray(palette.convert("RGB")))


def on_white(alpha: np.ndarray) -> np.ndarray:
    share = alpha[:, :, None] / 255
    return SCENE * share + 255 * (1 - share)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_on_white(kind: str) -> None:
    alpha = SCENE[:, :, 0]
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    check(saved(np.dstack([SCENE, alpha]), kind, **options), on_white(alpha), 1)


def test_gray_with_alpha() -> None:
    gray = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(np.full_like(GRAY, 128))])
    expected = GRAY * (128 / 255) + 255 * (127 / 255)
    check(saved(gray, "PNG"), expected[:, :, None], 1)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(kind: str) -> None:
    palette = Image.fromarray(SCENE).quantize(16)
    expected = np.where((np.asarray(palette) == 3)[:, :, None], 255, np.asarray(palette.convert("RGB")))
    check(saved(palette, kind, transparency=3), expected)


def test_a_transparent_colour_without_a_palette_is_white() -> None:
    pixels = SCENE.copy()
    pixels[5:9, 5:9] = (1, 2, 3)
    expected = pixels.copy()
    expected[5:9, 5:9] = 255
    check(saved(pixels, "PNG", transparency=(1, 2, 3)), expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    first, second = (Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ((200, 30, 40), (10, 220, 30)))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(first, kind, save_all=True, append_images=[second], **options)
    check(data, np.asarray((200, 30, 40)))


def test_several_images_in_one_jpeg() -> None:
    pages = [Image.fromarray(SCENE), Image.fromarray(SCENE[::-1])]
    data = saved(pages[0], "MPO", save_all=True, append_images=pages[1:], **JPEG)
    check(data, SCENE, NEAR)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (1, 70_000), (3, 2)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_extreme_shapes(kind: str, size: tuple[int, int]) -> None:
    if kind == "JPEG" and max(size) > 65_500:
        pytest.skip("JPEG has no sides this long")
    check(saved(np.full((*size, 3), (90, 120, 30), np.uint8), kind), np.asarray((90, 120, 30)), 3)


def test_a_side_longer_than_opencv_takes() -> None:
    pixels = np.full((1, 2**20 + 1), 7, np.uint8)
    data = saved(pixels, "PNG")
    facts = inspect(data, 2**21, hashed=True)
    assert decode(data, "rgb", plain=facts.plain).shape == (1, 2**20 + 1, 3)


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 50,000 x 50,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    assert refused(bomb()) == "50000x50000 pixels are more than the 1000000 allowed"
    assert "are more than the 1000000 allowed" in refused(saved(np.zeros((1001, 1000), np.uint8), "GIF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(kind: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    data = saved(noise, kind)
    assert refused(data[: int(len(data) * part)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"no image at all", "not an image in one of the formats BMP, GIF, "),
        (b"\0" * 1000, "not an image"),
        (b"%PDF-1.4", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"\xff\xd8\xff\xe0", "image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"GIF89a", "image"),
        (b"BM", "image"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    assert reason in refused(data)


def test_formats_that_are_not_accepted_are_refused() -> None:
    assert "not an image in one of the formats" in refused(saved(SCENE, "ICO"))
    assert "not an image in one of the formats" in refused(saved(SCENE, "EPS"))


def test_lab_tiff() -> None:
    lab = Image.fromarray(SCENE).convert("LAB")
    check(saved(lab, "TIFF"), np.asarray(lab.convert("RGB")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_wrong_bytes_raise_nothing_but_an_image_error(kind: str) -> None:
    draw = np.random.default_rng(1)
    good = np.frombuffer(
        saved(Image.fromarray(SCENE).quantize(16) if kind == "GIF" else SCENE, kind), np.uint8
    )
    for _ in range(150):
        data = good.copy()
        places = draw.integers(0, min(len(data), 400), draw.integers(1, 8))
        data[places] = draw.integers(0, 256, len(places))
        try:
            facts = inspect(data.tobytes(), MAX_PIXELS, hashed=True)
        except ImageError:
            continue
        result = decode(data.tobytes(), "rgb", plain=facts.plain)
        assert result.shape == (facts.height, facts.width, 3)
