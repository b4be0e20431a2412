"""Cut captchas into digits and sort these into one folder per digit, ready for `ingest`.

A captcha named after what it says (`4821-00007.png`) labels itself. Any other is shown digit by digit in the
terminal, and a key is asked for: 1-9, `s` to skip the captcha, `q` to stop. What has been labelled is kept;
labelling goes on where it was left.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from apps.captcha import DIGITS, LENGTH
from apps.captcha.segment import Digit, digits
from apps.model import AppError, Pixels, png, read, run
from stages.common.files import replacing

_NAMED = re.compile(rf"^([{DIGITS}]{{{LENGTH}}})\b")
_COLUMNS = 32
# Saved last of a captcha: it says that all of it is there.
_FIRST = "-0.png"
Ask = Callable[[str], str]


def label(captchas: Path, to: Path, ask: Ask = input) -> tuple[int, int]:
    """Label every captcha below a folder; returns how many were labelled and how many had to be left out.

    `ask` shows a text and returns what was typed. Raises AppError when the folder holds no images.
    """
    paths = sorted(path for path in captchas.rglob("*") if path.is_file())
    if not paths:
        raise AppError(f"{captchas} holds no files")
    done = {saved.name.removesuffix(_FIRST) for saved in to.glob(f"*/*{_FIRST}")}
    labelled = left_out = 0
    for path in paths:
        if path.stem in done:
            continue
        try:
            found = digits(read(path))
        except AppError as error:
            print(f"{path.name}: {error}")
            left_out += 1
            continue
        named = _NAMED.match(path.name)
        answers = list(named.group(1)) if named else _asked(found, ask)
        if answers is None:
            return labelled, left_out
        if not answers:
            left_out += 1
            continue
        _save(to, path.stem, found, answers)
        labelled += 1
    return labelled, left_out


def _asked(found: list[Digit], ask: Ask) -> list[str] | None:
    """What the person says of each digit; empty to skip this captcha, None to stop."""
    answers = []
    for digit in found:
        key = ""
        while key not in (*DIGITS, "s", "q"):
            key = ask(
                "\n".join(_drawn(digit.pixels)) + f"\n{DIGITS[0]}-{DIGITS[-1]}, s(kip), q(uit): "
            ).strip()
        if key == "q":
            return None
        if key == "s":
            return []
        answers.append(key)
    return answers


def _drawn(pixels: Pixels) -> Iterator[str]:
    """A digit in block characters, two rows of pixels to a line."""
    ink = cv2.resize(pixels, (_COLUMNS, _COLUMNS), interpolation=cv2.INTER_AREA) < 160
    for upper, lower in zip(ink[::2], ink[1::2], strict=True):
        yield "".join(" ▀▄█"[int(up) + 2 * int(down)] for up, down in zip(upper, lower, strict=True))


def _save(to: Path, name: str, found: list[Digit], answers: list[str]) -> None:
    for place, (digit, answer) in reversed(list(enumerate(zip(found, answers, strict=True)))):
        with replacing(to / answer / f"{name}-{place}.png") as aside:
            aside.write_bytes(png(digit.pixels))


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m apps.captcha.label", description=__doc__)
    parser.add_argument("captchas", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="the folder of folders to write into")
    given = parser.parse_args(argv)

    def work() -> None:
        labelled, left_out = label(given.captchas, given.to)
        print(f"labelled {labelled} captchas, left out {left_out}")

    run(work)


if __name__ == "__main__":
    main()
