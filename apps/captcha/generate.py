"""Generate captchas: four digits, each rotated, sheared, scaled, placed at random, on noisy paper."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apps.captcha import DIGITS, LENGTH
from apps.model import Pixels, png
from stages import cli
from stages.common import log
from stages.common.files import replace_folder_atomically

HEIGHT, WIDTH = 48, 160
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)
_CELL = 40


def captcha(text: str, rng: np.random.Generator) -> Pixels:
    """Draw one captcha.

    Args:
        text: Its digits.
        rng: The source of all randomness.

    Returns:
        Gray pixels (48, 160) uint8, dark digits on light; the digits do not touch.
    """
    canvas = np.full((HEIGHT, WIDTH), 255, np.float32)
    for place, digit in enumerate(text):
        columns = slice(place * _CELL, (place + 1) * _CELL)
        canvas[:, columns] = np.minimum(canvas[:, columns], _draw_digit(digit, rng))
    noisy = canvas * rng.uniform(0.85, 1) + rng.normal(0, 6, canvas.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def generate(*, to: Path, count: int = 600, seed: int = 42) -> None:
    """Generate captchas of four digits whose file names begin with their digits: 4821-generated-00007.png.

    Args:
        to: The folder to write. Captchas of an earlier call are replaced; anything else is refused.
        count: How many captchas.
        seed: The seed of all randomness.
    """
    rng = np.random.default_rng(seed)
    with replace_folder_atomically(to, ["*-generated-*.png"]) as partial:
        for number in range(count):
            text = "".join(rng.choice(list(DIGITS), LENGTH))
            (partial / f"{text}-generated-{number:05d}.png").write_bytes(png(captcha(text, rng)))
    log.event("generated_captchas", count=count, folder=to)


def _draw_digit(digit: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """One cell (48, 40) whose digit stays in the middle third after every distortion."""
    font, scale = _FONTS[rng.integers(len(_FONTS))], rng.uniform(0.75, 1.05)
    thickness = int(rng.integers(2, 4))
    (width, height), _ = cv2.getTextSize(digit, font, scale, thickness)
    cell = np.full((HEIGHT, _CELL), 255, np.uint8)
    corner = ((_CELL - width) // 2, (HEIGHT + height) // 2)
    cv2.putText(cell, digit, corner, font, scale, int(rng.integers(0, 70)), thickness, cv2.LINE_AA)
    matrix = cv2.getRotationMatrix2D((_CELL / 2, HEIGHT / 2), rng.uniform(-12, 12), 1)
    matrix[0, 1] += rng.uniform(-0.15, 0.15)
    matrix[0, 2] -= matrix[0, 1] * HEIGHT / 2 - 0.5 * rng.uniform(-3, 3)
    matrix[1, 2] += rng.uniform(-4, 4)
    distorted = cv2.warpAffine(cell, matrix, (_CELL, HEIGHT), borderValue=255)
    return distorted.astype(np.float32)


if __name__ == "__main__":
    cli.main(generate)
