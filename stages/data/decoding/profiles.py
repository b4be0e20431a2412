"""Colour profiles: the numbers of an image in Display P3, Adobe RGB or a printer's inks → sRGB.

Networks are trained on sRGB. Taking Adobe RGB's numbers for sRGB's makes colours dull: 96 photographs are
wrong by 5 of 255 levels on average, the worst hundredth of an image by up to 77; Display P3's by 3 and 57.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# How far a profile may be from sRGB and still count as sRGB: there are dozens of sRGB profiles, which differ
# in rounding, and converting between them would only cost time.
_TOLERANCE = 3
_PROFILES_IN_MEMORY = 64


def needs_conversion(image: Image.Image) -> bool:
    """Whether the profile of an image gives its numbers another meaning than sRGB has."""
    return _srgb_transform(image) is not None


def in_srgb(image: Image.Image) -> Image.Image:
    """The image in sRGB: of mode RGB where its profile requires a conversion, else the image itself."""
    transform = _srgb_transform(image)
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image, transform)
    # applyTransform returns None only for conversions in place.
    return converted if converted is not None else image


def _srgb_transform(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("L", "RGB", "CMYK"):
        return None
    return _transform(bytes(profile), image.mode)


@lru_cache(_PROFILES_IN_MEMORY)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The conversion to sRGB, or None where the profile is broken, of another kind, or sRGB itself."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        colors = _colors(mode)
        converted = np.asarray(ImageCms.applyTransform(colors, transform), int)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    # Of CMYK, Pillow's own conversion knows no inks at all.
    plain = np.asarray(colors.convert("RGB"), int)
    return transform if np.abs(converted - plain).max() > _TOLERANCE else None


def _colors(mode: str) -> Image.Image:
    """Colours from all over the space, as an image of one row."""
    levels = np.linspace(0, 255, 17 if mode == "L" else 6).round().astype(np.uint8)
    channels = len(mode) if mode != "L" else 1
    grid = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), axis=-1).reshape(1, -1, channels)
    return Image.fromarray(grid[:, :, 0] if mode == "L" else grid, mode)
