"""Read captchas: one line per file, and copies with boxes and digits drawn where asked for."""

import argparse
from pathlib import Path

import cv2
import numpy as np

from apps.captcha.segment import Digit, digits
from apps.model import AppError, Classifier, Pixels, load, png, read, run
from stages.common.files import replacing

_INK = (200, 30, 30)


def text(captcha: Pixels, classify: Classifier) -> tuple[str, float, list[Digit]]:
    """What a captcha says, the least sure digit's probability, and the digits.

    Raises AppError as segment.digits.
    """
    found = digits(captcha)
    answers = classify([digit.pixels for digit in found])
    return "".join(label for label, _ in answers), min(sure for _, sure in answers), found


def drawn(captcha: Pixels, said: str, found: list[Digit]) -> Pixels:
    """The captcha, RGB and twice as large, with a box around each digit and its label above."""
    canvas = cv2.resize(captcha, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    canvas = cv2.copyMakeBorder(canvas, 28, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    for label, digit in zip(said, found, strict=True):
        left, top = 2 * digit.left + 4, 2 * digit.top + 28
        cv2.rectangle(canvas, (left, top), (left + 2 * digit.width, top + 2 * digit.height), _INK, 1)
        cv2.putText(canvas, label, (left, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.7, _INK, 2, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m apps.captcha.read", description=__doc__)
    parser.add_argument("--model", required=True, help="an MLflow model URI: models:/NAME@champion")
    parser.add_argument("--drawn", type=Path, help="a folder for copies with the answers drawn in")
    parser.add_argument("captchas", type=Path, nargs="+")
    given = parser.parse_args(argv)

    def work() -> None:
        classify = load(given.model)
        for path in given.captchas:
            captcha = read(path)
            try:
                said, sure, found = text(captcha, classify)
            except AppError as error:
                print(f"{path}\t?\t{error}")
                continue
            print(f"{path}\t{said}\t{sure:.3f}")
            if given.drawn:
                with replacing(given.drawn / f"{path.stem}.png") as aside:
                    aside.write_bytes(png(drawn(captcha, said, found)))

    run(work)


if __name__ == "__main__":
    main()
