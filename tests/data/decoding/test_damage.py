"""Damaged images are refused, or accepted and counted; harmless oddities are accepted."""

import io
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import DamagedError, ImageError
from stages.data.decoding import decode, inspect
from tests.data.decoding.samples import jpeg, photograph
from tests.project import Images, Project

MAX_PIXELS = 10**7
END = b"\xff\xd9"
COUNT = 40
Damage = Callable[[bytes, bytes], bytes]


def cut(data: bytes, other: bytes) -> bytes:
    return data[: len(data) * 6 // 10] + END


def half_of_another(data: bytes, other: bytes) -> bytes:
    return data[: len(data) // 2] + other[len(other) // 2 :]


def zeros_inside(data: bytes, other: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(400) + data[middle + 400 :]


def block_missing(data: bytes, other: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + data[middle + 512 :]


def refused(data: bytes) -> bool:
    try:
        inspect(data, MAX_PIXELS, hashed=False)
    except ImageError:
        return True
    return False


KINDS = pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
)


def test_a_jpeg_of_more_scans_than_encoders_write_is_refused_at_once() -> None:
    """Each scan goes over all pixels: a file of 23 kB took 1.3 s at each try to decode it."""
    data = jpeg(photograph(0), progressive=True)
    assert inspect(data, MAX_PIXELS, hashed=False)
    last = data.rfind(b"\xff\xda")
    repeated = data[:-2] + data[last:-2] * 100 + END
    with pytest.raises(ImageError, match=r"JPEG of 1\d\d scans; allowed: 100"):
        inspect(repeated, MAX_PIXELS, hashed=False)
    with pytest.raises(ImageError, match="scans; allowed"):
        inspect(repeated, MAX_PIXELS, hashed=False, damaged=True)


@KINDS
@pytest.mark.parametrize("damage", [cut, block_missing])
def test_a_jpeg_without_some_of_its_data_is_refused(damage: Damage, options: dict[str, object]) -> None:
    for seed in range(COUNT):
        data = jpeg(photograph(seed), **options)
        assert not refused(data)
        assert refused(damage(data, b""))


@KINDS
@pytest.mark.parametrize("damage", [cut, half_of_another, zeros_inside, block_missing])
def test_what_djpeg_warns_of_is_refused_and_nothing_else(damage: Damage, options: dict[str, object]) -> None:
    """Overwritten data can by chance be a whole image, with exactly the right number of blocks."""
    if shutil.which("djpeg") is None:
        pytest.skip("djpeg is not installed (Debian: apt-get install libjpeg-turbo-progs)")
    files = [jpeg(photograph(seed), **options) for seed in range(COUNT + 1)]
    for data, other in pairwise(files):
        damaged = damage(data, other)
        words = ["djpeg", "-strict", "-outfile", "/dev/null"]
        done = subprocess.run(words, input=damaged, capture_output=True, check=False)
        assert refused(damaged) == (done.returncode != 0), done.stderr


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_damaged_jpeg_of_other_colours_is_refused(mode: str) -> None:
    data = jpeg(Image.fromarray(photograph(1)).convert(mode))
    inspect(data, MAX_PIXELS, hashed=False)
    with pytest.raises(DamagedError, match="damaged JPEG: Corrupt JPEG data: premature end of data segment"):
        inspect(cut(data, b""), MAX_PIXELS, hashed=False)


def second_segment(data: bytes) -> int:
    return 4 + int.from_bytes(data[4:6], "big")


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "no end marker": lambda data: data.removesuffix(END),
    "bytes after the end": lambda data: data + b"appended by a phone" + bytes(1000),
    "zeros before the end": lambda data: data.removesuffix(END) + bytes(40) + END,
    "zeros instead of the end": lambda data: data.removesuffix(END) + bytes(400),
    "bytes between segments": lambda data: (
        data[: second_segment(data)] + b"\0junk" + data[second_segment(data) :]
    ),
    "fill bytes": lambda data: data[: second_segment(data)] + b"\xff\xff" + data[second_segment(data) :],
    "an unknown segment": lambda data: data[:2] + b"\xff\xee\0\6abcd" + data[2:],
}


@pytest.mark.parametrize("oddity", HARMLESS)
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_oddities_of_cameras_and_editors_are_accepted(oddity: str, options: dict[str, object]) -> None:
    for seed in range(10):
        sound = jpeg(photograph(seed), **options)
        data = HARMLESS[oddity](sound)
        facts = inspect(data, MAX_PIXELS, hashed=True)
        for color in ("rgb", "gray"):
            np.testing.assert_array_equal(
                decode(data, color, plain=facts.plain), decode(sound, color, plain=True)
            )


def test_every_sampling_that_libjpeg_writes_is_accepted(tmp_path: Path) -> None:
    if shutil.which("cjpeg") is None:
        pytest.skip("cjpeg is not installed (Debian: apt-get install libjpeg-turbo-progs)")
    source = tmp_path / "image.ppm"
    Image.fromarray(photograph(0)).save(source)
    kinds = ["-sample 1x1", "-sample 2x1", "-sample 1x2", "-sample 4x1", "-sample 3x1", "-sample 1x4"]
    kinds += ["-sample 2x2,1x2", "-sample 1x1,2x2", "-rgb", "-arithmetic", "-restart 1", "-grayscale"]
    for kind in kinds:
        done = subprocess.run(["cjpeg", *kind.split(), source], capture_output=True, check=True)
        facts = inspect(done.stdout, MAX_PIXELS, hashed=True)
        expected = np.asarray(Image.open(source))
        if kind == "-grayscale":
            expected = np.asarray(Image.fromarray(expected).convert("L"))[:, :, None]
        result = decode(done.stdout, "rgb", plain=facts.plain)
        assert np.abs(result.astype(int) - expected).mean() < 8, kind


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    file = io.BytesIO()
    # Stored, so that a changed byte is a changed pixel.
    Image.fromarray(photograph(0)).save(file, "PNG", compress_level=0)
    data = bytearray(file.getvalue())
    data[len(data) // 2] ^= 0x40
    with pytest.raises(DamagedError, match="damaged PNG: chunk IDAT has a wrong checksum"):
        inspect(bytes(data), MAX_PIXELS, hashed=False)


def test_damaged_images_are_listed_or_accepted_and_counted(
    project: Project, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    source = images()
    for seed in range(4):
        (source / "cat" / f"damaged {seed}.jpg").write_bytes(cut(jpeg(photograph(seed)), b""))
    project.ingest(max_reject_fraction=0.5)
    listed = project.rejects.read_text(encoding="utf-8").splitlines()[1:]
    assert len(listed) == 4
    assert all(",damaged,damaged JPEG: " in line for line in listed)
    project.ingest(damaged="accept")
    assert project.rejects.read_text(encoding="utf-8").count("\n") == 1
    assert "accepted_damaged_images" in caplog.messages
    project.resize()
