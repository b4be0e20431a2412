"""One candidate file of a source → a row of the manifest, or the reason why it is left out."""

import hashlib
import heapq
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from stages.common.errors import DamagedError, ImageError, raise_if_transient
from stages.common.executor import Executor
from stages.data import image_results
from stages.data.decoding import Facts
from stages.data.image_results import Examined, FileDigests, Looks
from stages.data.manifest import Row, Split
from stages.data.sources import Image
from stages.data.sources._naming import split_of

# Enough for a task to be worth its overhead: the examination of a small image takes 0.1 ms.
_IMAGES_PER_BATCH = 16
_BYTES_PER_BATCH = 2**20

# In bytes, as of a path on Linux. Members of archives may have longer names, which the blob could not hold.
_LONGEST_NAME = 4096

# Written to data/rejects.csv; "picture" is an older key for what is no image that can be used.
Reason = Literal["name", "label", "split", "file", "picture", "damaged", "duplicate", "conflict"]


@dataclass(frozen=True, slots=True)
class Reject:
    """A file that is left out: where it is, the label it would have had, the kind of reason, the details."""

    path: str
    label: str
    reason: Reason
    detail: str


class LowestDigests:
    """The `count` lowest SHA-256 of each label so far; threads may share it.

    `audit` shows the images with the lowest ones. Few images are among the lowest when they come: some
    `count` times the logarithm of their number. A thumbnail of each image would take 49 kB.
    """

    def __init__(self, count: int) -> None:
        self._count, self._lock = count, threading.Lock()
        # Negative, as the first of a heap is its smallest.
        self._heaps: defaultdict[str, list[int]] = defaultdict(list)

    def admit(self, label: str, sha256: str) -> bool:
        """Whether a digest (hex) is among the lowest of its label."""
        number = -int(sha256, 16)
        with self._lock:
            heap = self._heaps[label]
            if number in heap:
                return True
            if len(heap) < self._count:
                heapq.heappush(heap, number)
                return True
            return bool(heap) and heapq.heappushpop(heap, number) != number


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
        executor: What decodes.
        shown: Chooses the images whose thumbnails are stored for `audit`.
    """

    looks: Looks
    digests: FileDigests | None
    max_pixels: int
    official: bool
    hashed: bool
    damaged: bool
    executor: Executor
    shown: LowestDigests

    def look_up(self, image: Image) -> tuple[Facts | None, str, bytes | int]:
        """The stored facts of an image or None, the SHA-256 of its bytes; and these, or their number alone.

        Raises OSError for a file that cannot be read.
        """
        path = image.path
        before = path.stat() if path else None
        unchanged = self.digests.get(path, before) if path and before and self.digests else None
        if before and unchanged and (stored := self._stored(unchanged)):
            return stored, unchanged, before.st_size
        data = image.read()
        sha256 = hashlib.sha256(data).hexdigest()
        if path and before and self.digests:
            self.digests.add(path, before, path.stat(), sha256)
        return self._stored(sha256), sha256, data

    def _stored(self, sha256: str) -> Facts | None:
        """Unless the image has more pixels than are allowed now."""
        facts = self.looks.facts(sha256)
        return facts if facts and facts.width * facts.height <= self.max_pixels else None


@dataclass(slots=True)
class _Candidate:
    """What is known of a candidate before its image is decoded: a reject, or all of its row but facts."""

    image: Image
    label: str
    split: Split | None
    reject: Reject | None = None
    facts: Facts | None = None
    sha256: str = ""
    bytes: int = 0


def examine(images: Iterable[Image], examiner: Examiner) -> list[tuple[Image, Row | Reject]]:
    """Each candidate with its row of the manifest, or the reason why it is rejected."""
    decode = partial(
        image_results.examine,
        max_pixels=examiner.max_pixels,
        ahead=examiner.looks.view,
        damaged=examiner.damaged,
    )
    read = (_read(image, examiner) for image in images)
    answers = examiner.executor.each(decode, read)
    return [(candidate.image, _judged(candidate, answer, examiner)) for candidate, answer in answers]


def _read(image: Image, examiner: Examiner) -> tuple[_Candidate, tuple[bytes, bool] | None]:
    """A candidate, and its bytes where it has to be decoded."""
    label = image.label or ""
    split = image.split or split_of(image.name) if examiner.official else "train"
    candidate = _Candidate(image, label, split)
    if (problem := _problem(image, label)) is not None:
        candidate.reject = Reject(
            _printable(image.name)[:_LONGEST_NAME], _printable(label)[:_LONGEST_NAME], *problem
        )
        return candidate, None
    if split is None:
        detail = "no folder named train, val or test in its path"
        candidate.reject = Reject(image.name, label, "split", detail)
        return candidate, None
    try:
        candidate.facts, candidate.sha256, data = examiner.look_up(image)
    except OSError as error:
        raise_if_transient(error)
        candidate.reject = Reject(image.name, label, "file", error.strerror or str(error))
        return candidate, None
    if isinstance(data, int):
        candidate.bytes = data
        return candidate, None
    candidate.bytes = len(data)
    if candidate.facts:
        return candidate, None
    return candidate, (data, examiner.shown.admit(label, candidate.sha256))


def _judged(candidate: _Candidate, answer: Examined | ImageError | None, examiner: Examiner) -> Row | Reject:
    image, label, facts = candidate.image, candidate.label, candidate.facts
    if isinstance(answer, ImageError):
        reason: Reason = "damaged" if isinstance(answer, DamagedError) else "picture"
        return Reject(image.name, label, reason, str(answer))
    if answer is not None:
        examiner.looks.add(candidate.sha256, answer)
        facts = answer.facts
    if candidate.reject or candidate.split is None or facts is None:
        assert candidate.reject
        return candidate.reject
    return Row(
        path=image.name,
        # Thousands of rows share a few labels.
        label=sys.intern(label),
        split=candidate.split,
        sha256=candidate.sha256,
        width=facts.width,
        height=facts.height,
        channels=facts.channels,
        plain=facts.plain,
        phash=facts.phash if examiner.hashed else None,
        offset=-1,
        bytes=candidate.bytes,
        damage=facts.damage,
    )


def _problem(image: Image, label: str) -> tuple[Reason, str] | None:
    """What is wrong before the file is even read."""
    if "\0" in image.name + label:
        return "name", "the name has a NUL character"
    if _printable(image.name + label) != image.name + label:
        return "name", "the name is not valid UTF-8"
    if len(image.name.encode()) > _LONGEST_NAME:
        return "name", f"the name has more than {_LONGEST_NAME} bytes"
    if image.problem is not None:
        return "file", image.problem
    if not label:
        return "label", "neither the name nor the folder says the class"
    return None


def _printable(text: str) -> str:
    return text.replace("\0", r"\x00").encode(errors="backslashreplace").decode()


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


def size(batch: Iterable[Image]) -> int:
    """How many bytes of images a batch holds in memory."""
    return sum(len(image.data or b"") for image in batch)
