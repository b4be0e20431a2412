"""JPEG 2000 of more than 8 bits, whose brightest colours Pillow 13 turns black."""

import numpy as np
from PIL import Image

from stages.common.errors import ImageError
from stages.data.decoding import tones

# The codestream begins with these two markers; the second describes size and components.
_START = b"\xff\x4f\xff\x51"
_FIRST_DEPTH = 42
_SIGNED = 0x80


def in_8_bits(image: Image.Image, data: bytes) -> Image.Image:
    """The image, loaded; of more than 8 bits with its samples read by imagecodecs.

    Raises:
        ImageError: Signed samples, or more than 8 bits with alpha.
    """
    place = data.find(_START) + _FIRST_DEPTH
    depth = data[place] if place >= _FIRST_DEPTH and place < len(data) else 0
    bits = (depth & ~_SIGNED) + 1
    if depth & _SIGNED:
        raise ImageError("a JPEG 2000 of signed samples, which have no agreed range")
    if bits <= 8:
        image.load()
        return image
    import imagecodecs

    samples = np.asarray(imagecodecs.jpeg2k_decode(data))
    channels = samples.shape[2] if samples.ndim == 3 else 1
    if channels not in (1, 3) or bits > 16:
        raise ImageError(f"a JPEG 2000 of {channels} channels with {bits} bits; save it with 8")
    decoded = Image.fromarray(
        tones.in_8_bits(samples.reshape(samples.shape[:2] + (3,) * (channels == 3)), bits)
    )
    decoded.info = image.info
    return decoded
