"""Cut captchas into digits and sort these into one folder per digit, ready for `ingest`."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from apps.captcha import DIGITS, LENGTH
from apps.captcha.segment import Digit, segment
from apps.model import AppError, Pixels, png, read
from stages import cli
from stages.common import log
from stages.common.files import replace_atomically

_NAMED = re.compile(rf"^([{DIGITS}]{{{LENGTH}}})\b")
_COLUMNS = 32
# The ending of the digit of a captcha that is saved last: where it exists, all digits of the captcha do.
_FIRST = "-0.png"
# Shows a text and returns what the person typed.
Ask = Callable[[str], str]


def label(captchas: Path, *, to: Path) -> None:
    """Cut captchas into digits and save each digit in a folder named after its label.

    A captcha named after its digits (4821-00007.png) labels itself. Any other is shown digit by digit in the
    terminal, which asks for a key: 1-9, `s` to skip the captcha, `q` to stop. Labelled captchas are saved at
    once; the next call continues after them.

    Args:
        captchas: The folder of captchas.
        to: The folder of the folders to write into.

    Raises:
        AppError: When the folder of captchas holds no files, or two whose digits would have the same names.
    """
    labelled, skipped = label_all(captchas, to, input)
    log.event("labelled_captchas", labelled=labelled, skipped=skipped, folder=to)


def label_all(captchas: Path, to: Path, ask: Ask) -> tuple[int, int]:
    """Label every captcha below a folder.

    Args:
        captchas: The folder of captchas.
        to: The folder of the folders to write into.
        ask: Called with a text for each digit of a captcha that does not label itself.

    Returns:
        How many captchas were labelled and how many skipped.

    Raises:
        AppError: When the folder of captchas holds no files, or two whose digits would have the same names.
    """
    paths = _named_paths(captchas)
    done = {saved.name.removesuffix(_FIRST) for saved in to.glob(f"*/*{_FIRST}")}
    labelled = skipped = 0
    for name, path in paths.items():
        if name in done:
            continue
        try:
            digits = segment(read(path))
        except AppError as error:
            log.warning("skipped_captcha", path=path.name, reason=error)
            skipped += 1
            continue
        named = _NAMED.match(path.name)
        labels = list(named.group(1)) if named else _ask_labels(digits, ask)
        if labels is None:
            return labelled, skipped
        if not labels:
            skipped += 1
            continue
        _save(to, name, digits, labels)
        labelled += 1
    return labelled, skipped


def _named_paths(captchas: Path) -> dict[str, Path]:
    """Name of the digits' files → captcha, sorted; the name has the folders, which may hold equal names."""
    paths: dict[str, Path] = {}
    for path in sorted(path for path in captchas.rglob("*") if path.is_file()):
        name = "-".join(path.relative_to(captchas).with_suffix("").parts)
        if (other := paths.setdefault(name, path)) != path:
            raise AppError(f"the digits of {other} and {path} would have the same names; rename one of them")
    if not paths:
        raise AppError(f"{captchas} holds no files")
    return paths


def _ask_labels(digits: list[Digit], ask: Ask) -> list[str] | None:
    """The person's label of each digit; empty to skip this captcha, None to stop."""
    labels = []
    for digit in digits:
        key = ""
        while key not in (*DIGITS, "s", "q"):
            question = f"\n{DIGITS[0]}-{DIGITS[-1]}, s(kip), q(uit): "
            try:
                key = ask("\n".join(_draw_blocks(digit.pixels)) + question).strip()
            except EOFError:
                # Ctrl-D, or a pipe that has ended.
                key = "q"
        if key == "q":
            return None
        if key == "s":
            return []
        labels.append(key)
    return labels


def _draw_blocks(pixels: Pixels) -> Iterator[str]:
    """A digit in block characters, two rows of pixels to a line."""
    ink = cv2.resize(pixels, (_COLUMNS, _COLUMNS), interpolation=cv2.INTER_AREA) < 160
    for upper, lower in zip(ink[::2], ink[1::2], strict=True):
        yield "".join(" ▀▄█"[int(up) + 2 * int(down)] for up, down in zip(upper, lower, strict=True))


def _save(to: Path, name: str, digits: list[Digit], labels: list[str]) -> None:
    for place, (digit, chosen) in reversed(list(enumerate(zip(digits, labels, strict=True)))):
        with replace_atomically(to / chosen / f"{name}-{place}.png") as partial:
            partial.write_bytes(png(digit.pixels))


if __name__ == "__main__":
    cli.main(label)
