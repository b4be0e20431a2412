"""One candidate file of a source → a row of the manifest, or the reason why it is left out."""

import hashlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from stages.common.errors import DamagedError, ImageError
from stages.data.decoding import Facts
from stages.data.image_results import FileDigests, Looks
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


@dataclass(frozen=True)
class Examiner:
    """Reads and decodes candidates, unless an earlier run did.

    Attributes:
        looks: What is stored of images.
        digests: What is stored of files that have not changed; None reads every file.
        max_pixels: Images with more pixels are rejected before they are decoded.
        official: Whether a row has the split that the source says; else it has train.
        hashed: Whether rows have the perceptual hash.
        damaged: Whether to accept a damaged JPEG; its row says what the damage is.
    """

    looks: Looks
    digests: FileDigests | None
    max_pixels: int
    official: bool
    hashed: bool
    damaged: bool

    def facts(self, image: Image) -> tuple[Facts, str, int]:
        """The facts of an image, the SHA-256 of its bytes, and their number.

        Raises OSError for a file that cannot be read, ImageError for one that is no image.
        """
        before = image.path.stat() if image.path else None
        unchanged = self.digests.get(before) if before and self.digests else None
        if before and unchanged and (stored := self._stored(unchanged)):
            return stored, unchanged, before.st_size
        data = image.read()
        sha256 = hashlib.sha256(data).hexdigest()
        if before and self.digests and image.path:
            self.digests.add(before, image.path.stat(), sha256)
        facts = self._stored(sha256)
        if facts is None:
            facts, _ = self.looks.examine(data, sha256, self.max_pixels, damaged=self.damaged)
        return facts, sha256, len(data)

    def _stored(self, sha256: str) -> Facts | None:
        """Unless the image has more pixels than are allowed now."""
        facts = self.looks.facts(sha256)
        return facts if facts and facts.width * facts.height <= self.max_pixels else None


def examine(image: Image, examiner: Examiner) -> Row | Reject:
    """One candidate as a row of the manifest, or the reason why it is rejected."""
    label = unicodedata.normalize("NFC", image.label or "")
    split = image.split or split_of(image.name) if examiner.official else "train"
    if (problem := _problem(image, label)) is not None:
        return Reject(_printable(image.name), _printable(label), *problem)
    if split is None:
        return Reject(image.name, label, "split", "no folder named train, val or test in its path")
    try:
        facts, sha256, count = examiner.facts(image)
    except DamagedError as error:
        return Reject(image.name, label, "damaged", str(error))
    except ImageError as error:
        return Reject(image.name, label, "picture", str(error))
    except OSError as error:
        return Reject(image.name, label, "file", error.strerror or str(error))
    return Row(
        path=image.name,
        # Thousands of rows share a few labels.
        label=sys.intern(label),
        split=split,
        sha256=sha256,
        width=facts.width,
        height=facts.height,
        channels=facts.channels,
        plain=facts.plain,
        phash=facts.phash if examiner.hashed else None,
        offset=-1,
        bytes=count,
        damage=facts.damage,
    )


def _problem(image: Image, label: str) -> tuple[Reason, str] | None:
    """What is wrong before the file is even read."""
    if _printable(image.name + label) != image.name + label:
        return "name", "the name is not valid UTF-8"
    if image.problem is not None:
        return "file", image.problem
    if not label:
        return "label", "neither the name nor the folder says the class"
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
