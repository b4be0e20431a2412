"""Read captchas: one line per file, and annotated copies where wanted."""

from pathlib import Path

import cv2
import numpy as np

from apps.captcha.segment import Digit, segment
from apps.model import AppError, Classifier, Pixels, check_copies, load, png, read
from stages import cli
from stages.common.errors import ServingError
from stages.common.files import replace_atomically

_INK = (200, 30, 30)


def read_captchas(captchas: list[Path], *, model: str, drawn: Path | None = None) -> None:
    """Print the digits of captchas, with the confidence in the least certain digit.

    Args:
        captchas: Image files.
        model: The model's URI in MLflow: models:/NAME@champion.
        drawn: A folder for copies with boxes and digits drawn in.

    Raises:
        AppError: When there is no such model, a file is no image, or a copy would replace a file or another
            copy.
    """
    if drawn:
        check_copies(captchas, [_copy(path, drawn) for path in captchas])
    classify = load(model)
    for path in captchas:
        captcha = read(path)
        try:
            text, confidence, digits = read_text(captcha, classify)
        except AppError as error:
            print(f"{path}\t?\t{error}")
            continue
        print(f"{path}\t{text}\t{confidence:.3f}")
        if drawn:
            with replace_atomically(_copy(path, drawn)) as partial:
                partial.write_bytes(png(annotate(captcha, text, digits)))


def read_text(captcha: Pixels, classify: Classifier) -> tuple[str, float, list[Digit]]:
    """Read one captcha.

    Args:
        captcha: Gray (H, W) or RGB (H, W, 3) pixels, uint8.
        classify: The model.

    Returns:
        Its text, the confidence in the least certain digit, and the digits.

    Raises:
        AppError: When the captcha cannot be cut into four digits.
        ServingError: When the model's classes are no digits or letters.
    """
    digits = segment(captcha)
    answers = classify([digit.pixels for digit in digits])
    for label, _ in answers:
        if len(label) != 1:
            raise ServingError(f"the model has a class {label!r}; allowed: one digit or letter each")
    return (
        "".join(label for label, _ in answers),
        min(confidence for _, confidence in answers),
        digits,
    )


def _copy(path: Path, drawn: Path) -> Path:
    return drawn / f"{path.stem}.png"


def annotate(captcha: Pixels, text: str, digits: list[Digit]) -> Pixels:
    """Return the captcha, RGB and twice as large, with a box around each digit and its label above."""
    canvas = cv2.resize(captcha, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    canvas = cv2.copyMakeBorder(canvas, 28, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    for label, digit in zip(text, digits, strict=True):
        left, top = 2 * digit.left + 4, 2 * digit.top + 28
        cv2.rectangle(canvas, (left, top), (left + 2 * digit.width, top + 2 * digit.height), _INK, 1)
        cv2.putText(canvas, label, (left, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.7, _INK, 2, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


if __name__ == "__main__":
    cli.main(read_captchas)
