"""What phones and cameras save today: HEIC, AVIF, JPEG 2000, JPEG XL; orientation, depth; raw files."""

import io
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import decode, inspect, jpeg_xl, versions
from stages.serving import intake
from tests.data.decoding.samples import jpeg, memory_of, photograph, stored
from tests.data.decoding.test_profiles import BT_2020, DISPLAY_P3, in_srgb
from tests.project import Images, Project

HEIGHT, WIDTH = 64, 96
SCENE = np.asarray(Image.fromarray(photograph(5, 75, 100)).crop((0, 0, WIDTH, HEIGHT)))
ENCODERS = {
    "heic": "heif-enc -q 95 {source} -o {out}",
    "avif": "avifenc --min 5 --max 10 {source} {out}",
    "jp2": "opj_compress -i {source} -o {out}",
    "j2k": "opj_compress -i {source} -o {out}",
    "jxl": "cjxl -d 0 {source} {out}",
}
PACKAGES = "Debian: apt-get install libheif-examples libavif-bin libopenjp2-tools libjxl-tools"


def encoded(kind: str, source: Path, *options: str) -> bytes:
    out = source.with_suffix(f".{kind}")
    words = [word.format(source=source, out=out) for word in ENCODERS[kind].split()]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed ({PACKAGES})")
    subprocess.run([words[0], *options, *words[1:]], check=True, capture_output=True)
    return out.read_bytes()


def pixels_of(data: bytes) -> np.ndarray:
    facts = inspect(data, 10**6, hashed=True)
    result = decode(data, "rgb", plain=facts.plain)
    assert result.shape == (facts.height, facts.width, 3)
    resize = {"size": [facts.height, facts.width], "color": "rgb", "keep_aspect": True, "quality": "exact"}
    np.testing.assert_array_equal(intake.prepared(data, resize, 10**6), result)
    return result.astype(int)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("bits", [8, 16])
def test_other_programs_files(kind: str, bits: int, tmp_path: Path) -> None:
    pixels = SCENE if bits == 8 else SCENE.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "image.png"), pixels[:, :, ::-1])
    options = {("avif", 16): ["-d", "12"], ("heic", 16): ["-b", "10"]}.get((kind, bits), [])
    result = pixels_of(encoded(kind, tmp_path / "image.png", *options))
    tolerance = {"heic": 6, "avif": 6}.get(kind, 0)
    assert np.abs(result - SCENE).mean() <= tolerance


