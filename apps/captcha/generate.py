"""Make captchas: four digits, each turned, sheared, sized and placed at random, on a speckled background."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apps.captcha import DIGITS, LENGTH
from apps.model import Pixels, run
from stages.common.files import replacing

HEIGHT, WIDTH = 48, 160
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)
_CELL = 40


def captcha(text: str, rng: np.random.Generator) -> Pixels:
    """(48, 160) uint8 gray, dark digits on light; the digits do not touch."""
    canvas = np.full((HEIGHT, WIDTH), 255, np.float32)
    for place, digit in enumerate(text):
        left = place * _CELL
        canvas[:, left : left + _CELL] = np.minimum(canvas[:, left : left + _CELL], _digit(digit, rng))
    noisy = canvas * rng.uniform(0.85, 1) + rng.normal(0, 6, canvas.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def write(folder: Path, count: int, seed: int) -> None:
    """Write `count` captchas whose names begin with what they say: `4821-00007.png`."""
    rng = np.random.default_rng(seed)
    with replacing(folder) as aside:
        aside.mkdir()
        for number in range(count):
            text = "".join(rng.choice(list(DIGITS), LENGTH))
            cv2.imwrite(str(aside / f"{text}-{number:05d}.png"), captcha(text, rng))


def _digit(digit: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """One cell (48, 40), its digit in the middle third whatever is done to it."""
    font, scale = _FONTS[rng.integers(len(_FONTS))], rng.uniform(0.75, 1.05)
    thickness = int(rng.integers(2, 4))
    (width, height), _ = cv2.getTextSize(digit, font, scale, thickness)
    cell = np.full((HEIGHT, _CELL), 255, np.uint8)
    corner = ((_CELL - width) // 2, (HEIGHT + height) // 2)
    cv2.putText(cell, digit, corner, font, scale, int(rng.integers(0, 70)), thickness, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((_CELL / 2, HEIGHT / 2), rng.uniform(-12, 12), 1)
    turn[0, 1] += rng.uniform(-0.15, 0.15)
    turn[0, 2] -= turn[0, 1] * HEIGHT / 2 - 0.5 * rng.uniform(-3, 3)
    turn[1, 2] += rng.uniform(-4, 4)
    turned = cv2.warpAffine(cell, turn, (_CELL, HEIGHT), borderValue=255)
    return turned.astype(np.float32)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m apps.captcha.generate", description=__doc__)
    parser.add_argument(
        "--to", type=Path, required=True, help="the folder to write; what is there is replaced"
    )
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args(argv)
    run(lambda: write(given.to, given.count, given.seed))


if __name__ == "__main__":
    main()
