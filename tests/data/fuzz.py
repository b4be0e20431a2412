"""Damaged inputs by the thousand: images, EXIF, archives, tables, params, requests.

    python -m tests.data.fuzz 20000        (inputs of each kind; default 300)

Each input is a sound file with some bytes changed, moved or cut off. Every refusal must be a ConvoyError, no
input may take 5 s, and the process may not take 1 GiB. Prints one line of JSON: per kind the inputs, the
refusals and the slowest input in seconds, and the peak of memory in MiB.
"""

import io
import json
import logging
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from stages import params
from stages.common import machine
from stages.common.errors import ConvoyError
from stages.data.decoding import decode, formats, inspect
from stages.data.sources import archive, csv
from stages.serving import intake

MAX_PIXELS = 20_000_000
RESIZE = {"size": [32, 32], "color": "rgb", "keep_aspect": True, "quality": "fast"}
MODES = {
    "BMP": ("RGB", "RGBA", "L", "1", "P"),
    "GIF": ("P", "L"),
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "PPM": ("RGB", "L", "1"),
    "TIFF": ("RGB", "RGBA", "L", "P", "1", "CMYK", "LAB", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
    "HEIF": ("RGB", "RGBA"),
    "JPEG2000": ("RGB", "L", "RGBA"),
    "JXL": ("RGB", "RGBA", "L"),
}


def sound_images() -> list[bytes]:
    """A small image of every format and mode."""
    # Registers the plug-ins.
    for start in (b"\0\0\0\x18ftypheic", b"\xff\x0a"):
        with suppress(Exception):
            formats.open_image(start + bytes(100))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    images = []
    for kind, modes in MODES.items():
        for mode in modes:
            image = Image.fromarray(pixels)
            image = image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
            file = io.BytesIO()
            exif = {"exif": _exif()} if kind in ("JPEG", "PNG", "WEBP") else {}
            image.save(file, kind, **exif)
            images.append(file.getvalue())
    return images


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return exif.tobytes()


def exif_images() -> list[bytes]:
    return [data for data in sound_images() if b"Exif" in data[:200]]


def sound_archives() -> list[bytes]:
    members = {f"{label}/{n}.png": bytes([n]) * 50 for label in ("cat", "dög") for n in range(3)}
    archives = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode=mode, format=layout) as out:
                for name, data in members.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    out.addfile(entry, io.BytesIO(data))
            archives.append(file.getvalue())
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as zipped:
            for name, data in members.items():
                zipped.writestr(name, data)
        archives.append(file.getvalue())
    return archives


def mutated(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    """The data with one to four changes."""
    bytes_ = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        if len(bytes_) < 8:
            break
        # Headers decide more than pixels do.
        reach = len(bytes_) if draw.random() < 0.5 else min(len(bytes_), 400)
        place, kind = int(draw.integers(0, reach)), int(draw.integers(0, 6))
        length = int(draw.integers(1, 9))
        if kind == 0:
            bytes_[place] ^= 1 << int(draw.integers(0, 8))
        elif kind == 1:
            value = draw.choice([0, 0xFF, 0x7F, 0x80, 1])
            bytes_[place : place + length] = bytes([int(value)]) * len(bytes_[place : place + length])
        elif kind == 2:
            bytes_[place : place + length] = draw.bytes(len(bytes_[place : place + length]))
        elif kind == 3:
            del bytes_[place : place + int(draw.integers(1, 200))]
        elif kind == 4:
            bytes_[place:place] = bytes_[max(0, place - 100) : place]
        else:
            start = int(draw.integers(0, len(other)))
            bytes_[place : place + 50] = other[start : start + 50]
    return bytes(bytes_)


def look(data: bytes, folder: Path) -> None:
    facts = inspect(data, MAX_PIXELS, hashed=True, damaged=True)
    for color in ("rgb", "gray"):
        pixels = decode(data, color, plain=facts.plain)
        assert pixels.shape[:2] == (facts.height, facts.width), (pixels.shape, facts)


def serve(data: bytes, folder: Path) -> None:
    assert intake.prepared(data, RESIZE, MAX_PIXELS).shape == (32, 32, 3)


def unpack(data: bytes, folder: Path) -> None:
    path = folder / "archive"
    path.write_bytes(data)
    for _ in archive.images(archive.Params(kind="archive", path=path)):
        pass


def tabulate(data: bytes, folder: Path) -> None:
    (folder / "labels.csv").write_bytes(data)
    for _ in csv.images(csv.Params(kind="csv", path=folder, table="labels.csv")):
        pass


def check_params(data: bytes, folder: Path) -> None:
    (folder / "params.yaml").write_bytes(data)
    params.load(folder / "params.yaml")


TABLE = 'path,label,split\na.png,cat,train\n"b, c.png",dog,test\n"d ""e"".png","große Katze",val\n'.encode()
KINDS: dict[str, tuple[Callable[[], list[bytes]], Callable[[bytes, Path], None]]] = {
    "images": (sound_images, look),
    "exif": (exif_images, look),
    "requests": (sound_images, serve),
    "archives": (sound_archives, unpack),
    "tables": (lambda: [TABLE], tabulate),
    "params": (lambda: [Path("params.yaml").read_bytes()], check_params),
}


def inputs(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    draw = np.random.default_rng(seed)
    for number in range(count):
        data = seeds[number % len(seeds)]
        other = seeds[int(draw.integers(0, len(seeds)))]
        yield mutated(data, other, draw)


def run(count: int, seed: int = 0) -> dict[str, object]:
    report: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (seeds, use) in KINDS.items():
            refusals, slowest = 0, 0.0
            # Reading the params takes 50 times as long as an image.
            number = count if kind != "params" else count // 20 + 1
            for data in inputs(seeds(), number, seed):
                start = time.monotonic()
                try:
                    use(data, Path(folder))
                except ConvoyError:
                    refusals += 1
                except BaseException:
                    Path(tempfile.gettempdir(), f"fuzz-{kind}").write_bytes(data)
                    raise
                slowest = max(slowest, time.monotonic() - start)
            report[kind] = {"inputs": number, "refusals": refusals, "slowest": round(slowest, 3)}
    report["peak"] = round(machine.peak_memory())
    return report


if __name__ == "__main__":
    logging.disable()
    warnings.simplefilter("ignore")
    sys.stdout.write(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 300)) + "\n")
