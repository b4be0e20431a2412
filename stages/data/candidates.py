"""One candidate file of a source → a row of the manifest, or the reason why it is left out."""

import hashlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from stages.common.errors import DamagedError, ImageError
from stages.data import decoding
from stages.data.manifest import Row
from stages.data.sources import Image
from stages.data.sources._naming import split_of

# Enough for a task to be worth its overhead: the examination of a small image takes 0.1 ms.
_IMAGES_PER_BATCH = 16
_BYTES_PER_BATCH = 2**20

# Written to data/rejects.csv; "picture" is an older key for what is no image that can be used.
Reason = Literal["name", "label", "split", "file", "picture", "damaged", "duplicate", "conflict"]


@dataclass(frozen=True, slots=True)
class Reject:
    """A file that is left out: where it is, the label it would have had, the kind of reason, the details."""

    path: str
    label: str
    reason: Reason
    detail: str


def examine(
    image: Image, max_pixels: int, *, official: bool, hashed: bool, damaged: bool = False
) -> Row | Reject:
    """Read and decode one file.

    Args:
        image: The candidate.
        max_pixels: Images with more pixels are rejected before they are decoded.
        official: Whether the row has the split that the source says; else it has train.
        hashed: Whether to compute the perceptual hash.
        damaged: Whether to accept a damaged JPEG; its row says what the damage is.
    """
    label = unicodedata.normalize("NFC", image.label or "")
    split = image.split or split_of(image.name) if official else "train"
    if (problem := _problem(image, label)) is not None:
        return Reject(_printable(image.name), _printable(label), *problem)
    if split is None:
        return Reject(image.name, label, "split", "no folder named train, val or test in its path")
    try:
        data = image.read()
        facts = decoding.inspect(data, max_pixels, hashed=hashed, damaged=damaged)
    except DamagedError as error:
        return Reject(image.name, label, "damaged", str(error))
    except ImageError as error:
        return Reject(image.name, label, "picture", str(error))
    except OSError as error:
        return Reject(image.name, label, "file", error.strerror or str(error))
    digest = hashlib.sha256(data).hexdigest()
    return Row(
        path=image.name,
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
        damage=facts.damage,
    )


def _problem(image: Image, label: str) -> tuple[Reason, str] | None:
    """What is wrong before the file is even read."""
    if _printable(image.name + label) != image.name + label:
        return "name", "the name is not valid UTF-8"
    if image.problem is not None:
        return "file", image.problem
    if not label:
        return "label", "no class can be told from the name or folder"
    return None


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def batches(images: Iterable[Image]) -> Iterator[list[Image]]:
    """Group candidates, so that a batch holds few images and few bytes in memory."""
    batch: list[Image] = []
    held = 0
    for image in images:
        batch.append(image)
        held += len(image.data or b"")
        if len(batch) == _IMAGES_PER_BATCH or held >= _BYTES_PER_BATCH:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
