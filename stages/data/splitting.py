"""Which picture is for training, which for validation, which for the test: decided by content."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

from stages.data.manifest import SPLITS, Split
from stages.errors import SourceError


def assign(
    labels: Mapping[str, str], val_fraction: float, test_fraction: float, seed: int
) -> dict[str, Split]:
    """Split pictures, given the label of each sha256: stratified, and the same on every machine.

    Within a class, pictures stand in the order of hash(seed, content); the first part is the test split,
    the next the val split. So the names and the order of files play no role, one picture is in one split,
    and every class has its share of each. An alternative, a threshold on the hash alone, would never move a
    picture when others are added (here about as many move as are added), but leaves small classes
    without test pictures.

    Raises SourceError naming each class with too few pictures to have one in every split.
    """
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for digest, label in labels.items():
        classes[label].append(digest)
    _check_counts({label: len(digests) for label, digests in classes.items()})
    chosen: dict[str, Split] = {}
    for digests in classes.values():
        order = sorted(digests, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
        test = min(max(1, round(len(order) * test_fraction)), len(order) - 2)
        val = min(max(1, round(len(order) * val_fraction)), len(order) - test - 1)
        for rank, digest in enumerate(order):
            chosen[digest] = "test" if rank < test else "val" if rank < test + val else "train"
    return chosen


def counts(splits: Iterable[Split]) -> dict[Split, int]:
    """How many pictures each split has."""
    listed = list(splits)
    return {split: listed.count(split) for split in SPLITS}


def _check_counts(pictures: Mapping[str, int]) -> None:
    if len(pictures) < 2:
        found = ", ".join(map(repr, pictures)) or "none"
        raise SourceError(f"a classifier needs at least 2 classes with readable pictures; found {found}")
    small = [f"{label!r} has {number}" for label, number in sorted(pictures.items()) if number < len(SPLITS)]
    if small:
        raise SourceError(
            f"each class needs at least {len(SPLITS)} different readable pictures, one per split: "
            + ", ".join(small)
        )
