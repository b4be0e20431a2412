"""Sound inputs that the fuzz damages: images, archives, arrays, tables, params, requests."""

import base64
import bz2
import io
import json
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import tifffile
from PIL import Image

from stages.data.decoding import formats
from tests.data.decoding import tiffs

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
COMPRESSIONS = ("lzw", "deflate", "packbits", "jpeg", "zstd", "webp", "lzma", "jpegxl", "jpeg2000")
TABLE = 'path,label,split\na.png,cat,train\n"b, c.png",dog,test\n"d ""e"".png","große Katze",val\n'.encode()


def images() -> list[bytes]:
    """A small image of every format and mode, and more of those with many variants."""
    # Registers the plug-ins.
    for start in (b"\0\0\0\x18ftypheic", b"\xff\x0a"):
        with suppress(Exception):
            formats.open_image(start + bytes(100))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    saved = []
    for kind, modes in MODES.items():
        for mode in modes:
            image = Image.fromarray(pixels)
            image = image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
            exif = {"exif": _exif()} if kind in ("JPEG", "PNG", "WEBP") else {}
            saved.append(_saved(image, kind, **exif))
    photo = Image.fromarray(pixels)
    saved += [_saved(photo, "JPEG", progressive=True), _saved(photo, "JPEG", restart_marker_blocks=2)]
    saved += [
        _saved(photo, kind, save_all=True, append_images=[photo] * 3) for kind in ("GIF", "PNG", "WEBP")
    ]
    return saved + _tiffs(pixels)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _tiffs(pixels: np.ndarray) -> list[bytes]:
    saved = []
    for compression in COMPRESSIONS:
        file = io.BytesIO()
        with suppress(Exception):
            tifffile.imwrite(file, pixels, photometric="rgb", compression=compression, tile=(16, 16))
            saved.append(file.getvalue())
    for bits in (1, 2, 4, 6, 12, 16):
        samples = (pixels.astype(np.uint16) >> 2) % 2 ** min(bits, 8)
        saved.append(tiffs.tiff(samples[:, :, :1], tiffs.WHITE_IS_ZERO, bits, order=">"))
        saved.append(tiffs.tiff(samples, tiffs.RGB, bits, separate=True))
    return saved


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return exif.tobytes()


def exif_images() -> list[bytes]:
    return [data for data in images() if b"Exif" in data[:200]]


def archives() -> list[bytes]:
    """Tar and zip archives of every compression and layout that Python writes."""
    members = {f"{label}/{n}.png": bytes([n]) * 50 for label in ("cat", "dög") for n in range(3)}
    saved = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode=mode, format=layout) as out:
                for name, data in members.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    out.addfile(entry, io.BytesIO(data))
            saved.append(file.getvalue())
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as zipped:
            for name, data in members.items():
                zipped.writestr(name, data)
        saved.append(file.getvalue())
    return saved


def bzip2_bomb(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar of one member of `size` zeros, which bzip2 makes a million times smaller."""
    entry = tarfile.TarInfo("cat/0.png")
    entry.size, entry.type = size, kind
    packer = bz2.BZ2Compressor()
    packed = packer.compress(entry.tobuf())
    for _ in range(size // 2**20):
        packed += packer.compress(bytes(2**20))
    return packed + packer.flush()


def arrays() -> list[bytes]:
    """Arrays in .npz and HDF5 files, plain and compressed, with labels as words and as numbers."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    numbers, saved = np.arange(6), []
    for save in (np.savez, np.savez_compressed):
        for labels in (numbers, np.array(["cat", "dög"] * 3)):
            file = io.BytesIO()
            save(file, images=pixels, labels=labels)
            saved.append(file.getvalue())
    for options in ({}, {"compression": "gzip", "chunks": (2, 8, 8, 3)}):
        file = io.BytesIO()
        with h5py.File(file, "w") as out:
            out.create_dataset("images", data=pixels, **options)
            out.create_dataset("labels", data=numbers)
        saved.append(file.getvalue())
    return saved


def tables() -> list[bytes]:
    return [TABLE, TABLE.replace(b"\n", b"\r\n"), TABLE.decode().encode("utf-8-sig")]


def params() -> list[bytes]:
    return [Path("params.yaml").read_bytes()]


def requests() -> list[bytes]:
    """Bodies that MLflow's scoring server accepts."""
    encoded_images = [base64.b64encode(data).decode() for data in images()[::7]]
    bodies: list[object] = []
    for encoded in encoded_images:
        bodies += [
            {"dataframe_records": [{"image": encoded}]},
            {"dataframe_split": {"columns": ["image"], "data": [[encoded], [encoded]]}},
            {"instances": [{"image": encoded}], "params": {"crops": "ten"}},
            {"inputs": {"image": [encoded]}, "params": {"crops": "center"}},
        ]
    return [json.dumps(body).encode() for body in bodies]
