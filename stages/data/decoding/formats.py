"""Which formats are accepted, by a file's first bytes, and the decoders that Pillow does not bring.

HEIC is what iPhones save by default; JPEG XL and AVIF come from newer cameras and the web. Their decoders are
imported when the first such file is met: they take 30 MB of memory.
"""

import io
from functools import cache
from importlib import import_module
from importlib.metadata import version

import cv2
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import jpeg_xl

# Formats that photographs and scans come in; Pillow's list has 40 more, each a decoder open to hostile files.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "JXL")

_PILLOWS = tuple(name for name in FORMATS if name not in ("HEIF", "JXL"))
_AVIF_BRANDS = (b"avif", b"avis")
# Canon, Olympus, Panasonic, Fujifilm, Sigma, Minolta; other makers' raw files are TIFFs, see tiff.py.
_RAW = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
_PACKAGES = (
    "imagecodecs",
    "numpy",
    "pillow",
    "pillow-heif",
    "pillow-jxl-plugin",
    "simplejpeg",
    "tifffile",
)
_CR2, _CR3 = b"CR", b"crx "
RAW = "a raw file of a camera; convert it to TIFF or JPEG, for example with darktable-cli"


@cache
def versions() -> dict[str, str]:
    """The versions of all packages that decide pixels: part of the fingerprint of what follows from them."""
    # OpenCV comes in four packages.
    return {"opencv": cv2.__version__} | {name: version(name) for name in _PACKAGES}


def refuse_raw(data: bytes) -> None:
    """Raise ImageError for a raw file of a camera that begins as no image of FORMATS does."""
    canon = (data[:4] == b"II*\0" and data[8:10] == _CR2) or data[4:12] == b"ftyp" + _CR3
    if canon or data.startswith(_RAW):
        raise ImageError(RAW)


def open_image(data: bytes) -> Image.Image:
    """Open an image with Pillow, or with the plug-in for its format; only JPEG XL's decodes the pixels.

    Raises:
        UnidentifiedImageError: Not an image of one of FORMATS.
    """
    boxes, brand = data[4:8] == b"ftyp", data[8:12]
    formats = _PILLOWS
    if jpeg_xl.is_jpeg_xl(data):
        import_module("pillow_jxl")
        formats = ("JXL",)
    elif boxes and brand not in _AVIF_BRANDS:
        import_module("pillow_heif").register_heif_opener()
        # Some AVIF files have another major brand.
        formats = ("AVIF", "HEIF")
    image = Image.open(io.BytesIO(data), formats=formats)
    if image.format == "JXL" and b"jbrd" not in data:
        # The decoder has turned the image; only for a JPEG that it restores does EXIF say how.
        image.info.pop("exif", None)
    return image
