"""One candidate file of a source → a row of the manifest, or the reason why it is left out."""

import hashlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from stages.data import images
from stages.data.manifest import Row
from stages.data.sources import Picture
from stages.data.sources._naming import split_of
from stages.errors import PictureError

# Enough for a task to be worth its overhead: the examination of a small picture takes 0.1 ms.
_PICTURES_PER_BATCH = 16
_BYTES_PER_BATCH = 2**20

Reason = Literal["name", "label", "split", "file", "picture", "duplicate", "conflict"]


@dataclass(frozen=True, slots=True)
class Reject:
    """A file that is left out: where it is, the label it would have had, the kind of reason, the details."""

    path: str
    label: str
    reason: Reason
    detail: str


def examine(picture: Picture, max_pixels: int, *, official: bool, hashed: bool) -> Row | Reject:
    """Read and decode one file.

    With `official`, the row has the split that the source says, else train; without `hashed`, no `phash`.
    """
    label = unicodedata.normalize("NFC", picture.label or "")
    split = picture.split or split_of(picture.name) if official else "train"
    if (problem := _problem(picture, label)) is not None:
        return Reject(_printable(picture.name), _printable(label), *problem)
    if split is None:
        return Reject(picture.name, label, "split", "no folder named train, val or test in its path")
    try:
        data = picture.read()
        facts = images.inspect(data, max_pixels, hashed=hashed)
    except PictureError as error:
        return Reject(picture.name, label, "picture", str(error))
    except OSError as error:
        return Reject(picture.name, label, "file", error.strerror or str(error))
    digest = hashlib.sha256(data).hexdigest()
    return Row(
        path=picture.name,
        # Thousands of rows share a few labels.
        label=sys.intern(label),
        split=split,
        sha256=digest,
        width=facts.width,
        height=facts.height,
        channels=facts.channels,
        plain=facts.plain,
        phash=facts.phash,
        offset=-1,
        bytes=len(data),
    )


def _problem(picture: Picture, label: str) -> tuple[Reason, str] | None:
    """What is wrong before the file is even read."""
    if _printable(picture.name + label) != picture.name + label:
        return "name", "the name is not valid UTF-8"
    if picture.problem is not None:
        return "file", picture.problem
    if not label:
        return "label", "no class can be told from the name or folder"
    return None


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Group candidates, so that a batch holds few pictures and few bytes in memory."""
    batch: list[Picture] = []
    held = 0
    for picture in pictures:
        batch.append(picture)
        held += len(picture.data or b"")
        if len(batch) == _PICTURES_PER_BATCH or held >= _BYTES_PER_BATCH:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