@pytest.mark.parametrize("kind", ["jp2", "jxl"])
def test_16_bits_of_gray(kind: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), SCENE[:, :, 0].astype(np.uint16) * 257)
    result = pixels_of(encoded(kind, tmp_path / "image.png"))
    np.testing.assert_array_equal(result, np.repeat(SCENE[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("options", [[], ["--lossless_jpeg=0"]])
def test_a_turned_jpeg_xl_is_upright(options: list[str], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "image.jpg").write_bytes(jpeg(stored(SCENE, 6), quality=95, subsampling=0, exif=exif))
    if options:
        options.append("-d=0.1")
    result = pixels_of(encoded("jxl", tmp_path / "image.jpg", *options[:1]))
    assert np.abs(result - SCENE).mean() < 6


def test_a_turned_avif_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "image.jpg").write_bytes(jpeg(stored(SCENE, 6), quality=95, subsampling=0, exif=exif))
    assert np.abs(pixels_of(encoded("avif", tmp_path / "image.jpg")) - SCENE).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP", "PNG"])
def test_an_orientation_in_exif_or_a_box_counts_once(kind: str, orientation: int) -> None:
    """HEIC and AVIF have it in a box, which the decoder applies; their EXIF tag then counts no more."""
    __import__("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored(SCENE, orientation)).save(file, kind, exif=exif.tobytes(), quality=95)
    assert np.abs(pixels_of(file.getvalue()) - SCENE).mean() < 8


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_a_file_that_ends_early_is_refused(kind: str, part: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), noise)
    data = encoded(kind, tmp_path / "image.png")
    with pytest.raises(ImageError):
        inspect(data[: int(len(data) * part)], 10**6, hashed=False)


def test_the_limit_on_pixels_holds_before_decoding(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), SCENE)
    for kind in ENCODERS:
        data = encoded(kind, tmp_path / "image.png")
        with pytest.raises(ImageError, match="96x64 pixels are more than the 100 allowed"):
            inspect(data, 100, hashed=False)


@pytest.mark.parametrize("size", [(1, 1), (96, 64), (256, 256), (120, 100), (133, 100), (513, 3), (9000, 2)])
def test_the_size_in_the_header_of_a_jpeg_xl(size: tuple[int, int]) -> None:
    """Sides of a multiple of 8, sides of any length, and a width that follows from the height."""
    __import__("pillow_jxl")
    for container in (False, True):
        file = io.BytesIO()
        Image.new("RGB", size).save(file, "JXL", use_container=container)
        assert jpeg_xl.size(file.getvalue()) == size


def test_a_small_jpeg_xl_of_many_pixels_takes_no_memory(tmp_path: Path) -> None:
    """Its plug-in decodes an image to open it."""
    __import__("pillow_jxl")
    file = io.BytesIO()
    Image.new("RGB", (6000, 5000)).save(file, "JXL", lossless=True, effort=1)
    memory, reason = memory_of(file.getvalue(), 10**7, tmp_path)
    assert "6000x5000 pixels are more than the 10000000 allowed" in reason
    assert memory < 64


def test_a_jpeg_2000_whose_header_states_another_size_is_refused() -> None:
    """imagecodecs, which decodes 16 bits, takes the memory that the data state."""
    data = bytearray(cv2.imencode(".jp2", np.zeros((HEIGHT, WIDTH), np.uint16))[1].tobytes())
    place = data.index(b"ihdr") + 4
    data[place : place + 8] = struct.pack(">II", 8, 8)
    with pytest.raises(ImageError, match=r"broken JPEG 2000: 96x64 pixels in its data, 8x8 in its header"):
        inspect(bytes(data), 10**6, hashed=False)


def stated(kind: str, primaries: int, transfer: int, folder: Path, pixels: np.ndarray = SCENE) -> bytes:
    """A file whose colours are those of the pixels in a space that the file names by numbers alone."""
    if kind == "png":
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        data, content = file.getvalue(), b"cICP" + bytes((primaries, transfer, 0, 1))
        chunk = (4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
        return data[:33] + chunk + data[33:]
    if kind == "heic":
        # heif-enc of libheif 1.15 writes no such box.
        __import__("pillow_heif").register_heif_opener()
        file = io.BytesIO()
        numbers = {"color_primaries": primaries, "transfer_characteristics": transfer}
        Image.fromarray(pixels).save(
            file, "HEIF", quality=95, matrix_coefficients=6, full_range_flag=1, **numbers
        )
        return file.getvalue()
    cv2.imwrite(str(folder / "image.png"), pixels[:, :, ::-1])
    if kind == "jxl":
        curve = {13: "SRG", 16: "PeQ", 18: "HLG"}[transfer]
        space = {1: "RGB_D65_SRG", 9: "RGB_D65_202", 12: "RGB_D65_DCI"}[primaries]
        return encoded("jxl", folder / "image.png", "-x", f"color_space={space}_Rel_{curve}")
    return encoded("avif", folder / "image.png", "--nclx", f"{primaries}/{transfer}/6")


@pytest.mark.parametrize(("primaries", "columns"), [(1, None), (12, DISPLAY_P3), (9, BT_2020)])
@pytest.mark.parametrize("kind", ["png", "heic", "avif", "jxl"])
def test_colours_stated_by_numbers_become_srgb(
    kind: str, primaries: int, columns: np.ndarray | None, tmp_path: Path
) -> None:
    """Compared with the formulas; saturated greens are beyond sRGB and are cut off."""
    expected = SCENE if columns is None else in_srgb(SCENE, columns, None)
    result = pixels_of(stated(kind, primaries, 13, tmp_path))
    assert np.abs(result - expected).mean() < (1.5 if kind in ("png", "jxl") else 6)
    # The test would notice numbers that are ignored.
    assert columns is None or np.abs(SCENE.astype(int) - expected).mean() > 6


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("kind", ["png", "heic", "avif", "jxl"])
def test_hdr_is_refused_in_one_line(kind: str, transfer: int, name: str, tmp_path: Path) -> None:
    data = stated(kind, 9, transfer, tmp_path)
    with pytest.raises(ImageError, match=rf"an HDR image \({name}\), .*; save it as SDR"):
        inspect(data, 10**6, hashed=False)


def test_numbers_without_a_meaning_here_are_refused(tmp_path: Path) -> None:
    for primaries, transfer in [(10, 13), (1, 17), (200, 200)]:
        with pytest.raises(ImageError, match=f"primaries {primaries} and transfer {transfer} "):
            inspect(stated("png", primaries, transfer, tmp_path), 10**6, hashed=False)
    assert inspect(stated("png", 2, 2, tmp_path), 10**6, hashed=False).plain


RAW = {
    "Canon CR2": b"II*\0\x10\0\0\0CR\2\0",
    "Canon CR3": b"\0\0\0\x18ftypcrx ",
    "Olympus": b"IIRO\x08\0\0\0",
    "Panasonic": b"IIU\0\x18\0\0\0",
    "Fujifilm": b"FUJIFILMCCD-RAW 0201",
    "Sigma": b"FOVb",
}


@pytest.mark.parametrize("maker", RAW)
def test_raw_files_are_refused_with_what_converts_them(maker: str) -> None:
    with pytest.raises(ImageError, match=r"raw file of a camera; convert it .* darktable-cli"):
        inspect(RAW[maker] + bytes(1000), 10**6, hashed=False)


def test_they_go_all_the_way(project: Project, images: Images, tmp_path: Path) -> None:
    source = images()
    for number, kind in enumerate(("HEIF", "AVIF", "JPEG2000", "JXL")):
        __import__("pillow_heif").register_heif_opener()
        __import__("pillow_jxl")
        file = io.BytesIO()
        Image.fromarray(photograph(number)).save(file, kind)
        (source / "cat" / f"phone.{kind.lower()}").write_bytes(file.getvalue())
    project.ingest()
    project.resize()
    assert project.rejects.read_text(encoding="utf-8").count("\n") == 1


def test_results_follow_from_the_versions_of_every_decoder() -> None:
    assert {"pillow", "opencv", "simplejpeg", "tifffile", "imagecodecs", "pillow-heif"} <= set(versions())
