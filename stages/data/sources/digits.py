"""The 1,797 scanned digits that scikit-learn ships: real data without a network.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from stages.data.sources import Image, SourceParams
from stages.data.sources._png import png

GRAY_LEVELS = 16


class Params(SourceParams):
    """`path` is this file: the images come out of it, so an edit to it is a change of the source."""

    kind: Literal["digits"]


def images(params: Params) -> Iterator[Image]:
    """Each digit as an 8x8 gray PNG named CLASS/NUMBER.png; its 17 levels are spread over 0-255."""
    # Here and not above: a second that every stage would pay, as all of them check the params.
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        gray = np.round(pixels * (255 / GRAY_LEVELS)).astype(np.uint8)
        yield Image(name=f"{label}/{number:04d}.png", label=str(label), data=png(gray))
