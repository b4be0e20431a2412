"""Colour profiles: what a file means in sRGB, compared with the formulas and with ImageMagick."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from stages.data.decoding import decode, inspect
from stages.serving import intake
from tests.data.decoding.samples import by_imagemagick, jpeg, photograph

# Columns: XYZ of red, green and blue at full light, adapted to D50.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
BT_2020 = np.array([[0.67342, 0.16564, 0.12513], [0.27902, 0.67534, 0.04564], [-0.00193, 0.02998, 0.79733]])
SPACES = {"Display P3": (DISPLAY_P3, None), "Adobe RGB": (ADOBE_RGB, 563 / 256)}


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def profile(matrix: np.ndarray, gamma: float | None) -> bytes:
    """A display profile of version 2 or, with sRGB's curve, 4."""
    if gamma is None:
        values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(fixed, values))
    else:
        curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = "made by a test"
    tags = {
        b"desc": b"mluc"
        + bytes(4)
        + struct.pack(">II", 1, 12)
        + b"enUS"
        + struct.pack(">II", 2 * len(text), 28)
        + text.encode("utf-16-be"),
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642) + fixed(1) + fixed(0.8249),
    }
    for column, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
        tags[name] = b"XYZ " + bytes(4) + b"".join(fixed(value) for value in matrix[:, column])
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    place, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    version = b"\4\x20\0\0"
    head = bytes(8) + version + b"mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642) + fixed(1) + fixed(0.8249)
    data = bytearray(head.ljust(128, b"\0") + table + body)
    data[:4] = struct.pack(">I", len(data))
    return bytes(data)


def in_srgb(pixels: np.ndarray, matrix: np.ndarray, gamma: float | None) -> np.ndarray:
    """The formulas, in floating point."""
    light = pixels / 255
    low = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    linear = (low if gamma is None else light**gamma) @ matrix.T @ np.linalg.inv(SRGB).T
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * encoded


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_colours_become_srgb(space: str, kind: str, tmp_path: Path) -> None:
    matrix, gamma = SPACES[space]
    pixels = photograph(2)
    file = io.BytesIO()
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(file, kind, icc_profile=profile(matrix, gamma), **options)
    data = file.getvalue()
    facts = inspect(data, 10**6, hashed=True)
    assert not facts.plain
    result = decode(data, "rgb", plain=facts.plain)
    tolerance = 4 if kind == "JPEG" else 2
    assert np.abs(result - in_srgb(pixels, matrix, gamma)).mean() < tolerance / 2
    srgb = tmp_path / "srgb.icc"
    srgb.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    expected = by_imagemagick(data, tmp_path, "-profile", str(srgb))
    assert np.abs(result.astype(int) - expected).mean() < tolerance / 2


@pytest.mark.parametrize("mode", ["RGBA", "P", "PA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparent_and_palette_images_are_converted_too(mode: str, kind: str) -> None:
    """As screenshots of macOS are: PNG with alpha, in Display P3."""
    pixels = photograph(2)
    matrix, gamma = SPACES["Display P3"]
    image = Image.fromarray(pixels)
    if mode != "RGBA":
        image = image.quantize(200)
    plain = np.asarray(image.convert("RGB"))
    if mode == "RGBA":
        image.putalpha(255)
        image.putpixel((0, 0), (0, 0, 0, 0))
    elif mode == "PA" and kind == "PNG":
        image.info["transparency"] = 255
    file = io.BytesIO()
    image.save(
        file, kind, icc_profile=profile(matrix, gamma), **({"lossless": True} if kind == "WEBP" else {})
    )
    facts = inspect(file.getvalue(), 10**6, hashed=False)
    result = decode(file.getvalue(), "rgb", plain=facts.plain)
    np.testing.assert_allclose(result[1:], in_srgb(plain, matrix, gamma)[1:], atol=3)
    if mode == "RGBA":
        assert result[0, 0].tolist() == [255, 255, 255]


def test_gray_and_serving_see_the_same() -> None:
    data = jpeg(photograph(2), icc_profile=profile(*SPACES["Display P3"]))
    facts = inspect(data, 10**6, hashed=False)
    resize = {"size": [facts.height, facts.width], "color": "gray", "keep_aspect": True, "quality": "exact"}
    gray = decode(data, "gray", plain=facts.plain)
    np.testing.assert_array_equal(intake.prepared(data, resize, 10**6), gray)
    color = decode(data, "rgb", plain=facts.plain)
    # Without the profile, gray is the file's luminance.
    assert np.abs(np.asarray(Image.fromarray(color).convert("L"), int) - gray[:, :, 0]).max() <= 1


def test_srgb_itself_changes_nothing() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (own, profile(SRGB, None), b"broken", own[:300]):
        data = jpeg(photograph(2), icc_profile=icc)
        facts = inspect(data, 10**6, hashed=False)
        assert facts.plain
        np.testing.assert_array_equal(
            decode(data, "rgb", plain=True), decode(jpeg(photograph(2)), "rgb", plain=True)
        )
