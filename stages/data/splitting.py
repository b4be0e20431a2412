"""Which image is for training, which for validation, which for the test: decided by content."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from stages.common.errors import SourceError
from stages.data.manifest import SPLITS, Split


def assign(
    labels: Mapping[str, str],
    val_fraction: float,
    test_fraction: float,
    seed: int,
    given: Mapping[str, Split] | None = None,
    groups: Sequence[Sequence[str]] = (),
) -> dict[str, Split]:
    """Split images, given the label of each sha256: stratified, and the same on every machine.

    Within a class, images stand in the order of hash(seed, content); the first part is the test split,
    the next the val split. So the names and the order of files play no role, one image is in one split,
    and every class has its share of each. An alternative, a threshold on the hash alone, would never move a
    image when others are added (here about as many move as are added), but leaves small classes
    without test images.

    Each of `groups`, near duplicates by their sha256, goes to one split as a whole, as if it were one large
    image of the class of its first in that order; one that a split has no room for is left for the next.

    Where `given` says the split of every image, only val or test, if it has none, is cut out of train; a
    group that the given splits cut stays cut, as results must be comparable with those of others.
    Raises SourceError naming each class with too few images to have one in every split.
    """
    chosen: dict[str, Split] = {digest: split for digest, split in (given or {}).items() if split != "train"}
    fractions: dict[Split, float] = {"test": test_fraction, "val": val_fraction}
    missing = {split: part for split, part in fractions.items() if split not in chosen.values()}

    def place(digest: str) -> bytes:
        return hashlib.sha256(f"{seed}:{digest}".encode()).digest()

    grouped = {digest for group in groups for digest in group}
    units = [*groups, *([digest] for digest in labels if digest not in grouped)]
    # Every class is there, so that one without training images is counted, with none.
    classes: dict[str, list[list[str]]] = {label: [] for label in labels.values()}
    for unit in units:
        if free := sorted((digest for digest in unit if digest not in chosen), key=place):
            classes[labels[free[0]]].append(free)
    _check_counts({label: len(members) for label, members in classes.items()}, list(missing))
    for members in classes.values():
        chosen.update(_cut(sorted(members, key=lambda unit: place(unit[0])), missing))
    return chosen


def counts(splits: Iterable[Split]) -> dict[Split, int]:
    """How many images each split has."""
    listed = list(splits)
    return {split: listed.count(split) for split in SPLITS}


def _cut(units: Sequence[Sequence[str]], fractions: Mapping[Split, float]) -> Iterator[tuple[str, Split]]:
    """The first units that have room in the first of the splits, and so on; the rest is train."""
    images = sum(map(len, units))
    rest = list(units)
    for place, (split, fraction) in enumerate(fractions.items()):
        # Each later split, and train, gets one unit at least.
        most = len(rest) - (len(fractions) - place)
        taken = _taken(rest, max(1, round(images * fraction)), most)
        yield from ((digest, split) for unit in taken for digest in unit)
        gone = {unit[0] for unit in taken}
        rest = [unit for unit in rest if unit[0] not in gone]
    yield from ((digest, "train") for unit in rest for digest in unit)


def _taken(units: Sequence[Sequence[str]], images: int, most: int) -> list[Sequence[str]]:
    """The first units, at most `most` of them, that together hold no more images; one in any case."""
    taken: list[Sequence[str]] = []
    for unit in units:
        if len(taken) < most and len(unit) <= images:
            taken.append(unit)
            images -= len(unit)
    return taken or [min(units, key=len)]


def _check_counts(images: Mapping[str, int], cut: Sequence[Split]) -> None:
    if len(images) < 2:
        found = ", ".join(map(repr, images)) or "none"
        raise SourceError(f"a classifier needs at least 2 classes with readable images; found {found}")
    needed = len(cut) + 1
    small = [f"{label!r} has {number}" for label, number in sorted(images.items()) if number < needed]
    if small:
        splits = ", ".join(split for split in SPLITS if split == "train" or split in cut)
        raise SourceError(
            f"each class needs at least {needed} different readable images for {splits}: {', '.join(small)}"
        )
